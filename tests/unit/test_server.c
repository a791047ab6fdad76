// SPDX-License-Identifier: GPL-2.0-or-later
/* vmpoked towards its clients: negotiation, ids, both sockets, limits, crowds, start and end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/fake/daemon_program.h"
#include "vmm/control/server.h"

static struct daemon_program program;

static int start(void **state)
{
	(void)state;
	daemon_program_init(&program);
	daemon_program_start(&program);
	return 0;
}

static int start_impatient(void **state)
{
	(void)state;
	daemon_program_init(&program);
	program.extra[0] = "--client-timeout";
	program.extra[1] = "1";
	daemon_program_start(&program);
	return 0;
}

/* Whatever a test did: the daemon ends in order and has said nothing on stdout. */
static int stop(void **state)
{
	struct stat st;
	char path[128];

	(void)state;
	int status = daemon_program_stop(&program);
	daemon_program_path(&program, "stdout", path, sizeof(path));
	int r = stat(path, &st);
	daemon_program_clean(&program);
	assert_int_equal(status, 0);
	assert_int_equal(r, 0);
	assert_int_equal(st.st_size, 0);
	return 0;
}

static void expect(int fd, const char *request, const char *answer)
{
	char line[65536];

	raw_send(fd, request);
	if (raw_line(fd, line, sizeof(line)) < 0)
		fail_msg("no answer to %s", request);
	if (!strstr(line, answer))
		fail_msg("%s\nanswered %s\ninstead of %s", request, line, answer);
}

static void test_negotiation(void **state)
{
	int fd = daemon_program_raw(&program, false);

	(void)state;
	expect(fd, "{'execute':'query-version'}", "\"CommandNotFound\"");
	expect(fd, "{'execute':'query-version'}", "Expecting capabilities negotiation with 'qmp_capabilities'");
	expect(fd, "{'execute':'nonsense'}", "Expecting capabilities negotiation");
	expect(fd, "{'execute':'qmp_capabilities','arguments':{'enable':['oob']}}", "\"GenericError\"");
	expect(fd, "{'execute':'qmp_capabilities','arguments':{'enable':[7]}}", "\"GenericError\"");
	expect(fd, "{'execute':'qmp_capabilities','arguments':{'foo':7}}", "\"GenericError\"");
	expect(fd, "{'execute':'query-version'}", "\"CommandNotFound\""); /* still not negotiated */
	expect(fd, "{'execute':'qmp_capabilities','arguments':{'enable':[]}}", "{\"return\": {}}");
	expect(fd, "{'execute':'qmp_capabilities'}", "Capabilities negotiation is already complete, command ignored");
	expect(fd, "{'execute':'qmp_capabilities'}", "\"CommandNotFound\"");
	expect(fd, "{'execute':'query-version'}", "\"package\": \"vmpoke ");
	expect(fd, "{'execute':'nonsense'}", "The command nonsense has not been found");
	expect(fd, "{'execute':'query-vms','arguments':{'x':1}}", "\"GenericError\"");
	close(fd);
}

static void test_ids_come_back_verbatim(void **state)
{
	static const char *const ids[] = {
		"1", "0", "-7", "1.50", "1e400", "123456789012345678901234567890", "\"x\"", "\"\\u0041\\\"\"", "null",
		"true", "[1, 2 ,{}]", "{\"a\": [null]}", "\"\xc3\xa9\"", "\"\"",
	};
	char request[256], answer[256];
	int fd = daemon_program_raw(&program, false);

	(void)state;
	expect(fd, "{'execute':'qmp_capabilities','id':[0]}", "\"id\": [0]");
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		snprintf(answer, sizeof(answer), "\"id\": %s}", ids[i]);
		snprintf(request, sizeof(request), "{\"execute\":\"query-version\",\"id\":%s}", ids[i]);
		expect(fd, request, answer);
		snprintf(request, sizeof(request), "{\"id\":%s,\"execute\":\"query-vm\",\"arguments\":{\"vm\":\"x\"}}", ids[i]);
		expect(fd, request, answer);
	}
	close(fd);
}

static void test_ids_of_relayed_requests(void **state)
{
	struct qmp_client *c = daemon_program_connect(&program, false);
	int fd = daemon_program_raw(&program, false);

	(void)state;
	json_decref(add_vm(c, "ok"));
	qmp_client_free(c);
	expect(fd, "{'execute':'qmp_capabilities'}", "return");
	expect(fd, "{'id':1e400,'execute':'query-patches','arguments':{'vm':'ok'}}", "\"id\": 1e400}");
	expect(fd, "{'id':[1, {}],'execute':'query-symbols','arguments':{'vm':'ok','symbol':'x'}}", "\"id\": [1, {}]}");
	expect(fd, "{'execute':'query-patches','arguments':{'vm':'ok'}}", "\"settled\": true}}\r\n");
	close(fd);
}

static void test_malformed_requests(void **state)
{
	static const char *const bad[] = {
		"{}", "[]", "7 ", "\"x\"", "null ", "{]", "{'execute':7}", "{'execute':{}}", "{'execute':'x','foo':1}",
		"{'execute':'query-vm','arguments':[]}", "{'execute':'query-vm','arguments':{}}",
		"{'execute':'query-vm','arguments':{'vm':7}}", "{'execute':'query-vm','arguments':{'vm':'ok','x':1}}",
		"{'exec-oob':'query-vms'}", "{'execute':'query-vm','arguments':{'vm':'nobody'}}",
		"{'execute':'job-cancel','arguments':{'id':'x'}}", "{'execute':'vm-add','arguments':{'name':'/','qmp':'/q'}}",
		"{'execute':'vm-add','arguments':{'name':'a','qmp':'q'}}", "{'execute':'qmp_capabilities'}",
		"{'execute':'patch-apply','arguments':{'vm':'nobody','text':'x','timeout':-1}}",
		"{'execute':'patch-apply','arguments':{'vm':'nobody','text':'x','timeout':600001}}",
	};
	int fd = daemon_program_raw(&program, false);
	char line[4096];

	(void)state;
	expect(fd, "{'execute':'qmp_capabilities'}", "return");
	for (int round = 0; round < 10; round++)
		for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
			expect(fd, bad[i], "{\"error\": {");
	raw_send(fd, "{'execute':'query-ver\xff"); /* resets the parser, with an answer */
	assert_true(raw_line(fd, line, sizeof(line)) > 0);
	assert_non_null(strstr(line, "\"GenericError\""));
	expect(fd, "{'execute':'query-vms'}", "{\"return\": []}");
	close(fd);
}

static void test_read_only_socket(void **state)
{
	struct qmp_client *rw = daemon_program_connect(&program, false), *ro = daemon_program_connect(&program, true);
	struct stat st;
	char path[128];
	struct err e;

	(void)state;
	json_decref(add_vm(rw, "ok"));
	call_fails(ro, "vm-remove", json_pack("{s:s}", "vm", "ok"), ERR_REFUSED, &e);
	assert_string_equal(e.rule, "read-only");
	call_fails(ro, "patch-apply", json_pack("{s:s, s:s}", "vm", "ok", "text", "x"), ERR_REFUSED, &e);
	call_fails(ro, "vm-add", NULL, ERR_REFUSED, &e); /* before its arguments are looked at */
	call_fails(ro, "patch-check", json_pack("{s:s, s:s}", "vm", "ok", "text", "x"), ERR_REFUSED, &e); /* may pause the guest */
	call_fails(ro, "vm-probe", json_pack("{s:s}", "vm", "ok"), ERR_REFUSED, &e);
	json_t *vms = call_ok(ro, "query-vms", NULL), *all = call_ok(rw, "query-commands", NULL),
	       *some = call_ok(ro, "query-commands", NULL);
	assert_int_equal(json_array_size(vms), 1);
	assert_true(json_array_size(some) > 5);
	assert_true(json_array_size(some) < json_array_size(all));
	json_decref(vms);
	json_decref(all);
	json_decref(some);
	daemon_program_path(&program, "run/control.sock", path, sizeof(path));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	daemon_program_path(&program, "run/control-ro.sock", path, sizeof(path));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0666);
	qmp_client_free(rw);
	qmp_client_free(ro);
}

static void test_crowd(void **state)
{
	int fds[SERVER_CLIENTS_MAX];
	char line[1024], path[128];

	(void)state;
	for (int i = 0; i < SERVER_CLIENTS_MAX; i++)
		fds[i] = daemon_program_raw(&program, i < 20);
	daemon_program_path(&program, "run/control.sock", path, sizeof(path));
	int extra = unix_connect(path, DAEMON_WAIT_US);
	assert_true(raw_line(extra, line, sizeof(line)) > 0);
	assert_non_null(strstr(line, "too many clients"));
	assert_int_equal(raw_line(extra, line, sizeof(line)), -1);
	close(extra);
	for (int i = 0; i < SERVER_CLIENTS_MAX; i++)
		raw_send(fds[i], "{'execute':'qmp_capabilities'}");
	for (int i = 0; i < SERVER_CLIENTS_MAX; i++)
		assert_true(raw_line(fds[i], line, sizeof(line)) > 0);
	close(fds[0]);
	poll(NULL, 0, 50);
	fds[0] = daemon_program_raw(&program, false); /* room again */
	for (int i = 0; i < SERVER_CLIENTS_MAX; i++)
		close(fds[i]);
}

static void test_strangers_leave_room(void **state)
{
	int fds[SERVER_CLIENTS_RO_MAX];
	char line[1024], path[128];

	(void)state;
	for (int i = 0; i < SERVER_CLIENTS_RO_MAX; i++)
		fds[i] = daemon_program_raw(&program, true);
	daemon_program_path(&program, "run/control-ro.sock", path, sizeof(path));
	int extra = unix_connect(path, DAEMON_WAIT_US);
	assert_true(raw_line(extra, line, sizeof(line)) > 0);
	assert_non_null(strstr(line, "too many clients"));
	close(extra);
	close(daemon_program_raw(&program, false));
	for (int i = 0; i < SERVER_CLIENTS_RO_MAX; i++)
		close(fds[i]);
}

/* Asks for much and reads nothing: held back, then dropped; the others notice nothing. */
static void test_client_that_does_not_read(void **state)
{
	static const char request[] = "{'execute':'query-qmp-schema'}";
	int fd = daemon_program_raw(&program, false);
	struct qmp_client *other = daemon_program_connect(&program, false);
	uint64_t begun = now_us();
	bool dropped = false;

	(void)state;
	raw_send(fd, "{'execute':'qmp_capabilities'}");
	while (!dropped && now_us() - begun < DAEMON_WAIT_US) {
		if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
			struct pollfd pfd = { .fd = fd, .events = 0 };
			dropped = poll(&pfd, 1, 20) > 0 && (pfd.revents & POLLHUP);
		}
		json_decref(call_ok(other, "query-vms", NULL));
	}
	assert_true(dropped);
	assert_true(now_us() - begun > 900000); /* not before the time-out */
	close(fd);
	qmp_client_free(other);
}

/* A client that sends everything, closes its writing side and then reads gets all answers. */
static void test_half_closed_client(void **state)
{
	int fd = daemon_program_raw(&program, false);
	char line[65536];

	(void)state;
	raw_send(fd, "{'execute':'qmp_capabilities'}{'execute':'vm-add','arguments':{'name':'ok','qmp':'/q'}}"
		     "{'execute':'patch-check','arguments':{'vm':'ok','text':'x'},'id':3}{'execute':'query-vms','id':4}");
	shutdown(fd, SHUT_WR);
	bool last = false;
	while (raw_line(fd, line, sizeof(line)) > 0)
		last = strstr(line, "\"id\": 4") && strstr(line, "\"name\": \"ok\"");
	assert_true(last);
	close(fd);
}

static void test_big_pipeline_is_answered_in_order(void **state)
{
	int fd = daemon_program_raw(&program, false);
	char request[64], want[32], line[65536];

	(void)state;
	raw_send(fd, "{'execute':'qmp_capabilities'}");
	assert_true(raw_line(fd, line, sizeof(line)) > 0);
	for (int i = 0; i < 200; i++) {
		snprintf(request, sizeof(request), "{'execute':'query-commands','id':%d}", i);
		raw_send(fd, request);
	}
	for (int i = 0; i < 200; i++) {
		assert_true(raw_line(fd, line, sizeof(line)) > 0);
		snprintf(want, sizeof(want), "\"id\": %d}", i);
		assert_non_null(strstr(line, want));
	}
	close(fd);
}

static long context_switches(pid_t pid)
{
	char path[64], line[128];
	long sum = 0, n;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	FILE *f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (strstr(line, "ctxt_switches:") && sscanf(strchr(line, ':') + 1, "%ld", &n) == 1)
			sum += n;
	fclose(f);
	return sum;
}

static void test_idle_costs_nothing(void **state)
{
	struct qmp_client *c = daemon_program_connect(&program, false);
	int fd = daemon_program_raw(&program, true);

	(void)state;
	json_decref(add_vm(c, "ok"));
	poll(NULL, 0, 100);
	long before = context_switches(program.pid);
	poll(NULL, 0, 500);
	assert_int_equal(context_switches(program.pid), before);
	close(fd);
	qmp_client_free(c);
}

static void test_one_daemon_per_folder(void **state)
{
	char out[1024];

	(void)state;
	assert_int_equal(daemon_program_run(&program, NULL, out, sizeof(out)), 1);
	assert_non_null(strstr(out, "another vmpoked uses"));
	close(daemon_program_raw(&program, false)); /* the first one's sockets are still there */
}

static void test_sockets_of_a_killed_daemon_are_replaced(void **state)
{
	char path[128];

	(void)state;
	daemon_program_kill(&program);
	daemon_program_path(&program, "run/control.sock", path, sizeof(path));
	assert_int_equal(access(path, F_OK), 0);
	daemon_program_start(&program);
	close(daemon_program_raw(&program, false));
	assert_int_equal(daemon_program_stop(&program), 0);
	assert_int_equal(access(path, F_OK), -1);
	daemon_program_start(&program);
}

static void test_options(void **state)
{
	static const struct {
		const char *argv[3];
		int status;
		const char *text;
	} rows[] = {
		{ { "--foregr" }, 2, "cannot be abbreviated" },
		{ { "--state=/tmp" }, 2, "cannot be abbreviated" },
		{ { "--nonsense" }, 2, "nonsense" },
		{ { "word" }, 2, "unexpected argument 'word'" },
		{ { "--log-level", "loud" }, 2, "loud" },
		{ { "--client-timeout", "0" }, 2, "86400" },
		{ { "--client-timeout=-1" }, 2, "86400" },
		{ { "--state-dir" }, 2, "argument" },
		{ { "--runtime-dir", "/dev/null/x" }, 1, "/dev/null/x" },
		{ { "--help" }, 0, "--state-dir DIR" },
		{ { "--version" }, 0, "vmpoked " },
	};
	char out[4096];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int status = daemon_program_run(&program, rows[i].argv, out, sizeof(out));
		if (status != rows[i].status || !strstr(out, rows[i].text))
			fail_msg("%s: exit %d: %s", rows[i].argv[0], status, out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_negotiation, start, stop),
		cmocka_unit_test_setup_teardown(test_ids_come_back_verbatim, start, stop),
		cmocka_unit_test_setup_teardown(test_ids_of_relayed_requests, start, stop),
		cmocka_unit_test_setup_teardown(test_malformed_requests, start, stop),
		cmocka_unit_test_setup_teardown(test_read_only_socket, start, stop),
		cmocka_unit_test_setup_teardown(test_crowd, start, stop),
		cmocka_unit_test_setup_teardown(test_strangers_leave_room, start, stop),
		cmocka_unit_test_setup_teardown(test_client_that_does_not_read, start_impatient, stop),
		cmocka_unit_test_setup_teardown(test_half_closed_client, start, stop),
		cmocka_unit_test_setup_teardown(test_big_pipeline_is_answered_in_order, start, stop),
		cmocka_unit_test_setup_teardown(test_idle_costs_nothing, start, stop),
		cmocka_unit_test_setup_teardown(test_one_daemon_per_folder, start, stop),
		cmocka_unit_test_setup_teardown(test_sockets_of_a_killed_daemon_are_replaced, start, stop),
		cmocka_unit_test_setup_teardown(test_options, start, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
