// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The QMP client; see client.h. Must never wait without a deadline, and must never trust
 * the peer: a reply nobody asked for is dropped, anything that is not QMP ends
 * the connection.
 */
#include "protocol/client.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include "protocol/client_queue.h"
#include "protocol/qmp.h"

#define READ_CHUNK 16384
#define OUT_MAX (2u * QMP_MESSAGE_MAX)

struct qmp_client {
	int fd;
	bool alive;
	enum err_kind kind_down;
	struct qmp_lexer *lexer;
	json_t *greeting;
	bool want_greeting;
	uint64_t last_serial;
	uint64_t calls[QMP_CALLS_MAX]; /* serials without a reply yet, oldest first */
	size_t n_calls;
	struct client_queue queue;
	int pass_fd; /* goes with the next byte of out; -1: none */
	char *out; /* sent, but not yet taken by the socket */
	size_t out_len;
};

__attribute__((format(printf, 4, 5)))
static int client_fail(struct qmp_client *c, struct err *e, int error, const char *fmt, ...)
{
	char text[sizeof(e->text)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	c->alive = false;
	return err_set(e, c->kind_down, error, NULL, "%s", text);
}

/* --- calls that wait for a reply --- */

static bool calls_remove(struct qmp_client *c, uint64_t serial)
{
	for (size_t i = 0; i < c->n_calls; i++) {
		if (c->calls[i] != serial)
			continue;
		c->n_calls--;
		memmove(&c->calls[i], &c->calls[i + 1], (c->n_calls - i) * sizeof(c->calls[0]));
		return true;
	}
	return false;
}

/* The call a reply belongs to, or 0. An error without id (the peer could not parse us) is the oldest call's. */
static uint64_t reply_serial(const struct qmp_client *c, json_t *msg)
{
	json_t *id = json_object_get(msg, "id");

	if (!id && json_object_get(msg, "error"))
		return c->n_calls ? c->calls[0] : 0;
	return json_integer_value(id) > 0 ? (uint64_t)json_integer_value(id) : 0;
}

/* --- input --- */

static int take_greeting(struct qmp_client *c, json_t *msg, struct err *e)
{
	if (!json_is_object(json_object_get(msg, "QMP"))) {
		json_decref(msg);
		return client_fail(c, e, EPROTO, "the peer does not speak QMP: it sent no greeting");
	}
	c->greeting = msg;
	c->want_greeting = false;
	return 0;
}

static int take_message(struct qmp_client *c, json_t *msg, size_t size, struct err *e)
{
	if (c->want_greeting)
		return take_greeting(c, msg, e);
	if (json_is_string(json_object_get(msg, "event"))) {
		client_queue_put(&c->queue, msg, 0, size);
		return 0;
	}
	bool reply = json_object_get(msg, "return") || json_is_object(json_object_get(msg, "error"));
	uint64_t serial = reply_serial(c, msg);
	if (reply && serial && calls_remove(c, serial))
		client_queue_put(&c->queue, msg, serial, size);
	else
		json_decref(msg);
	return 0;
}

static int take_bytes(struct qmp_client *c, const char *buf, size_t len, struct err *e)
{
	for (size_t done = 0; done < len;) {
		struct qmp_frame frame;
		struct err bad;
		json_t *msg;
		ssize_t n = qmp_lexer_feed(c->lexer, buf + done, len - done, &frame);
		if (n < 0)
			return client_fail(c, e, (int)-n, "out of memory");
		done += (size_t)n;
		if (frame.kind == QMP_FRAME_NONE)
			continue;
		if (frame.kind == QMP_FRAME_ERROR)
			return client_fail(c, e, EPROTO, "the peer sent something that is not QMP: %s", frame.error);
		if (qmp_message_parse(&frame, &msg, &bad) < 0)
			return client_fail(c, e, EPROTO, "the peer sent something that is not QMP: %s", bad.text);
		int r = take_message(c, msg, frame.len, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Reads once, without waiting: 1 when bytes came, 0 when there are none now. */
static int client_read(struct qmp_client *c, struct err *e)
{
	char buf[READ_CHUNK];
	ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		return client_fail(c, e, ECONNRESET, "the connection broke: %s", strerror(errno));
	if (n == 0)
		return client_fail(c, e, ECONNRESET, "the peer closed the connection");
	int r = take_bytes(c, buf, (size_t)n, e);
	return r < 0 ? r : 1;
}

/* --- output --- */

static ssize_t client_write(const struct qmp_client *c)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .header = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) } };
	struct iovec iov = { .iov_base = c->out, .iov_len = c->out_len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (c->pass_fd >= 0) {
		memcpy(CMSG_DATA(&control.header), &c->pass_fd, sizeof(int));
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
	}
	return sendmsg(c->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static int client_flush(struct qmp_client *c, struct err *e)
{
	while (c->out_len) {
		ssize_t n = client_write(c);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0)
			return client_fail(c, e, ECONNRESET, "the connection broke: %s", strerror(errno));
		c->pass_fd = -1;
		c->out_len -= (size_t)n;
		memmove(c->out, c->out + n, c->out_len);
	}
	free(c->out);
	c->out = NULL;
	return 0;
}

static int output_put(struct qmp_client *c, const char *line, struct err *e)
{
	size_t len = strlen(line);

	if (len > QMP_MESSAGE_MAX)
		return err_set(e, ERR_USAGE, EMSGSIZE, "request-size", "the request exceeds the limit of 1 MiB");
	if (c->out_len + len > OUT_MAX)
		return client_fail(c, e, ECONNRESET, "the peer does not read what it is sent");
	char *grown = realloc(c->out, c->out_len + len);
	if (!grown)
		return client_fail(c, e, ENOMEM, "out of memory");
	memcpy(grown + c->out_len, line, len);
	c->out = grown;
	c->out_len += len;
	return 0;
}

/* Waits for the socket, at most to the deadline, then moves bytes. -ETIMEDOUT leaves the client as it is. */
static int client_step(struct qmp_client *c, uint64_t deadline, struct err *e)
{
	struct pollfd p = { .fd = c->fd, .events = qmp_client_poll_events(c) };
	uint64_t now = now_us();
	uint64_t left = now < deadline ? deadline - now : 0;
	struct timespec ts = { .tv_sec = (time_t)(left / 1000000u), .tv_nsec = (long)(left % 1000000u) * 1000 };

	if (left == 0)
		return -ETIMEDOUT;
	int n = ppoll(&p, 1, &ts, NULL);
	if (n < 0 && errno != EINTR)
		return client_fail(c, e, errno, "poll: %s", strerror(errno));
	int r = client_flush(c, e);
	if (r < 0)
		return r;
	r = client_read(c, e);
	return r < 0 ? r : 0;
}

static int check_alive(struct qmp_client *c, struct err *e)
{
	if (!c->alive)
		return err_set(e, c->kind_down, ECONNRESET, NULL, "the connection is closed");
	return 0;
}

/* A far deadline must not wrap around. */
static uint64_t deadline_after(uint64_t timeout_us)
{
	uint64_t now = now_us();

	return timeout_us > UINT64_MAX - now ? UINT64_MAX : now + timeout_us;
}

int qmp_client_send(struct qmp_client *c, const char *command, json_t *args, uint64_t *ret_serial, struct err *e)
{
	char id[24];
	int r = check_alive(c, e);

	if (r < 0)
		return r;
	if (c->n_calls + c->queue.n - c->queue.n_events >= QMP_CALLS_MAX)
		return err_set(e, ERR_FAILED, EBUSY, NULL, "too many calls wait for their reply");
	snprintf(id, sizeof(id), "%llu", (unsigned long long)(c->last_serial + 1));
	_cleanup_free_ char *line = qmp_format_command(command, args, id);
	if (!line)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	r = output_put(c, line, e);
	if (r < 0)
		return r;
	c->calls[c->n_calls++] = ++c->last_serial;
	r = client_flush(c, e);
	if (r < 0)
		return r;
	*ret_serial = c->last_serial;
	return 0;
}

/* Hands out a reply's value, or turns its error into *e. Takes msg. */
static int reply_unwrap(json_t *msg, json_t **ret, struct err *e)
{
	json_t *error = json_object_get(msg, "error");
	int r = 0;

	if (error)
		r = qmp_error_from_json(error, e);
	else if (ret)
		*ret = json_incref(json_object_get(msg, "return"));
	json_decref(msg);
	return r;
}

int qmp_client_call(struct qmp_client *c, const char *command, json_t *args, uint64_t timeout_us,
		    json_t **ret, struct err *e)
{
	uint64_t deadline = deadline_after(timeout_us), serial = 0;
	int r = qmp_client_send(c, command, args, &serial, e);

	while (r == 0) {
		size_t i = client_queue_find(&c->queue, serial);
		if (i < c->queue.n)
			return reply_unwrap(client_queue_take(&c->queue, i, NULL), ret, e);
		r = client_step(c, deadline, e);
	}
	/* A reply that came before the connection ended still counts. */
	if (r == -ECONNRESET && serial && client_queue_find(&c->queue, serial) < c->queue.n)
		return reply_unwrap(client_queue_take(&c->queue, client_queue_find(&c->queue, serial), NULL), ret, e);
	if (r == -ETIMEDOUT)
		return client_fail(c, e, ETIMEDOUT, "no reply to %s within %llu ms", command,
				   (unsigned long long)(timeout_us / 1000));
	return r;
}

int qmp_client_call_fd(struct qmp_client *c, const char *command, json_t *args, int fd, uint64_t timeout_us,
		       json_t **ret, struct err *e)
{
	if (c->out_len)
		return err_set(e, ERR_FAILED, EBUSY, NULL, "an earlier command is still being sent");
	c->pass_fd = fd;
	int r = qmp_client_call(c, command, args, timeout_us, ret, e);
	c->pass_fd = -1; /* it was not sent at all, if it is still here: nothing later may take it along */
	return r;
}

int qmp_client_process(struct qmp_client *c, json_t **ret, uint64_t *ret_serial, struct err *e)
{
	int r = 0;

	/* Reading more while messages wait could only push events out of the queue. */
	if (c->queue.n == 0 && c->alive)
		r = client_read(c, e);
	if (c->alive && r >= 0)
		r = client_flush(c, e);
	if (c->queue.n > 0) {
		*ret = client_queue_take(&c->queue, 0, ret_serial);
		return 1;
	}
	if (!c->alive)
		return r < 0 ? r : check_alive(c, e);
	return 0;
}

/* What is there already is read also when there is no time to wait for more. */
static int client_look(struct qmp_client *c, struct err *e)
{
	int r = client_read(c, e);

	return r < 0 ? r : -ETIMEDOUT;
}

int qmp_client_event(struct qmp_client *c, uint64_t timeout_us, json_t **ret, struct err *e)
{
	uint64_t deadline = deadline_after(timeout_us);
	int r = 0;

	for (;;) {
		size_t i = client_queue_find(&c->queue, 0);
		if (i < c->queue.n) {
			*ret = client_queue_take(&c->queue, i, NULL);
			return 1;
		}
		if (r < 0)
			return r == -ETIMEDOUT ? 0 : r;
		if (!c->alive)
			r = check_alive(c, e);
		else
			r = timeout_us > 0 ? client_step(c, deadline, e) : client_look(c, e);
	}
}

/* --- life --- */

static int client_handshake(struct qmp_client *c, uint64_t deadline, struct err *e)
{
	int r = 0;

	c->want_greeting = true;
	while (r == 0 && c->want_greeting)
		r = client_step(c, deadline, e);
	if (r == -ETIMEDOUT)
		return client_fail(c, e, ETIMEDOUT, "no QMP greeting; is another client connected to this monitor?");
	if (r < 0)
		return r;
	uint64_t now = now_us();
	return qmp_client_call(c, "qmp_capabilities", NULL, now < deadline ? deadline - now : 0, NULL, e);
}

int qmp_client_adopt(int fd, bool greet, uint64_t timeout_us, enum err_kind kind_down,
		     struct qmp_client **ret, struct err *e)
{
	_cleanup_close_ int guard = fd;
	_cleanup_(qmp_client_free) struct qmp_client *c = calloc(1, sizeof(*c));

	if (!c)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	c->fd = TAKE_FD(guard);
	c->pass_fd = -1;
	c->alive = true;
	c->kind_down = kind_down;
	c->lexer = qmp_lexer_new();
	if (!c->lexer)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	int r = greet ? client_handshake(c, deadline_after(timeout_us), e) : 0;
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

int qmp_client_connect(const char *path, uint64_t timeout_us, enum err_kind kind_down,
		       struct qmp_client **ret, struct err *e)
{
	uint64_t deadline = deadline_after(timeout_us);
	int fd = unix_connect(path, timeout_us);

	if (fd < 0)
		return err_set(e, kind_down, -fd, NULL, "cannot connect to %s: %s", path, strerror(-fd));
	uint64_t now = now_us();
	int r = qmp_client_adopt(fd, true, now < deadline ? deadline - now : 0, kind_down, ret, e);
	if (r < 0)
		err_prefix(e, "%s", path);
	return r;
}

void qmp_client_free(struct qmp_client *c)
{
	if (!c)
		return;
	while (c->queue.n)
		json_decref(client_queue_take(&c->queue, c->queue.n - 1, NULL));
	json_decref(c->greeting);
	qmp_lexer_free(c->lexer);
	free(c->out);
	close(c->fd);
	free(c);
}

int qmp_client_fd(const struct qmp_client *c)
{
	return c->fd;
}

json_t *qmp_client_greeting(const struct qmp_client *c)
{
	return c->greeting;
}

short qmp_client_poll_events(const struct qmp_client *c)
{
	return c->out_len ? POLLIN | POLLOUT : POLLIN;
}

uint64_t qmp_client_dropped(const struct qmp_client *c)
{
	return c->queue.dropped;
}

bool qmp_client_alive(const struct qmp_client *c)
{
	return c->alive;
}
