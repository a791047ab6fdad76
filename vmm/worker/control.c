// SPDX-License-Identifier: GPL-2.0-or-later
/* The worker's end of its socket to vmpoked; see control.h. Knows no command but job-cancel. */
#include "vmm/worker/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

struct control {
	int fd;	       /* -1: listening and not connected */
	int passed_fd; /* came last (SCM_RIGHTS), nobody has taken it; -1: none */
	int listen_fd; /* -1: one connection, and its end is ours */
	bool closed;
	struct qmp_lexer *lexer;
	size_t head, count;
	struct qmp_request queue[CONTROL_QUEUE_MAX];
};

struct control *control_new(int fd)
{
	_cleanup_(control_free) struct control *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		return NULL;
	}
	c->fd = fd;
	c->passed_fd = c->listen_fd = -1;
	c->lexer = qmp_lexer_new();
	return c->lexer ? TAKE_PTR(c) : NULL;
}

/* listen() is ours to call: from then on SO_PEERCRED tells whoever connects that it is us. */
struct control *control_new_listening(int fd)
{
	struct control *c = control_new(fd);

	if (!c)
		return NULL;
	c->listen_fd = c->fd;
	c->fd = -1;
	c->closed = true;
	int flags = fcntl(c->listen_fd, F_GETFL);
	if (flags >= 0 && fcntl(c->listen_fd, F_SETFL, flags | O_NONBLOCK) >= 0 && listen(c->listen_fd, 4) >= 0)
		return c;
	control_free(c);
	return NULL;
}

static void queue_clear(struct control *c)
{
	struct qmp_request req;

	while (control_next(c, &req) > 0)
		qmp_request_clear(&req);
}

static void passed_drop(struct control *c)
{
	if (c->passed_fd >= 0)
		close(c->passed_fd);
	c->passed_fd = -1;
}

int control_take_fd(struct control *c)
{
	return c->passed_fd >= 0 ? TAKE_FD(c->passed_fd) : -ENOENT;
}

void control_free(struct control *c)
{
	if (!c)
		return;
	queue_clear(c);
	passed_drop(c);
	qmp_lexer_free(c->lexer);
	if (c->fd >= 0)
		close(c->fd);
	if (c->listen_fd >= 0)
		close(c->listen_fd);
	free(c);
}

int control_fd(const struct control *c)
{
	return c->fd >= 0 ? c->fd : c->listen_fd;
}

int control_peer(const struct control *c)
{
	return c->fd;
}

bool control_ends(const struct control *c)
{
	return c->listen_fd < 0;
}

/* Requests nobody waits for any more are not begun. */
static void hang_up(struct control *c)
{
	c->closed = true;
	if (c->listen_fd < 0)
		return;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	queue_clear(c);
}

static bool peer_is_trusted(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && (peer.uid == 0 || peer.uid == geteuid());
}

int control_accept(struct control *c)
{
	if (c->listen_fd < 0 || c->fd >= 0)
		return 0;
	_cleanup_close_ int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	struct qmp_lexer *lexer = fd >= 0 && peer_is_trusted(fd) ? qmp_lexer_new() : NULL;
	if (!lexer)
		return 0;
	queue_clear(c);
	qmp_lexer_free(c->lexer);
	c->lexer = lexer;
	c->fd = TAKE_FD(fd);
	c->closed = false;
	return 1;
}

static void send_line(struct control *c, char *line)
{
	size_t len = line ? strlen(line) : 0;

	for (size_t done = 0; done < len && !c->closed;) {
		ssize_t n = send(c->fd, line + done, len - done, MSG_NOSIGNAL);
		if (n >= 0)
			done += (size_t)n;
		else if (errno == EAGAIN)
			poll(&(struct pollfd){ .fd = c->fd, .events = POLLOUT }, 1, 1000);
		else if (errno != EINTR)
			hang_up(c);
	}
	free(line);
}

void control_return(struct control *c, const char *id, json_t *value)
{
	send_line(c, qmp_format_return(value, id));
	json_decref(value);
}

void control_error(struct control *c, const char *id, const struct err *e)
{
	send_line(c, qmp_format_error(e, id));
}

void control_event(struct control *c, const char *name, json_t *data)
{
	send_line(c, qmp_format_event(name, data));
	json_decref(data);
}

static void take_frame(struct control *c, const struct qmp_frame *frame)
{
	struct err e = { 0 };
	struct qmp_request req = { 0 };

	if (frame->kind == QMP_FRAME_ERROR) {
		err_set(&e, ERR_USAGE, EINVAL, NULL, "%s", frame->error);
		control_error(c, NULL, &e);
		return;
	}
	int r = qmp_request_parse(frame, &req, &e);
	if (r == 0 && c->count == CONTROL_QUEUE_MAX)
		r = err_set(&e, ERR_FAILED, EBUSY, NULL, "too many requests are waiting for this VM");
	if (r < 0) {
		control_error(c, req.id, &e);
		qmp_request_clear(&req);
		return;
	}
	c->queue[(c->head + c->count++) % CONTROL_QUEUE_MAX] = req;
}

static int feed(struct control *c, const char *buf, size_t len)
{
	for (size_t done = 0; done < len;) {
		struct qmp_frame frame;
		ssize_t n = qmp_lexer_feed(c->lexer, buf + done, len - done, &frame);
		if (n < 0)
			return (int)n;
		done += (size_t)n;
		if (frame.kind != QMP_FRAME_NONE)
			take_frame(c, &frame);
	}
	return 0;
}

/* The daemon sends one request at a time, and a descriptor with its first byte: the newest one is its own. */
static ssize_t receive(struct control *c, void *buf, size_t len)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes),
	};
	ssize_t n = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *h = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS && h->cmsg_len == CMSG_LEN(sizeof(int))) {
		passed_drop(c);
		memcpy(&c->passed_fd, CMSG_DATA(h), sizeof(int));
	}
	return n;
}

int control_read(struct control *c)
{
	char buf[65536];

	while (!c->closed) {
		ssize_t n = receive(c, buf, sizeof(buf));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0) {
			hang_up(c);
			break;
		}
		int r = feed(c, buf, (size_t)n);
		if (r < 0)
			return r;
	}
	return -ECONNRESET;
}

int control_next(struct control *c, struct qmp_request *ret)
{
	if (c->count == 0)
		return 0;
	*ret = c->queue[c->head];
	c->head = (c->head + 1) % CONTROL_QUEUE_MAX;
	c->count--;
	return 1;
}

/* Takes request number i out of the queue, keeping the order of the others. */
static void queue_remove(struct control *c, size_t i)
{
	qmp_request_clear(&c->queue[(c->head + i) % CONTROL_QUEUE_MAX]);
	for (; i + 1 < c->count; i++)
		c->queue[(c->head + i) % CONTROL_QUEUE_MAX] = c->queue[(c->head + i + 1) % CONTROL_QUEUE_MAX];
	c->count--;
}

bool control_cancelled(struct control *c, const char *job_id)
{
	control_read(c);
	/* The daemon went away. Asked only while nothing is written yet: its successor's worker need not wait. */
	if (c->closed)
		return control_ends(c);
	for (size_t i = 0; job_id && i < c->count; i++) {
		struct qmp_request *req = &c->queue[(c->head + i) % CONTROL_QUEUE_MAX];
		const char *id = json_string_value(json_object_get(req->args, "job-id"));

		if (strcmp(req->execute, "job-cancel") != 0 || !id || strcmp(id, job_id) != 0)
			continue;
		control_return(c, req->id, json_object());
		queue_remove(c, i);
		return true;
	}
	return false;
}
