// SPDX-License-Identifier: GPL-2.0-or-later
/* Descriptors that clients pass to vmpoked: names, limits, and what becomes of those nobody asks for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/fake/daemon_program.h"
#include "vmm/control/fds.h"

static struct daemon_program program;
static struct qmp_client *client;

static int start(void **state)
{
	(void)state;
	client = daemon_program_begin(&program);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	daemon_program_end(&program, TAKE_PTR(client));
	return 0;
}

static int file_make(const char *name, int flags)
{
	char path[192];

	daemon_program_path(&program, name, path, sizeof(path));
	int fd = open(path, flags | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	return fd;
}

static void pass_fd(int fd, const char *name)
{
	json_t *args = json_pack("{s:s}", "fdname", name);
	struct err e;

	if (qmp_client_call_fd(client, "getfd", args, fd, DAEMON_WAIT_US, NULL, &e) < 0)
		fail_msg("getfd: %s", e.text);
	json_decref(args);
	close(fd);
}

static int open_fds(void)
{
	char path[64];
	int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", program.pid);
	DIR *dir = opendir(path);
	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void expect_fds(int n)
{
	for (uint64_t end = now_us() + DAEMON_WAIT_US; open_fds() != n; poll(NULL, 0, 5))
		if (now_us() > end)
			fail_msg("%d descriptors are open, expected %d", open_fds(), n);
}

static json_t *fd_args(const char *name)
{
	return json_pack("{s:s}", "fdname", name);
}

static void descriptors_have_limits(void **state)
{
	char name[FDS_NAME_MAX + 2];
	struct err e;
	int before = open_fds();

	(void)state;
	call_fails(client, "getfd", fd_args("x"), ERR_USAGE, &e);
	assert_string_equal(e.text, "No file descriptor supplied via SCM_RIGHTS");
	call_fails(client, "closefd", fd_args("x"), ERR_USAGE, &e);
	assert_string_equal(e.text, "File descriptor named 'x' not found");
	for (int i = 0; i < FDS_MAX; i++) {
		snprintf(name, sizeof(name), "fd%d", i);
		pass_fd(file_make("f", O_RDWR), name);
	}
	expect_fds(before + FDS_MAX);
	pass_fd(file_make("f", O_RDWR), "fd0"); /* takes the place of the first */
	int fd = file_make("f", O_RDWR);
	json_t *args = fd_args("one-too-many");
	assert_true(qmp_client_call_fd(client, "getfd", args, fd, DAEMON_WAIT_US, NULL, &e) < 0);
	assert_string_equal(e.rule, "limit");
	json_decref(args);
	args = fd_args("0x");
	assert_true(qmp_client_call_fd(client, "getfd", args, fd, DAEMON_WAIT_US, NULL, &e) < 0);
	assert_string_equal(e.text, "Parameter 'fdname' expects a name not starting with a digit");
	json_decref(args);
	/* nobody asked for this one */
	assert_int_equal(qmp_client_call_fd(client, "query-version", NULL, fd, DAEMON_WAIT_US, NULL, &e), 0);
	close(fd);
	expect_fds(before + FDS_MAX);
	json_decref(call_ok(client, "closefd", fd_args("fd3")));
	expect_fds(before + FDS_MAX - 1);
	qmp_client_free(client); /* its going closes the rest */
	client = daemon_program_connect(&program, false);
	expect_fds(before);
}

/* By hand: a message in two parts, and more descriptors than anybody may send. */
static void send_with_fds(int socket, const char *text, int fd, size_t n)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(8 * sizeof(int))];
	} control = { .header = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(n * sizeof(int)) } };
	struct iovec iov = { .iov_base = (char *)(uintptr_t)text, .iov_len = strlen(text) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
			      .msg_controllen = CMSG_SPACE(n * sizeof(int)) };

	for (size_t i = 0; i < n; i++)
		memcpy(CMSG_DATA(&control.header) + i * sizeof(int), &fd, sizeof(int));
	assert_int_equal(sendmsg(socket, &msg, MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void expect_line(int socket, const char *what)
{
	char line[4096];

	assert_true(raw_line(socket, line, sizeof(line)) > 0);
	if (!strstr(line, what))
		fail_msg("%s instead of %s", line, what);
}

static void descriptors_in_odd_company(void **state)
{
	int socket = daemon_program_raw(&program, false), fd = file_make("f", O_RDWR);

	(void)state;
	raw_send(socket, "{'execute':'qmp_capabilities'}");
	expect_line(socket, "return");
	int before = open_fds();
	send_with_fds(socket, "{'execute':'getfd','argu", fd, 1); /* comes with the first half */
	raw_send(socket, "ments':{'fdname':'a'}}");
	expect_line(socket, "return");
	expect_fds(before + 1);
	send_with_fds(socket, "{'execute':'query-version'} {'execute':'getfd','arguments':{'fdname':'b'}}", fd, 8);
	expect_line(socket, "package");
	expect_line(socket, "return");
	expect_fds(before + 2);
	for (int i = 0; i < 50; i++) /* a message that never ends gathers none */
		send_with_fds(socket, i ? " " : "{", fd, 4);
	expect_fds(before + 2 + 4);
	close(socket);
	expect_fds(before - 1);
	socket = daemon_program_raw(&program, true);
	send_with_fds(socket, "{", fd, 4); /* on the socket for everybody: at once */
	expect_fds(before);
	close(socket);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(descriptors_have_limits, start, stop),
		cmocka_unit_test_setup_teardown(descriptors_in_odd_company, start, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
