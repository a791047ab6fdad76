// SPDX-License-Identifier: GPL-2.0-or-later
/* Links over descriptors; see fd_link.h. */
#include "tests/fake/fd_link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

struct host_end {
	struct link link;
	int fd;
};

static const struct host_end *host_end(const struct link *link)
{
	return container_of(link, const struct host_end, link);
}

static int host_probe(const struct link_target *target, char *why, size_t cap)
{
	if (target->fd >= 0)
		return 1;
	snprintf(why, cap, "no descriptor");
	return 0;
}

static int host_open(const struct link_target *target, struct link **ret, struct err *e)
{
	struct host_end *h = calloc(1, sizeof(*h));

	if (!h)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	h->link.ops = &fd_link;
	h->fd = fcntl(target->fd, F_DUPFD_CLOEXEC, 0);
	if (h->fd < 0) {
		int error = errno;
		free(h);
		return err_set(e, ERR_INACTIVE, error, "link", "no such descriptor");
	}
	*ret = &h->link;
	return 0;
}

static int host_fd(const struct link *link)
{
	return host_end(link)->fd;
}

static short host_events(const struct link *link)
{
	(void)link;
	return POLLIN;
}

static int host_timeout_ms(const struct link *link)
{
	(void)link;
	return -1;
}

static int host_tick(struct link *link, struct err *e)
{
	(void)link;
	(void)e;
	return 0;
}

static ssize_t outcome(ssize_t n, struct err *e)
{
	if (n >= 0 || errno == EAGAIN || errno == EINTR)
		return n >= 0 ? n : -EAGAIN;
	return err_set(e, ERR_INACTIVE, errno, "link", "the descriptor is no good any more");
}

static ssize_t host_read(struct link *link, void *buf, size_t cap, struct err *e)
{
	return outcome(recv(host_end(link)->fd, buf, cap, MSG_DONTWAIT), e);
}

static ssize_t host_write(struct link *link, const void *buf, size_t len, struct err *e)
{
	return outcome(send(host_end(link)->fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL), e);
}

static void host_close(struct link *link)
{
	struct host_end *h = container_of(link, struct host_end, link);

	close(h->fd);
	free(h);
}

const struct link_ops fd_link = {
	.name = "fd",
	.probe = host_probe,
	.open = host_open,
	.fd = host_fd,
	.events = host_events,
	.timeout_ms = host_timeout_ms,
	.tick = host_tick,
	.read = host_read,
	.write = host_write,
	.close = host_close,
};

static int agent_fd = -1;

static int guest_open(struct agent_link *l, const char *where)
{
	(void)l;
	agent_fd = atoi(where);
	return 0;
}

static ssize_t guest_outcome(ssize_t n, bool zero_is_end)
{
	if (n > 0)
		return n;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return n == 0 && !zero_is_end ? 0 : -EIO;
}

static ssize_t guest_read(struct agent_link *l, void *buf, size_t cap)
{
	(void)l;
	return guest_outcome(recv(agent_fd, buf, cap, MSG_DONTWAIT), true);
}

static ssize_t guest_write(struct agent_link *l, const void *buf, size_t len)
{
	(void)l;
	return guest_outcome(send(agent_fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL), false);
}

static void guest_close(struct agent_link *l)
{
	(void)l;
}

static int guest_poll_fd(struct agent_link *l, short *events)
{
	(void)l;
	(void)events;
	return agent_fd;
}

static int guest_timeout_ms(struct agent_link *l)
{
	(void)l;
	return -1;
}

static const struct agent_link_ops guest_ops = {
	.name = "fd",
	.open = guest_open,
	.read = guest_read,
	.write = guest_write,
	.close = guest_close,
	.poll_fd = guest_poll_fd,
	.timeout_ms = guest_timeout_ms,
};
static struct agent_link guest_end = { .ops = &guest_ops };
struct agent_link *const agent_fd_link = &guest_end;
