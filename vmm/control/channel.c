// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A stream of messages on the event loop; see channel.h. Must never block, and
 * must never call the owner back from inside one of the owner's own calls: the
 * end of a channel is always told from a deferred event, so owners may free there.
 */
#include "vmm/control/channel.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static bool channel_throttled(const struct channel *ch)
{
	return ch->paused || ch->out_len - ch->out_sent > CHANNEL_OUT_HIGH;
}

void channel_kill(struct channel *ch, const char *why)
{
	if (ch->dead)
		return;
	ch->dead = true;
	ch->why = why;
	shutdown(ch->fd, SHUT_RDWR);
	sd_event_source_set_enabled(ch->io, SD_EVENT_OFF);
	sd_event_source_set_enabled(ch->stall, SD_EVENT_OFF);
	sd_event_source_set_enabled(ch->defer, SD_EVENT_ONESHOT);
}

/* Asks the loop for exactly what can be made use of; an idle channel costs nothing. */
static void channel_update(struct channel *ch)
{
	uint32_t events = 0;

	if (ch->dead)
		return;
	bool queued = ch->out_sent < ch->out_len;
	if (ch->eof && !queued && !channel_throttled(ch)) {
		channel_kill(ch, "the peer closed the connection");
		return;
	}
	if (!ch->eof && !channel_throttled(ch))
		events |= EPOLLIN;
	if (queued)
		events |= EPOLLOUT;
	if (sd_event_source_set_io_events(ch->io, events) < 0)
		channel_kill(ch, "the event loop failed");
}

static void channel_arm_stall(struct channel *ch)
{
	if (ch->stall_us == 0 || ch->dead)
		return;
	if (ch->out_sent == ch->out_len) {
		sd_event_source_set_enabled(ch->stall, SD_EVENT_OFF);
		return;
	}
	sd_event_source_set_time_relative(ch->stall, ch->stall_us);
	sd_event_source_set_enabled(ch->stall, SD_EVENT_ONESHOT);
}

/* A descriptor goes with the first byte of its message: what is before that byte is sent alone. */
static ssize_t channel_put(struct channel *ch)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	bool now = ch->out_fd >= 0 && ch->out_sent == ch->out_fd_at;
	size_t end = ch->out_fd >= 0 && !now ? ch->out_fd_at : ch->out_len;
	struct iovec iov = { .iov_base = ch->out + ch->out_sent, .iov_len = end - ch->out_sent };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (now) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		control.align = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(&control.align), &ch->out_fd, sizeof(int));
	}
	ssize_t n = sendmsg(ch->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n > 0 && now)
		close(TAKE_FD(ch->out_fd));
	return n;
}

static void channel_flush(struct channel *ch)
{
	bool progress = false;

	while (!ch->dead && ch->out_sent < ch->out_len) {
		ssize_t n = channel_put(ch);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			channel_kill(ch, "the peer closed the connection");
			return;
		}
		ch->out_sent += (size_t)n;
		progress = true;
	}
	if (ch->out_sent == ch->out_len) { /* an idle channel holds no buffer */
		free(TAKE_PTR(ch->out));
		ch->out_sent = ch->out_len = ch->out_cap = 0;
	}
	if (progress)
		channel_arm_stall(ch);
}

static int channel_reserve(struct channel *ch, size_t n)
{
	if (ch->out_sent > 0) {
		memmove(ch->out, ch->out + ch->out_sent, ch->out_len - ch->out_sent);
		ch->out_len -= ch->out_sent;
		ch->out_fd_at -= ch->out_fd >= 0 ? ch->out_sent : 0;
		ch->out_sent = 0;
	}
	if (ch->out_len + n <= ch->out_cap)
		return 0;
	size_t cap = ch->out_len + n > 2 * ch->out_cap ? ch->out_len + n : 2 * ch->out_cap;
	char *grown = realloc(ch->out, cap);
	if (!grown)
		return -ENOMEM;
	ch->out = grown;
	ch->out_cap = cap;
	return 0;
}

void channel_send(struct channel *ch, char *line)
{
	channel_send_fd(ch, line, -1);
}

void channel_send_fd(struct channel *ch, char *line, int fd)
{
	_cleanup_free_ char *owned = line;
	_cleanup_close_ int owned_fd = fd;

	if (ch->dead)
		return;
	if (fd >= 0 && ch->out_fd >= 0) {
		channel_kill(ch, "the peer does not take the descriptors it is sent");
		return;
	}
	if (!owned) {
		channel_kill(ch, "out of memory");
		return;
	}
	size_t n = strlen(owned);
	if (ch->out_len - ch->out_sent + n > CHANNEL_OUT_MAX) {
		channel_kill(ch, "the peer does not read what it is sent");
		return;
	}
	bool was_empty = ch->out_sent == ch->out_len;
	if (channel_reserve(ch, n) < 0) {
		channel_kill(ch, "out of memory");
		return;
	}
	if (fd >= 0) {
		ch->out_fd = TAKE_FD(owned_fd);
		ch->out_fd_at = ch->out_len;
	}
	memcpy(ch->out + ch->out_len, owned, n);
	ch->out_len += n;
	if (was_empty) {
		channel_flush(ch);
		channel_arm_stall(ch);
	}
	channel_update(ch);
}

static void fds_close(struct channel *ch)
{
	for (size_t i = 0; i < ch->n_fds; i++)
		close(ch->fds[i]);
	ch->n_fds = 0;
}

int channel_take_fd(struct channel *ch)
{
	if (ch->n_fds == 0)
		return -ENOENT;
	int fd = ch->fds[0];
	ch->n_fds--;
	memmove(&ch->fds[0], &ch->fds[1], ch->n_fds * sizeof(ch->fds[0]));
	return fd;
}

/* Every message they may belong to was looked at. One that is still incomplete may ask for them yet. */
static void fds_expire(struct channel *ch)
{
	if (ch->in_pos == ch->in_len && !ch->frame_pending && ch->fds_told)
		fds_close(ch);
}

/* Hands out what has been read, frame by frame, until it is used up or the owner pauses. */
static void channel_work(struct channel *ch)
{
	while (!ch->dead && !channel_throttled(ch) && (ch->frame_pending || ch->in_pos < ch->in_len)) {
		struct qmp_frame frame = { 0 };
		ssize_t n = qmp_lexer_feed(ch->lexer, ch->in + ch->in_pos, ch->in_len - ch->in_pos, &frame);
		if (n < 0) {
			channel_kill(ch, "out of memory");
			return;
		}
		ch->in_pos += (size_t)n;
		ch->frame_pending = frame.kind != QMP_FRAME_NONE;
		if (frame.kind == QMP_FRAME_NONE)
			continue;
		ch->fds_told = true;
		ch->ops->frame(ch, &frame);
	}
	fds_expire(ch);
}

/* The kernel ends a read behind bytes that came with descriptors: there is at most one lot of them. */
static void fds_receive(struct channel *ch, struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		fds_close(ch);
		memcpy(ch->fds, CMSG_DATA(c), n * sizeof(int)); /* the buffer has room for no more than CHANNEL_FDS_MAX */
		ch->n_fds = n;
		ch->fds_told = false;
		if (!ch->wants_fds)
			fds_close(ch);
	}
}

static ssize_t channel_receive(struct channel *ch)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(CHANNEL_FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = ch->in, .iov_len = sizeof(ch->in) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes),
	};
	ssize_t n = recvmsg(ch->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n >= 0)
		fds_receive(ch, &msg);
	return n;
}

static void channel_read(struct channel *ch)
{
	if (ch->in_pos < ch->in_len)
		return;
	ssize_t n = channel_receive(ch);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		channel_kill(ch, "the peer closed the connection");
	else if (n == 0)
		ch->eof = true;
	ch->in_pos = 0;
	ch->in_len = n > 0 ? (size_t)n : 0;
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	struct channel *ch = userdata;

	(void)s, (void)fd;
	if (revents & EPOLLOUT)
		channel_flush(ch);
	if (!ch->dead && (revents & EPOLLIN))
		channel_read(ch);
	else if (revents & (EPOLLHUP | EPOLLERR)) /* nobody is left to answer */
		channel_kill(ch, "the peer closed the connection");
	channel_work(ch);
	channel_update(ch);
	return 0;
}

static int on_defer(sd_event_source *s, void *userdata)
{
	struct channel *ch = userdata;

	(void)s;
	if (ch->dead) {
		ch->ops->closed(ch, ch->why); /* may free ch */
		return 0;
	}
	channel_work(ch);
	channel_update(ch);
	return 0;
}

static int on_stall(sd_event_source *s, uint64_t usec, void *userdata)
{
	(void)s, (void)usec;
	channel_kill(userdata, "the peer does not read what it is sent");
	return 0;
}

void channel_pause(struct channel *ch)
{
	ch->paused = true;
	channel_update(ch);
}

void channel_resume(struct channel *ch)
{
	ch->paused = false;
	if (!ch->dead) /* leftover input is handled from the loop: no recursion into the owner */
		sd_event_source_set_enabled(ch->defer, SD_EVENT_ONESHOT);
}

static int channel_add_sources(struct channel *ch)
{
	int r = sd_event_add_io(ch->event, &ch->io, ch->fd, EPOLLIN, on_io, ch);

	if (r >= 0)
		r = sd_event_add_defer(ch->event, &ch->defer, on_defer, ch);
	if (r >= 0)
		r = sd_event_source_set_enabled(ch->defer, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_time(ch->event, &ch->stall, CLOCK_MONOTONIC, 0, 0, on_stall, ch);
	if (r >= 0)
		r = sd_event_source_set_enabled(ch->stall, SD_EVENT_OFF);
	return r;
}

int channel_init(struct channel *ch, sd_event *event, int fd, const struct channel_ops *ops, uint64_t stall_us)
{
	*ch = (struct channel){ .ops = ops, .fd = fd, .event = event, .stall_us = stall_us, .out_fd = -1 };
	ch->lexer = qmp_lexer_new();
	int r = ch->lexer ? channel_add_sources(ch) : -ENOMEM;
	if (r < 0) {
		channel_done(ch);
		return r;
	}
	return 0;
}

void channel_done(struct channel *ch)
{
	if (!ch->ops)
		return;
	sd_event_source_disable_unref(ch->io);
	sd_event_source_disable_unref(ch->defer);
	sd_event_source_disable_unref(ch->stall);
	fds_close(ch);
	qmp_lexer_free(ch->lexer);
	free(ch->out);
	if (ch->out_fd >= 0)
		close(ch->out_fd);
	close(ch->fd);
	*ch = (struct channel){ .fd = -1, .out_fd = -1 };
}
