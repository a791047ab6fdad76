// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The QMP client against a scripted peer: a thread that waits for commands and
 * sends raw bytes, as slow, wrong or hostile as each test wants.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "protocol/client.h"
#include "protocol/qmp.h"

#define SECOND 1000000u
#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n"

/* Steps of a script: what to do next, with which text. */
enum step_kind { SEND, SEND_SLOWLY, EXPECT, SLEEP_MS, SHUT, END };

struct step {
	enum step_kind kind;
	const char *text; /* SEND: bytes; EXPECT: must be in the command line read */
	int ms;
};

struct peer {
	int fd;
	const struct step *script;
	bool failed;
	pthread_t thread;
};

static bool read_line(int fd, char *line, size_t cap)
{
	size_t n = 0;

	while (n + 1 < cap && read(fd, line + n, 1) == 1)
		if (line[n++] == '\n') {
			line[n] = '\0';
			return true;
		}
	return false;
}

static void peer_send(int fd, const char *text, size_t piece)
{
	for (size_t len = strlen(text), n; len; text += n, len -= n) {
		n = piece < len ? piece : len;
		if (send(fd, text, n, MSG_NOSIGNAL) < 0)
			return;
		if (piece < len)
			poll(NULL, 0, 1);
	}
}

static void *peer_main(void *arg)
{
	struct peer *p = arg;
	char line[4096];

	for (const struct step *s = p->script; s->kind != END; s++) {
		if (s->kind == SEND || s->kind == SEND_SLOWLY)
			peer_send(p->fd, s->text, s->kind == SEND ? SIZE_MAX : 3);
		else if (s->kind == SLEEP_MS)
			poll(NULL, 0, s->ms);
		else if (s->kind == SHUT)
			shutdown(p->fd, SHUT_RDWR);
		else if (!read_line(p->fd, line, sizeof(line)) || !strstr(line, s->text))
			p->failed = true;
	}
	return NULL;
}

static int peer_start(struct peer *p, const struct step *script)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	*p = (struct peer){ .fd = fd[0], .script = script };
	assert_int_equal(pthread_create(&p->thread, NULL, peer_main, p), 0);
	return fd[1];
}

static void peer_end(struct peer *p)
{
	pthread_join(p->thread, NULL);
	close(p->fd);
	assert_false(p->failed);
}

static struct qmp_client *plain_client(struct peer *p, const struct step *script)
{
	struct qmp_client *c = NULL;
	struct err e;

	assert_int_equal(qmp_client_adopt(peer_start(p, script), false, SECOND, ERR_INACTIVE, &c, &e), 0);
	assert_null(qmp_client_greeting(c));
	return c;
}

static void test_handshake(void **state)
{
	static const struct step script[] = {
		{ SEND_SLOWLY, GREETING, 0 },
		{ EXPECT, "\"execute\": \"qmp_capabilities\", \"id\": 1}", 0 },
		{ SEND_SLOWLY, "{\"return\": {}, \"id\": 1}\r\n", 0 },
		{ EXPECT, "\"execute\": \"query-vm\", \"arguments\": {\"vm\": \"a\"}, \"id\": 2}", 0 },
		{ SEND_SLOWLY, "{\"id\": 2, \"return\": {\"x\": 5}}\r\n", 0 },
		{ END, NULL, 0 },
	};
	struct qmp_client *c = NULL;
	struct peer p;
	struct err e;
	json_t *ret = NULL, *args = json_pack("{s:s}", "vm", "a");

	(void)state;
	assert_int_equal(qmp_client_adopt(peer_start(&p, script), true, SECOND, ERR_INACTIVE, &c, &e), 0);
	assert_non_null(json_object_get(qmp_client_greeting(c), "QMP"));
	assert_int_equal(qmp_client_call(c, "query-vm", args, SECOND, &ret, &e), 0);
	assert_int_equal(json_integer_value(json_object_get(ret, "x")), 5);
	assert_true(qmp_client_alive(c));
	json_decref(ret);
	json_decref(args);
	peer_end(&p);
	qmp_client_free(c);
}

static void check_handshake(const struct step *script, uint64_t timeout_us, int expected)
{
	struct qmp_client *c = NULL;
	struct peer p;
	struct err e;

	assert_int_equal(qmp_client_adopt(peer_start(&p, script), true, timeout_us, ERR_UNREACHABLE, &c, &e), expected);
	assert_null(c);
	assert_int_equal(e.kind, ERR_UNREACHABLE);
	assert_true(e.text[0]);
	peer_end(&p);
}

static void test_handshake_fails(void **state)
{
	static const struct step silent[] = { { SLEEP_MS, NULL, 60 }, { END, NULL, 0 } };
	static const struct step gone[] = { { SEND, "{\"QMP\"", 0 }, { SHUT, NULL, 0 }, { END, NULL, 0 } };
	static const struct step no_qmp[] = { { SEND, "SSH-2.0-OpenSSH\r\n", 0 }, { SLEEP_MS, NULL, 20 }, { END, NULL, 0 } };
	static const struct step other_json[] = { { SEND, "{\"hello\": 1}", 0 }, { SLEEP_MS, NULL, 20 }, { END, NULL, 0 } };
	static const struct step array[] = { { SEND, "[]", 0 }, { SLEEP_MS, NULL, 20 }, { END, NULL, 0 } };
	static const struct step mute_after[] = { { SEND, GREETING, 0 }, { SLEEP_MS, NULL, 60 }, { END, NULL, 0 } };

	(void)state;
	check_handshake(silent, 30000, -ETIMEDOUT);
	check_handshake(gone, SECOND, -ECONNRESET);
	check_handshake(no_qmp, SECOND, -EPROTO);
	check_handshake(other_json, SECOND, -EPROTO);
	check_handshake(array, SECOND, -EPROTO);
	check_handshake(mute_after, 30000, -ETIMEDOUT);
}

static void test_connect(void **state)
{
	char dir[] = "/tmp/test-client.XXXXXX", path[64];
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct qmp_client *c = NULL;
	struct err e;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	assert_int_equal(qmp_client_connect(path, SECOND, ERR_UNREACHABLE, &c, &e), -ENOENT);
	assert_int_equal(e.kind, ERR_UNREACHABLE);
	assert_non_null(strstr(e.text, path));
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(sa.sun_path, path);
	assert_int_equal(bind(listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(qmp_client_connect(path, SECOND, ERR_UNREACHABLE, &c, &e), -ECONNREFUSED);
	/* A monitor that serves somebody else accepts and stays silent. */
	assert_int_equal(listen(listener, 4), 0);
	assert_int_equal(qmp_client_connect(path, 20000, ERR_INACTIVE, &c, &e), -ETIMEDOUT);
	assert_int_equal(e.kind, ERR_INACTIVE);
	assert_non_null(strstr(e.text, path));
	assert_null(c);
	close(listener);
	unlink(path);
	rmdir(dir);
}

static void test_error_reply(void **state)
{
	static const struct step script[] = {
		{ EXPECT, "\"a\"", 0 },
		{ SEND, "{\"id\": 1, \"error\": {\"class\": \"DeviceNotFound\", \"desc\": \"no VM\"}}\r\n", 0 },
		{ EXPECT, "\"b\"", 0 },
		{ SEND, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error\"}}\r\n", 0 },
		{ END, NULL, 0 },
	};
	struct peer p;
	struct qmp_client *c = plain_client(&p, script);
	struct err e;

	(void)state;
	assert_int_equal(qmp_client_call(c, "a", NULL, SECOND, NULL, &e), -ENOENT);
	assert_int_equal(e.kind, ERR_NOT_FOUND);
	assert_string_equal(e.text, "no VM");
	/* Without id: the peer could not read our command. It is the answer to the oldest call. */
	assert_int_equal(qmp_client_call(c, "b", NULL, SECOND, NULL, &e), -EIO);
	assert_string_equal(e.text, "JSON parse error");
	assert_true(qmp_client_alive(c));
	peer_end(&p);
	qmp_client_free(c);
}

static void test_events_between_replies(void **state)
{
	static const struct step script[] = {
		{ EXPECT, "\"a\"", 0 },
		{ SEND, "{\"event\": \"E1\"}{\"return\": 0, \"id\": 77}{\"return\": 1, \"id\": 1}{\"event\": \"E2\"}"
			"{\"return\": 9, \"id\": 1}{\"return\": 9}{\"id\": 2, \"return\": 9}{\"neither\": 1}\r\n", 0 },
		{ EXPECT, "\"b\"", 0 },
		{ SEND, "{\"return\": 2, \"id\": 2}\r\n", 0 },
		{ SLEEP_MS, NULL, 30 },
		{ SEND, "{\"event\": \"E3\"}", 0 },
		{ END, NULL, 0 },
	};
	struct peer p;
	struct qmp_client *c = plain_client(&p, script);
	json_t *j;
	struct err e;

	(void)state;
	/* A reply to a call not made yet (id 2) must not be taken for the answer to the next one. */
	assert_int_equal(qmp_client_call(c, "a", NULL, SECOND, &j, &e), 0);
	assert_int_equal(json_integer_value(j), 1);
	json_decref(j);
	assert_int_equal(qmp_client_call(c, "b", NULL, SECOND, &j, &e), 0);
	assert_int_equal(json_integer_value(j), 2);
	json_decref(j);
	for (int i = 1; i <= 3; i++) {
		char name[3] = { 'E', (char)('0' + i), 0 };
		assert_int_equal(qmp_client_event(c, SECOND, &j, &e), 1);
		assert_string_equal(json_string_value(json_object_get(j, "event")), name);
		json_decref(j);
	}
	peer_end(&p);
	assert_int_equal(qmp_client_event(c, SECOND, &j, &e), -ECONNRESET);
	qmp_client_free(c);
}

static void test_event_timeout(void **state)
{
	static const struct step script[] = { { EXPECT, "\"a\"", 0 }, { SEND, "{\"event\": \"E\"}", 0 }, { END, NULL, 0 } };
	struct peer p;
	struct qmp_client *c = plain_client(&p, script);
	struct pollfd poll_fd = { .fd = qmp_client_fd(c), .events = POLLIN };
	uint64_t serial;
	struct err e;
	json_t *j;

	(void)state;
	assert_int_equal(qmp_client_event(c, 20000, &j, &e), 0);
	assert_int_equal(qmp_client_event(c, 0, &j, &e), 0);
	assert_true(qmp_client_alive(c));
	/* In somebody's own loop: when the socket is readable the event is had without a wait. */
	assert_int_equal(qmp_client_send(c, "a", NULL, &serial, &e), 0);
	assert_int_equal(poll(&poll_fd, 1, 60000), 1);
	assert_int_equal(qmp_client_event(c, 0, &j, &e), 1);
	json_decref(j);
	peer_end(&p);
	qmp_client_free(c);
}

/* After a time-out the late reply must never be mistaken for the answer to another call. */
static void test_late_reply(void **state)
{
	static const struct step script[] = {
		{ EXPECT, "\"a\"", 0 }, { SLEEP_MS, NULL, 60 }, { SEND, "{\"return\": 1, \"id\": 1}", 0 }, { END, NULL, 0 },
	};
	struct peer p;
	struct qmp_client *c = plain_client(&p, script);
	struct err e;
	json_t *j = NULL;
	uint64_t serial;

	(void)state;
	assert_int_equal(qmp_client_call(c, "a", NULL, 20000, &j, &e), -ETIMEDOUT);
	assert_int_equal(e.kind, ERR_INACTIVE);
	assert_non_null(strstr(e.text, "20 ms"));
	assert_false(qmp_client_alive(c));
	peer_end(&p);
	assert_int_equal(qmp_client_call(c, "b", NULL, SECOND, &j, &e), -ECONNRESET);
	assert_int_equal(qmp_client_send(c, "b", NULL, &serial, &e), -ECONNRESET);
	assert_int_equal(qmp_client_process(c, &j, &serial, &e), -ECONNRESET);
	assert_null(j);
	qmp_client_free(c);
}

static void test_peer_death(void **state)
{
	static const struct step script[] = {
		{ EXPECT, "\"a\"", 0 }, { SEND, "{\"event\": \"LAST\"}{\"retu", 0 }, { SHUT, NULL, 0 }, { END, NULL, 0 },
	};
	struct peer p;
	struct qmp_client *c = plain_client(&p, script);
	struct err e;
	json_t *j = NULL;

	(void)state;
	assert_int_equal(qmp_client_call(c, "a", NULL, SECOND, &j, &e), -ECONNRESET);
	assert_int_equal(e.kind, ERR_INACTIVE);
	assert_false(qmp_client_alive(c));
	assert_int_equal(qmp_client_event(c, SECOND, &j, &e), 1);
	json_decref(j);
	peer_end(&p);
	qmp_client_free(c);
}

static void test_oversize(void **state)
{
	char *big = malloc(QMP_MESSAGE_MAX + 100);
	struct step script[] = { { EXPECT, "\"a\"", 0 }, { SEND, big, 0 }, { END, NULL, 0 } };
	struct peer p;
	struct err e;

	(void)state;
	memset(big, 'x', QMP_MESSAGE_MAX + 99);
	memcpy(big, "{\"return\": \"", 12);
	big[QMP_MESSAGE_MAX + 99] = '\0';
	struct qmp_client *c = plain_client(&p, script);
	assert_int_equal(qmp_client_call(c, "a", NULL, 5 * SECOND, NULL, &e), -EPROTO);
	assert_non_null(strstr(e.text, "size limit"));
	assert_false(qmp_client_alive(c));
	qmp_client_free(c);
	peer_end(&p);
	free(big);
}

static void test_oversize_request(void **state)
{
	static const struct step script[] = { { END, NULL, 0 } };
	struct peer p;
	struct qmp_client *c = plain_client(&p, script);
	char *big = malloc(QMP_MESSAGE_MAX);
	struct err e;

	(void)state;
	memset(big, 'x', QMP_MESSAGE_MAX - 1);
	big[QMP_MESSAGE_MAX - 1] = '\0';
	json_t *args = json_pack("{s:s}", "text", big);
	assert_int_equal(qmp_client_call(c, "a", args, SECOND, NULL, &e), -EMSGSIZE);
	assert_true(qmp_client_alive(c));
	json_decref(args);
	free(big);
	peer_end(&p);
	qmp_client_free(c);
}

static void test_async(void **state)
{
	static const struct step script[] = {
		{ EXPECT, "\"a\"", 0 },
		{ EXPECT, "\"b\"", 0 },
		{ SEND, "{\"event\": \"E\"}{\"return\": 2, \"id\": 2}{\"error\": {\"desc\": \"no\"}, \"id\": 1}", 0 },
		{ SHUT, NULL, 0 },
		{ END, NULL, 0 },
	};
	static const uint64_t serials[] = { 0, 2, 1 };
	struct peer p;
	struct qmp_client *c = plain_client(&p, script);
	uint64_t a, b, serial;
	struct err e;
	json_t *j;

	(void)state;
	assert_int_equal(qmp_client_process(c, &j, &serial, &e), 0);
	assert_int_equal(qmp_client_send(c, "a", NULL, &a, &e), 0);
	assert_int_equal(qmp_client_send(c, "b", NULL, &b, &e), 0);
	assert_int_equal(a, 1);
	assert_int_equal(b, 2);
	assert_int_equal(qmp_client_poll_events(c), POLLIN);
	peer_end(&p);
	for (size_t i = 0; i < ARRAY_SIZE(serials); i++) {
		assert_int_equal(qmp_client_process(c, &j, &serial, &e), 1);
		assert_int_equal(serial, serials[i]);
		json_decref(j);
	}
	assert_int_equal(qmp_client_process(c, &j, &serial, &e), -ECONNRESET);
	assert_false(qmp_client_alive(c));
	qmp_client_free(c);
}

/* A peer that does not read must not block us: bytes wait, then the connection is given up. */
static void test_peer_does_not_read(void **state)
{
	int fd[2], r = 0, sent = 0;
	struct qmp_client *c;
	char text[100000];
	uint64_t serial;
	struct err e;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	json_t *args = json_pack("{s:s}", "text", text);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	assert_int_equal(qmp_client_adopt(fd[0], false, 0, ERR_INACTIVE, &c, &e), 0);
	while (r == 0 && sent++ < QMP_CALLS_MAX)
		r = qmp_client_send(c, "a", args, &serial, &e);
	assert_int_equal(r, -ECONNRESET);
	assert_true(sent > 20 && sent < 40);
	assert_int_equal(qmp_client_poll_events(c), POLLIN | POLLOUT);
	assert_false(qmp_client_alive(c));
	json_decref(args);
	qmp_client_free(c);
	close(fd[1]);
}

static void test_kept_bytes_go_out(void **state)
{
	int fd[2];
	struct qmp_client *c;
	static char text[600000], got[700000];
	uint64_t serial;
	size_t n = 0;
	struct err e;
	json_t *j;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	json_t *args = json_pack("{s:s}", "text", text);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	assert_int_equal(qmp_client_adopt(fd[0], false, 0, ERR_INACTIVE, &c, &e), 0);
	assert_int_equal(qmp_client_send(c, "a", args, &serial, &e), 0);
	assert_int_equal(qmp_client_poll_events(c), POLLIN | POLLOUT);
	while (n == 0 || got[n - 1] != '\n') {
		ssize_t r = read(fd[1], got + n, sizeof(got) - n);
		assert_true(r > 0);
		n += (size_t)r;
		assert_int_equal(qmp_client_process(c, &j, &serial, &e), 0);
	}
	assert_int_equal(qmp_client_poll_events(c), POLLIN);
	assert_true(n > sizeof(text));
	json_t *sent = json_loadb(got, n, 0, NULL);
	assert_non_null(sent);
	assert_true(json_equal(json_object_get(sent, "arguments"), args));
	json_decref(sent);
	json_decref(args);
	qmp_client_free(c);
	close(fd[1]);
}

static void test_event_flood(void **state)
{
	static char flood[1000 * 20 + 64];
	struct step script[] = { { EXPECT, "\"a\"", 0 }, { SEND, flood, 0 }, { END, NULL, 0 } };
	struct peer p;
	struct err e;
	json_t *j;
	char *at = flood;

	(void)state;
	for (int i = 0; i < 1000; i++)
		at += sprintf(at, "{\"event\":\"%03d\"}", i);
	strcpy(at, "{\"return\": 3, \"id\": 1}");
	struct qmp_client *c = plain_client(&p, script);
	assert_int_equal(qmp_client_call(c, "a", NULL, 5 * SECOND, &j, &e), 0);
	assert_int_equal(json_integer_value(j), 3);
	json_decref(j);
	assert_int_equal(qmp_client_dropped(c), 1000 - QMP_EVENTS_MAX);
	assert_int_equal(qmp_client_event(c, 0, &j, &e), 1);
	assert_string_equal(json_string_value(json_object_get(j, "event")), "744");
	json_decref(j);
	peer_end(&p);
	qmp_client_free(c);
}

static void test_too_many_calls(void **state)
{
	int fd[2];
	struct qmp_client *c;
	uint64_t serial;
	struct err e;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	assert_int_equal(qmp_client_adopt(fd[0], false, 0, ERR_INACTIVE, &c, &e), 0);
	for (int i = 0; i < QMP_CALLS_MAX; i++)
		assert_int_equal(qmp_client_send(c, "a", NULL, &serial, &e), 0);
	assert_int_equal(qmp_client_send(c, "a", NULL, &serial, &e), -EBUSY);
	assert_true(qmp_client_alive(c));
	qmp_client_free(c);
	qmp_client_free(NULL);
	close(fd[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_handshake),	  cmocka_unit_test(test_handshake_fails),
		cmocka_unit_test(test_connect),		  cmocka_unit_test(test_error_reply),
		cmocka_unit_test(test_events_between_replies), cmocka_unit_test(test_event_timeout),
		cmocka_unit_test(test_late_reply),	  cmocka_unit_test(test_peer_death),
		cmocka_unit_test(test_oversize),	  cmocka_unit_test(test_oversize_request),
		cmocka_unit_test(test_async),		  cmocka_unit_test(test_peer_does_not_read),
		cmocka_unit_test(test_kept_bytes_go_out), cmocka_unit_test(test_event_flood),
		cmocka_unit_test(test_too_many_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
