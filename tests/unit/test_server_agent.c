// SPDX-License-Identifier: GPL-2.0-or-later
/* vm-set-agent: what is kept, what the worker is told, and workers that die of it or do not want to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "protocol/util.h"
#include "tests/fake/daemon_program.h"

#define KEY "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

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

static json_t *set_args(const char *vm, const char *agent)
{
	return json_pack("{s:s, s:s}", "vm", vm, "agent", agent);
}

/* What a worker is told or started with; the fake one tells it as "version". */
static void wait_told(const char *vm, const char *agent)
{
	uint64_t end = now_us() + DAEMON_WAIT_US;
	bool same = false;

	while (!same && now_us() < end) {
		json_t *o = call_ok(client, "query-vm", json_pack("{s:s}", "vm", vm));
		same = strcmp(get_str(o, "version"), agent) == 0;
		json_decref(o);
		if (!same)
			poll(NULL, 0, 20);
	}
	assert_true(same);
}

static void check_set(json_t *args, const char *agent, bool changed)
{
	json_t *o = call_ok(client, "vm-set-agent", args);

	assert_string_equal(get_str(o, "agent"), agent);
	assert_true(json_is_true(json_object_get(o, "changed")) == changed);
	json_decref(o);
}

static void check_shown(const char *vm, const char *agent)
{
	json_t *o = call_ok(client, "query-vm", json_pack("{s:s}", "vm", vm));

	assert_string_equal(get_str(o, "agent"), agent);
	json_decref(o);
}

static void restart(void)
{
	qmp_client_free(TAKE_PTR(client));
	assert_int_equal(daemon_program_stop(&program), 0);
	daemon_program_start(&program);
	client = daemon_program_connect(&program, false);
}

static void test_address(void **state)
{
	struct err e;

	(void)state;
	json_decref(add_vm(client, "ok"));
	check_set(set_args("ok", "vsock:3"), "vsock:3", true);
	wait_told("ok", "vsock:3");
	check_set(set_args("ok", "vsock:3"), "vsock:3", false);
	check_set(set_args("ok", "unix:/run/a"), "unix:/run/a", true);
	check_set(json_pack("{s:s}", "vm", "ok"), "unix:/run/a", false);
	restart();
	wait_told("ok", "unix:/run/a");
	check_shown("ok", "unix:/run/a");
	check_set(set_args("ok", "none"), "", true);
	wait_told("ok", "none");
	check_shown("ok", "");
	call_fails(client, "vm-set-agent", set_args("ok", "vsock:2"), ERR_USAGE, &e);
	call_fails(client, "vm-set-agent", set_args("gone", "vsock:3"), ERR_NOT_FOUND, &e);
	restart();
	wait_told("ok", "");
}

/* Its successor is started with what was set. */
static void test_worker_dies(void **state)
{
	(void)state;
	json_decref(add_vm(client, "dies"));
	check_set(set_args("dies", "vsock:7"), "vsock:7", true);
	json_decref(wait_event(client, "WORKER_DIED", "dies"));
	wait_told("dies", "vsock:7");
	json_decref(add_vm(client, "strange"));
	check_set(set_args("strange", "vsock:8"), "vsock:8", true);
	json_decref(wait_event(client, "WORKER_DIED", "strange"));
}

static bool key_is(const char *key)
{
	_cleanup_free_ char *text = NULL;
	char path[192];
	size_t len;

	daemon_program_path(&program, "state/keys/ok.agent", path, sizeof(path));
	int r = read_file(path, 256, &text, &len);
	return key ? r == 0 && strncmp(text, key, strlen(key)) == 0 : r < 0;
}

static json_t *with_key(json_t *args, const char *text, mode_t mode)
{
	char path[192];
	struct err e;

	daemon_program_path(&program, "key", path, sizeof(path));
	unlink(path);
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	json_t *getfd = json_pack("{s:s}", "fdname", "k");
	assert_int_equal(qmp_client_call_fd(client, "getfd", getfd, fd, now_us() + DAEMON_WAIT_US, NULL, &e), 0);
	json_decref(getfd);
	json_object_set_new(args, "agent-key", json_string("fd:k"));
	return args;
}

static void test_key(void **state)
{
	struct err e;

	(void)state;
	json_decref(add_vm(client, "ok"));
	call_fails(client, "vm-set-agent", with_key(json_pack("{s:s}", "vm", "ok"), KEY, 0600), ERR_USAGE, &e);
	assert_true(key_is(NULL));
	check_set(with_key(set_args("ok", "vsock:3"), KEY, 0600), "vsock:3", true);
	assert_true(key_is(KEY));
	check_set(with_key(json_pack("{s:s}", "vm", "ok"), KEY, 0600), "vsock:3", false);
	/* An address changes, the key stays; one that is none changes nothing. */
	check_set(set_args("ok", "vsock:4"), "vsock:4", true);
	assert_true(key_is(KEY));
	call_fails(client, "vm-set-agent", with_key(set_args("ok", "vsock:5"), "no key", 0600), ERR_USAGE, &e);
	call_fails(client, "vm-set-agent", with_key(set_args("ok", "vsock:5"), KEY, 0644), ERR_USAGE, &e);
	check_shown("ok", "vsock:4");
	assert_true(key_is(KEY));
	check_set(json_pack("{s:s, s:s}", "vm", "ok", "agent-key", "none"), "vsock:4", true);
	assert_true(key_is(NULL));
	check_set(with_key(json_pack("{s:s}", "vm", "ok"), KEY, 0600), "vsock:4", true);
	check_set(set_args("ok", "none"), "", true);
	assert_true(key_is(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_address, start, stop),
		cmocka_unit_test_setup_teardown(test_worker_dies, start, stop),
		cmocka_unit_test_setup_teardown(test_key, start, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
