// SPDX-License-Identifier: GPL-2.0-or-later
/* The worker's end of its socket: one connection and its end, or one daemon after the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "protocol/util.h"
#include "vmm/control/channel.h"
#include "vmm/worker/control.h"

static char path[] = "/tmp/vmpoke-test-control-XXXXXX";

/* A bound socket, as the daemon hands it over. */
static int bound(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void hears(int fd, const char *text)
{
	char buf[512];
	ssize_t n = recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT);

	assert_true(n > 0);
	buf[n] = '\0';
	assert_non_null(strstr(buf, text));
}

static void one_connection(void **state)
{
	struct qmp_request req = { 0 };
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	struct control *c = control_new(pair[0]);
	assert_true(control_ends(c));
	assert_int_equal(control_fd(c), pair[0]);
	assert_int_equal(control_accept(c), 0);
	say(pair[1], "{\"execute\": \"a\", \"id\": 1} {\"execute\": \"b\", \"id\": 2}");
	close(pair[1]);
	assert_int_equal(control_read(c), -ECONNRESET);
	assert_int_equal(control_next(c, &req), 1); /* what was asked before is answered */
	assert_string_equal(req.execute, "a");
	qmp_request_clear(&req);
	assert_true(control_cancelled(c, "job")); /* its successor need not wait */
	control_free(c);
}

static void one_daemon_after_the_other(void **state)
{
	struct qmp_request req = { 0 };

	(void)state;
	struct control *c = control_new_listening(bound());
	assert_non_null(c);
	assert_false(control_ends(c));
	int listening = control_fd(c);
	assert_int_equal(control_accept(c), 0); /* nobody there: does not wait */
	assert_int_equal(control_read(c), -ECONNRESET);
	control_event(c, "LOST", json_object()); /* and nobody to tell */
	for (int round = 0; round < 3; round++) {
		int daemon = unix_connect(path, 1000000);
		assert_true(daemon >= 0);
		assert_int_equal(control_accept(c), 1);
		assert_int_equal(control_accept(c), 0);
		assert_int_not_equal(control_fd(c), listening);
		control_event(c, "HERE", json_object());
		hears(daemon, "HERE");
		say(daemon, "{\"execute\": \"a\", \"id\": 1} {\"execute\": \"b\", \"id\": 2}{\"execute\": \"ha");
		assert_int_equal(control_read(c), 0);
		assert_int_equal(control_next(c, &req), 1);
		assert_string_equal(req.execute, "a");
		close(daemon); /* in the middle of its work: which goes on, and is told to nobody */
		assert_false(control_cancelled(c, "job"));
		control_return(c, req.id, json_object());
		qmp_request_clear(&req);
		assert_int_equal(control_next(c, &req), 0); /* what was not begun is not begun any more */
		assert_int_equal(control_fd(c), listening);
	}
	control_free(c);
	unlink(path);
}

/* The next daemon waits until the last one's connection is found to be over. */
static void two_daemons_at_once(void **state)
{
	(void)state;
	struct control *c = control_new_listening(bound());
	int first = unix_connect(path, 1000000), second = unix_connect(path, 1000000);

	assert_int_equal(control_accept(c), 1);
	control_event(c, "HERE", json_object());
	hears(first, "HERE");
	assert_int_equal(recv(second, &(char){ 0 }, 1, MSG_DONTWAIT), -1);
	close(first);
	assert_int_equal(control_read(c), -ECONNRESET);
	assert_int_equal(control_accept(c), 1);
	control_event(c, "HERE", json_object());
	hears(second, "HERE");
	close(second);
	control_free(c);
	unlink(path);
}

/* Whoever connects learns whom it is talking to: the one who listens, not the one who made the socket. */
static void listener_is_told(void **state)
{
	struct ucred peer = { 0 };
	socklen_t len = sizeof(peer);
	int fd = bound();

	(void)state;
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) /* the daemon */
		_exit(listen(fd, 1) == 0 ? 0 : 1);
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	struct control *c = control_new_listening(fd);
	int daemon = unix_connect(path, 1000000);
	assert_int_equal(getsockopt(daemon, SOL_SOCKET, SO_PEERCRED, &peer, &len), 0);
	assert_int_equal(peer.pid, getpid());
	close(daemon);
	control_free(c);
	unlink(path);
}

static void ignore_frame(struct channel *ch, const struct qmp_frame *frame)
{
	(void)ch;
	(void)frame;
}

static void ignore_end(struct channel *ch, const char *why)
{
	(void)ch;
	(void)why;
}

/* The daemon's end and ours: a request of some length before, one with a file, one after. */
static void a_file_goes_along(void **state)
{
	static const struct channel_ops ops = { .frame = ignore_frame, .closed = ignore_end };
	struct channel ch;
	sd_event *loop = NULL;
	struct qmp_request req = { 0 };
	char *blanks = malloc(1 << 20), text[8] = "";
	int pair[2], file = memfd_create("file", MFD_CLOEXEC), seen = 0;

	(void)state;
	assert_int_equal(write(file, "kernel", 6), 6);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_true(sd_event_new(&loop) >= 0);
	assert_int_equal(channel_init(&ch, loop, pair[0], &ops, 0), 0);
	struct control *c = control_new(pair[1]);
	assert_int_equal(control_take_fd(c), -ENOENT);
	memset(blanks, ' ', (1 << 20) - 1); /* more than the socket takes at once */
	blanks[(1 << 20) - 1] = '\0';
	channel_send(&ch, blanks);
	channel_send_fd(&ch, strdup("{\"execute\": \"first\"}\r\n"), file);
	channel_send(&ch, strdup("{\"execute\": \"second\"}\r\n"));
	for (int i = 0; i < 1000 && seen < 2; i++) {
		sd_event_run(loop, 1000);
		assert_int_equal(control_read(c), 0);
		while (control_next(c, &req) > 0) {
			assert_string_equal(req.execute, seen++ ? "second" : "first");
			qmp_request_clear(&req);
		}
	}
	assert_int_equal(seen, 2);
	int got = control_take_fd(c);
	assert_true(got >= 0);
	assert_int_equal(pread(got, text, sizeof(text), 0), 6);
	assert_string_equal(text, "kernel");
	assert_int_equal(control_take_fd(c), -ENOENT);
	close(got);
	/* Never taken, or never sent: closed with its owner. */
	channel_send_fd(&ch, strdup("{}\r\n"), memfd_create("left", MFD_CLOEXEC));
	assert_int_equal(control_read(c), 0);
	channel_done(&ch);
	control_free(c);
	sd_event_unref(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_connection),
		cmocka_unit_test(one_daemon_after_the_other),
		cmocka_unit_test(two_daemons_at_once),
		cmocka_unit_test(listener_is_told),
		cmocka_unit_test(a_file_goes_along),
	};
	int fd = mkstemp(path);

	if (fd < 0)
		return 1;
	close(fd);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
