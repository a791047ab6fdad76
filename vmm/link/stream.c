// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A stream socket as a link. Buffers nothing: what the socket does not take stays
 * with the caller. Must never wait, and never raise SIGPIPE.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "vmm/link/stream.h"

struct link_stream {
	struct link link;
	int fd;
	bool full; /* the last write did not fit */
	struct link_stats stats;
};

static struct link_stream *stream_of(struct link *link)
{
	return container_of(link, struct link_stream, link);
}

static const struct link_stream *const_stream_of(const struct link *link)
{
	return container_of(link, const struct link_stream, link);
}

int link_stream_new(const struct link_ops *ops, int fd, struct link **ret, struct err *e)
{
	struct link_stream *s = calloc(1, sizeof(*s));

	if (!s) {
		close(fd);
		return err_set(e, ERR_FAILED, ENOMEM, "memory", "%s: out of memory", ops->name);
	}
	s->link.ops = ops;
	s->fd = fd;
	*ret = &s->link;
	return 0;
}

int link_stream_fd(const struct link *link)
{
	return const_stream_of(link)->fd;
}

short link_stream_events(const struct link *link)
{
	return (short)(POLLIN | (const_stream_of(link)->full ? POLLOUT : 0));
}

int link_stream_timeout_ms(const struct link *link)
{
	(void)link;
	return -1;
}

/* Nothing is ever due; but a connection that was refused shows here, before the first read. */
int link_stream_tick(struct link *link, struct err *e)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (!getsockopt(stream_of(link)->fd, SOL_SOCKET, SO_ERROR, &error, &len) && error)
		return err_set(e, ERR_INACTIVE, error, "link", "%s: %s", link->ops->name, strerror(error));
	return 0;
}

/* Still connecting (ENOTCONN), full or empty is no failure. */
static ssize_t stream_error(struct link *link, int error, struct err *e)
{
	if (error == EAGAIN || error == EINTR || error == ENOTCONN)
		return -EAGAIN;
	if (error == EPIPE)
		error = ECONNRESET;
	return err_set(e, ERR_INACTIVE, error, "link", "%s: %s", link->ops->name, strerror(error));
}

ssize_t link_stream_read(struct link *link, void *buf, size_t cap, struct err *e)
{
	struct link_stream *s = stream_of(link);
	ssize_t n = recv(s->fd, buf, cap, MSG_DONTWAIT);

	if (n < 0)
		return stream_error(link, errno, e);
	s->stats.rx_bytes += (uint64_t)n;
	return n;
}

ssize_t link_stream_write(struct link *link, const void *buf, size_t len, struct err *e)
{
	struct link_stream *s = stream_of(link);
	ssize_t n = send(s->fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	s->full = n < 0 ? errno == EAGAIN || errno == ENOTCONN : (size_t)n < len;
	if (n < 0)
		return stream_error(link, errno, e);
	s->stats.tx_bytes += (uint64_t)n;
	return n;
}

void link_stream_close(struct link *link)
{
	if (!link)
		return;
	close(stream_of(link)->fd);
	free(stream_of(link));
}

int link_stream_stats(const struct link *link, struct link_stats *ret)
{
	*ret = const_stream_of(link)->stats;
	return 0;
}
