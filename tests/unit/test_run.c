// SPDX-License-Identifier: GPL-2.0-or-later
/* vmpoked and machines of its own, with fake workers: start, next daemon, ends, refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/fake/daemon_program.h"

static struct daemon_program program;
static struct qmp_client *client;

static int start(void **state)
{
	(void)state;
	daemon_program_init(&program);
	daemon_program_start(&program);
	client = daemon_program_connect(&program, false);
	return 0;
}

static json_t *vm_args(const char *vm)
{
	return json_pack("{s:s}", "vm", vm);
}

/* Machines outlive the daemon, and must not outlive the test. */
static int stop(void **state)
{
	json_t *vms = call_ok(client, "query-vms", NULL), *vm;
	size_t i;

	(void)state;
	json_array_foreach(vms, i, vm)
		if (strcmp(get_str(vm, "kind"), "machine") == 0)
			json_decref(call_ok(client, "vm-destroy", vm_args(get_str(vm, "name"))));
	json_decref(vms);
	qmp_client_free(TAKE_PTR(client));
	int status = daemon_program_stop(&program);
	daemon_program_clean(&program);
	assert_int_equal(status, 0);
	return 0;
}

static void next_daemon(bool killed)
{
	qmp_client_free(TAKE_PTR(client));
	if (killed)
		daemon_program_kill(&program);
	else
		assert_int_equal(daemon_program_stop(&program), 0);
	daemon_program_start(&program);
	client = daemon_program_connect(&program, false);
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

static void pass_kernel(void)
{
	int fd = file_make("kernel", O_RDWR | O_TRUNC);

	assert_int_equal(write(fd, "image\n", 6), 6);
	pass_fd(fd, "kernel");
}

static json_t *run_args(const char *name)
{
	return json_pack("{s:s, s:s, s:i, s:I, s:s}", "name", name, "kernel", "fd:kernel", "vcpus", 3, "memory",
			 (json_int_t)64 << 20, "append", "--quiet x=\"y z\"");
}

static pid_t run(const char *name)
{
	pass_kernel();
	json_t *vm = call_ok(client, "vm-run", run_args(name));
	pid_t pid = (pid_t)get_int(vm, "pid");

	assert_true(pid > 0);
	assert_string_equal(get_str(vm, "state"), "running");
	json_decref(vm);
	return pid;
}

static void expect_vm(const char *name, const char *state, const char *reason)
{
	json_t *vm = call_ok(client, "query-vm", vm_args(name));

	assert_string_equal(get_str(vm, "state"), state);
	assert_string_equal(get_str(vm, "reason"), reason);
	json_decref(vm);
}

static bool has_state(const char *name, const char *state)
{
	json_t *vms = call_ok(client, "query-vms", NULL), *vm;
	bool hit = false;
	size_t i;

	json_array_foreach(vms, i, vm)
		hit |= strcmp(get_str(vm, "name"), name) == 0 && strcmp(get_str(vm, "state"), state) == 0;
	json_decref(vms);
	return hit;
}

/* By what is known: a worker that is just dying would have to be asked for more. */
static void wait_state(const char *name, const char *state)
{
	for (uint64_t end = now_us() + DAEMON_WAIT_US; !has_state(name, state); poll(NULL, 0, 5))
		if (now_us() > end)
			fail_msg("%s did not become %s", name, state);
}

static bool exists(const char *name)
{
	char path[192];

	daemon_program_path(&program, name, path, sizeof(path));
	return access(path, F_OK) == 0;
}

static void run_and_forget(void **state)
{
	char path[192], *text;
	size_t len;
	struct err e;

	(void)state;
	pass_kernel();
	pass_fd(file_make("console", O_WRONLY | O_APPEND), "console");
	json_t *args = run_args("m");
	json_object_set_new(args, "console", json_string("fd:console"));
	json_t *vm = call_ok(client, "vm-run", args);
	daemon_program_path(&program, "kernel", path, sizeof(path));
	assert_string_equal(get_str(vm, "kind"), "machine");
	assert_string_equal(get_str(vm, "kernel"), path);
	assert_string_equal(get_str(vm, "release"), "image");
	assert_string_equal(get_str(vm, "version"), "--quiet x=\"y z\"");
	assert_int_equal(get_int(vm, "vcpus"), 3);
	assert_int_equal(get_int(vm, "memory"), 64 << 20);
	assert_null(json_object_get(vm, "qmp")); /* the worker's word does not count */
	json_decref(vm);
	json_decref(wait_event(client, "VM_ADDED", "m"));
	daemon_program_path(&program, "console", path, sizeof(path));
	assert_int_equal(read_file(path, 100, &text, &len), 0);
	assert_string_equal(text, "hello\n");
	free(text);

	pass_kernel();
	call_fails(client, "vm-run", run_args("m"), ERR_REFUSED, &e);
	assert_string_equal(e.rule, "exists");
	call_fails(client, "vm-remove", vm_args("m"), ERR_REFUSED, &e);
	assert_string_equal(e.rule, "running");
	call_fails(client, "vm-add", json_pack("{s:s, s:s}", "name", "m", "qmp", "/q"), ERR_REFUSED, &e);
	json_t *o = call_ok(client, "vm-destroy", vm_args("m"));
	assert_true(json_is_true(json_object_get(o, "changed")));
	json_decref(o);
	expect_vm("m", "shutdown", "destroyed");
	o = call_ok(client, "vm-destroy", vm_args("m"));
	assert_true(json_is_false(json_object_get(o, "changed")));
	json_decref(o);
	call_fails(client, "query-patches", vm_args("m"), ERR_INACTIVE, &e);
	assert_non_null(strstr(e.text, "destroyed"));
	json_decref(call_ok(client, "vm-remove", vm_args("m")));
	assert_false(exists("state/vms/m.json"));
	assert_false(exists("run/m.vm"));
}

#define KEY "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"

static json_t *args_with_key(mode_t mode)
{
	int fd = file_make("key", O_RDWR | O_TRUNC);
	json_t *args = run_args("m");

	assert_int_equal(write(fd, KEY, sizeof(KEY) - 1), sizeof(KEY) - 1);
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	pass_fd(fd, "key");
	pass_kernel();
	json_object_set_new(args, "agent-key", json_string("fd:key"));
	return args;
}

/* The key is kept until the machine is removed, or started again without one; in a file nobody else can read. */
static void key_of_its_agent(void **state)
{
	char path[192];
	struct stat st;
	struct err e;

	(void)state;
	call_fails(client, "vm-run", args_with_key(0644), ERR_USAGE, &e);
	assert_false(exists("state/keys/m.agent") || exists("state/vms/m.json"));
	json_decref(call_ok(client, "vm-run", args_with_key(0600)));
	daemon_program_path(&program, "state/keys/m.agent", path, sizeof(path));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	json_decref(call_ok(client, "vm-destroy", vm_args("m")));
	assert_true(exists("state/keys/m.agent"));
	run("m");
	assert_false(exists("state/keys/m.agent"));
	json_decref(call_ok(client, "vm-destroy", vm_args("m")));
	json_decref(call_ok(client, "vm-run", args_with_key(0600)));
	json_decref(call_ok(client, "vm-destroy", vm_args("m")));
	json_decref(call_ok(client, "vm-remove", vm_args("m")));
	assert_false(exists("state/keys/m.agent"));
}

static void start_that_fails(void **state)
{
	struct err e;

	(void)state;
	pass_kernel();
	call_fails(client, "vm-run", run_args("fails"), ERR_FAILED, &e);
	assert_string_equal(e.text, "/dev/kvm: Permission denied");
	assert_string_equal(e.rule, "no-kvm");
	pass_kernel();
	call_fails(client, "vm-run", run_args("crashes"), ERR_FAILED, &e);
	assert_non_null(strstr(e.text, "exit status 8"));
	json_t *vms = call_ok(client, "query-vms", NULL);
	assert_int_equal(json_array_size(vms), 0);
	json_decref(vms);
	assert_false(exists("state/vms/fails.json"));
	assert_false(exists("state/vms/crashes.json"));
}

static void found_by_the_next_daemon(void **state)
{
	(void)state;
	pid_t pid = run("m");
	json_decref(call_ok(client, "patch-apply", json_pack("{s:s, s:s}", "vm", "m", "text", "x")));
	for (int round = 0; round < 4; round++) {
		next_daemon(round % 2 == 0);
		wait_state("m", "running");
		json_t *vm = call_ok(client, "query-vm", vm_args("m"));
		assert_int_equal(get_int(vm, "pid"), pid);
		assert_int_equal(get_int(vm, "patches"), 1); /* the same worker: it is its counter */
		json_decref(vm);
	}
	kill(pid, SIGKILL);
	json_t *event = wait_event(client, "VM_STATE_CHANGE", "m");
	assert_string_equal(get_str(event, "state"), "shutdown");
	json_decref(event);
	expect_vm("m", "shutdown", "its worker ended and the machine with it");
	next_daemon(false);
	expect_vm("m", "shutdown", "its worker ended and the machine with it");
}

static void gone_unseen(void **state)
{
	(void)state;
	pid_t pid = run("m");
	qmp_client_free(TAKE_PTR(client));
	daemon_program_kill(&program);
	kill(pid, SIGKILL);
	poll(NULL, 0, 200);
	daemon_program_start(&program);
	client = daemon_program_connect(&program, false);
	expect_vm("m", "shutdown", "the machine ended while no vmpoked was there: nobody answers on its socket");
	assert_true(run("m") != pid);
}

static void worker_that_dies(void **state)
{
	struct err e;

	(void)state;
	pid_t pid = run("dies");
	call_fails(client, "patch-apply", json_pack("{s:s, s:s}", "vm", "dies", "text", "x"), ERR_FAILED, &e);
	assert_non_null(strstr(e.text, "while patch-apply was running"));
	wait_state("dies", "shutdown");
	expect_vm("dies", "shutdown", "its worker ended with exit status 9 and the machine with it");
	assert_true(run("dies") != pid);
	json_t *vm = call_ok(client, "query-vm", vm_args("dies"));
	kill((pid_t)get_int(vm, "pid"), SIGKILL);
	json_decref(vm);
	wait_state("dies", "shutdown");
	expect_vm("dies", "shutdown", "its worker was killed by signal 9 and the machine with it");
}

/* A machine is not killed for what its worker says: it is hung up on, and called again. */
static void worker_that_breaks_rules(void **state)
{
	static const char *const names[] = { "garbage", "flood", "alien", "forger", "liar" };
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		pid_t pid = run(names[i]);
		call_fails(client, "patch-check", json_pack("{s:s, s:s}", "vm", names[i], "text", "x"), ERR_FAILED, &e);
		wait_state(names[i], "running");
		json_t *vm = call_ok(client, "query-vm", vm_args(names[i]));
		assert_int_equal(get_int(vm, "pid"), pid);
		json_decref(vm);
	}
}

/* The worker stays to answer, and makes way for the next one. */
static void guest_that_powers_off(void **state)
{
	(void)state;
	pid_t pid = run("off");
	json_decref(call_ok(client, "patch-apply", json_pack("{s:s, s:s}", "vm", "off", "text", "x")));
	json_t *event = wait_event(client, "VM_STATE_CHANGE", "off");
	assert_string_equal(get_str(event, "reason"), "the guest powered off");
	json_decref(event);
	json_decref(call_ok(client, "query-patches", vm_args("off")));
	next_daemon(true);
	wait_state("off", "shutdown");
	json_decref(call_ok(client, "query-patches", vm_args("off")));
	pid_t next = run("off");
	assert_true(next != pid);
	json_decref(call_ok(client, "patch-apply", json_pack("{s:s, s:s}", "vm", "off", "text", "x")));
	wait_state("off", "shutdown");
	json_decref(call_ok(client, "vm-remove", vm_args("off")));
	assert_false(exists("state/vms/off.json"));
}

/* What was registered stays so, with the reason. */
static void failed_start_in_place_of_another(void **state)
{
	struct err e;

	(void)state;
	int fd = file_make("state/vms/fails.json", O_WRONLY);
	static const char text[] = "{\"name\": \"fails\", \"kind\": \"machine\", \"kernel\": \"/k\", \"vcpus\": 1, "
				   "\"memory\": 16777216, \"ended\": \"exit 0\"}";
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	next_daemon(false);
	expect_vm("fails", "shutdown", "exit 0");
	pass_kernel();
	call_fails(client, "vm-run", run_args("fails"), ERR_FAILED, &e);
	assert_string_equal(e.rule, "no-kvm");
	expect_vm("fails", "shutdown", "it did not start: /dev/kvm: Permission denied");
	next_daemon(true);
	expect_vm("fails", "shutdown", "it did not start: /dev/kvm: Permission denied");
}

static void run_fails(const char *member, const char *value, const char *what)
{
	json_t *args = run_args("m");
	struct err e;

	pass_kernel();
	json_object_set_new(args, member, json_string(value));
	call_fails(client, "vm-run", args, ERR_USAGE, &e);
	if (!strstr(e.text, what))
		fail_msg("%s instead of %s", e.text, what);
}

static void disk_fails(json_t *disks, const char *what)
{
	json_t *args = run_args("m");
	struct err e;

	pass_kernel();
	json_object_set_new(args, "disks", disks);
	call_fails(client, "vm-run", args, ERR_USAGE, &e);
	if (!strstr(e.text, what))
		fail_msg("%s instead of %s", e.text, what);
}

static void disks_are_checked(void **state)
{
	json_t *five = json_array();

	(void)state;
	disk_fails(json_pack("[i]", 3), "disks");
	disk_fails(json_pack("[s]", "fd:nothing"), "not found");
	disk_fails(json_pack("[s]", "relative,ro"), "absolute path");
	pass_fd(open("/dev/null", O_RDWR | O_CLOEXEC), "null");
	disk_fails(json_pack("[s]", "fd:null"), "is not a file or block device");
	pass_fd(file_make("w", O_WRONLY), "w");
	disk_fails(json_pack("[s]", "fd:w"), "not open for reading");
	for (int i = 0; i < 5; i++) {
		char name[8];

		snprintf(name, sizeof(name), "d%d", i);
		pass_fd(file_make(name, O_RDWR), name);
		json_array_append_new(five, json_sprintf("fd:%s", name));
	}
	disk_fails(five, "more than 4");
}

static void files_are_checked(void **state)
{
	char path[192];
	struct err e;

	(void)state;
	run_fails("kernel", "fd:nothing", "File descriptor named 'nothing' not found");
	run_fails("initrd", "fd:nothing", "not found");
	run_fails("kernel", "relative", "absolute path");
	pass_fd(file_make("w", O_WRONLY), "w");
	run_fails("initrd", "fd:w", "'initrd' is not open for reading");
	pass_fd(file_make("w", O_RDONLY), "r");
	run_fails("console", "fd:r", "'console' is not open for writing");
	pass_fd(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "folder");
	run_fails("kernel", "fd:folder", "'kernel' is not a file");
	pass_fd(open("/", O_PATH | O_CLOEXEC), "path");
	run_fails("kernel", "fd:path", "not open for reading");
	json_t *args = run_args("m");
	pass_kernel();
	json_object_set_new(args, "memory", json_integer((64 << 20) + 1));
	call_fails(client, "vm-run", args, ERR_USAGE, &e);
	/* our own user may name files */
	args = run_args("m");
	daemon_program_path(&program, "kernel", path, sizeof(path));
	json_object_set_new(args, "kernel", json_string(path));
	json_t *vm = call_ok(client, "vm-run", args);
	assert_string_equal(get_str(vm, "release"), "image");
	json_decref(vm);
	call_fails(client, "vm-destroy", vm_args("nobody"), ERR_NOT_FOUND, &e);
	json_decref(add_vm(client, "ok"));
	call_fails(client, "vm-destroy", vm_args("ok"), ERR_REFUSED, &e);
	assert_string_equal(e.rule, "not-ours");
	pass_kernel();
	call_fails(client, "vm-run", run_args("ok"), ERR_REFUSED, &e);
	assert_string_equal(e.rule, "exists");
}

/* Its registry file was deleted by hand: it is not overrun. */
static void machine_nobody_knows(void **state)
{
	char path[192];
	struct err e;

	(void)state;
	pid_t pid = run("m");
	qmp_client_free(TAKE_PTR(client));
	assert_int_equal(daemon_program_stop(&program), 0);
	daemon_program_path(&program, "state/vms/m.json", path, sizeof(path));
	assert_int_equal(unlink(path), 0);
	daemon_program_start(&program);
	client = daemon_program_connect(&program, false);
	pass_kernel();
	call_fails(client, "vm-run", run_args("m"), ERR_REFUSED, &e);
	assert_string_equal(e.rule, "exists");
	kill(pid, SIGKILL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(run_and_forget, start, stop),
		cmocka_unit_test_setup_teardown(key_of_its_agent, start, stop),
		cmocka_unit_test_setup_teardown(start_that_fails, start, stop),
		cmocka_unit_test_setup_teardown(found_by_the_next_daemon, start, stop),
		cmocka_unit_test_setup_teardown(gone_unseen, start, stop),
		cmocka_unit_test_setup_teardown(worker_that_dies, start, stop),
		cmocka_unit_test_setup_teardown(worker_that_breaks_rules, start, stop),
		cmocka_unit_test_setup_teardown(guest_that_powers_off, start, stop),
		cmocka_unit_test_setup_teardown(failed_start_in_place_of_another, start, stop),
		cmocka_unit_test_setup_teardown(files_are_checked, start, stop),
		cmocka_unit_test_setup_teardown(disks_are_checked, start, stop),
		cmocka_unit_test_setup_teardown(machine_nobody_knows, start, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
