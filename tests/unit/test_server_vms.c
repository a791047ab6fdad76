// SPDX-License-Identifier: GPL-2.0-or-later
/* vmpoked towards VMs and workers: registering, relaying, jobs, and workers that misbehave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/fake/daemon_program.h"

#define SLOW_US 990000u /* what "slow" takes, see tests/fake/fake-worker.c */

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

static json_t *vm_args(const char *vm)
{
	return json_pack("{s:s}", "vm", vm);
}

static json_t *patch_args(const char *vm, const char *job_id)
{
	json_t *o = json_pack("{s:s, s:s}", "vm", vm, "text", "vmpoke: 1");

	if (job_id)
		json_object_set_new(o, "job-id", json_string(job_id));
	return o;
}

static bool registered(const char *vm)
{
	char name[96], path[192];

	snprintf(name, sizeof(name), "state/vms/%s.json", vm);
	daemon_program_path(&program, name, path, sizeof(path));
	return access(path, F_OK) == 0;
}

static void restart(void)
{
	qmp_client_free(TAKE_PTR(client));
	assert_int_equal(daemon_program_stop(&program), 0);
	daemon_program_start(&program);
	client = daemon_program_connect(&program, false);
}

#define UUID "4dea22b3-1d52-d8f3-2516-782e98ab3fa0"

/* A VM that a program has registered: named by its UUID too, and taken out by that program or an operator. */
static void test_owned_by_a_program(void **state)
{
	json_t *args = json_pack("{s:s, s:s, s:s, s:s}", "name", "ok", "qmp", "/q", "uuid", UUID, "origin", "libvirt:a");
	struct err e;

	(void)state;
	json_decref(call_ok(client, "vm-add", json_incref(args)));
	json_t *again = call_ok(client, "vm-add", json_incref(args));
	assert_true(json_is_false(json_object_get(again, "changed")));
	json_decref(again);
	/* Of another program, or the same guest a second time. */
	json_object_set_new(args, "origin", json_string("libvirt:b"));
	call_fails(client, "vm-add", json_incref(args), ERR_REFUSED, &e);
	assert_non_null(strstr(e.text, "libvirt:a"));
	json_object_set_new(args, "name", json_string("ok2"));
	json_object_set_new(args, "qmp", json_string("/q2"));
	call_fails(client, "vm-add", args, ERR_REFUSED, &e);
	assert_non_null(strstr(e.text, UUID));
	/* The worker is told the name: it knows no other. */
	json_t *vm = call_ok(client, "query-vm", json_pack("{s:s}", "vm", "4DEA22B3-1D52-D8F3-2516-782E98AB3FA0"));
	assert_string_equal(get_str(vm, "name"), "ok");
	assert_string_equal(get_str(vm, "uuid"), UUID);
	json_decref(vm);
	call_fails(client, "vm-remove", json_pack("{s:s, s:s}", "vm", UUID, "origin", "libvirt:b"), ERR_REFUSED, &e);
	restart();
	vm = call_ok(client, "query-vm", vm_args("ok"));
	assert_string_equal(get_str(vm, "origin"), "libvirt:a");
	json_decref(vm);
	json_decref(call_ok(client, "vm-remove", json_pack("{s:s, s:s, s:b}", "vm", UUID, "origin", "libvirt:a", "keep-patches", 1)));
	assert_false(registered("ok"));
}

/* What an operator has added is no program's to take over or out. */
static void test_not_taken_from_an_operator(void **state)
{
	struct err e;

	(void)state;
	json_decref(add_vm(client, "ok"));
	json_t *vm = call_ok(client, "query-vm", vm_args("ok"));
	json_t *args = json_pack("{s:s, s:s, s:s, s:s}", "name", "ok", "qmp", get_str(vm, "qmp"), "uuid", UUID, "origin", "libvirt:a");
	assert_null(json_object_get(vm, "origin"));
	json_decref(vm);
	call_fails(client, "vm-add", args, ERR_REFUSED, &e);
	assert_non_null(strstr(e.text, "an operator"));
	call_fails(client, "vm-remove", json_pack("{s:s, s:s, s:b}", "vm", "ok", "origin", "libvirt:a", "keep-patches", 1), ERR_REFUSED, &e);
	assert_string_equal(e.rule, "origin");
	assert_true(registered("ok"));
}

static void test_add_and_again(void **state)
{
	struct err e;

	(void)state;
	json_t *vm = add_vm(client, "ok");
	assert_string_equal(get_str(vm, "name"), "ok");
	assert_string_equal(get_str(vm, "qmp"), "/nowhere/ok.qmp");
	assert_string_equal(get_str(vm, "state"), "running");
	assert_string_equal(get_str(vm, "accel"), "fake");
	assert_true(json_is_true(json_object_get(vm, "changed")));
	json_decref(vm);
	json_decref(wait_event(client, "VM_ADDED", "ok"));
	json_decref(wait_event(client, "WORKER_READY", "ok"));
	vm = add_vm(client, "ok");
	assert_true(json_is_false(json_object_get(vm, "changed")));
	json_decref(vm);
	call_fails(client, "vm-add", json_pack("{s:s, s:s}", "name", "ok", "qmp", "/other"), ERR_REFUSED, &e);
	assert_string_equal(e.rule, "exists");
	call_fails(client, "vm-add", json_pack("{s:s, s:s}", "name", "ok2", "qmp", "/nowhere/ok.qmp"), ERR_REFUSED, &e);
	assert_string_equal(e.rule, "exists");
	call_fails(client, "vm-add", json_pack("{s:s, s:s}", "name", "../x", "qmp", "/q"), ERR_USAGE, &e);
	call_fails(client, "vm-add", json_pack("{s:s, s:s}", "name", "x", "qmp", "q"), ERR_USAGE, &e);
	assert_true(registered("ok"));
}

static void test_add_unreachable(void **state)
{
	struct err e;

	(void)state;
	call_fails(client, "vm-add", json_pack("{s:s, s:s}", "name", "unreachable", "qmp", "/q"), ERR_INACTIVE, &e);
	assert_string_equal(e.vm, "unreachable");
	call_fails(client, "vm-add", json_pack("{s:s, s:s}", "name", "crashes", "qmp", "/q"), ERR_INACTIVE, &e);
	assert_non_null(strstr(e.text, "exit status 8"));
	call_fails(client, "query-vm", vm_args("crashes"), ERR_NOT_FOUND, &e);
	json_t *vms = call_ok(client, "query-vms", NULL);
	assert_int_equal(json_array_size(vms), 0);
	json_decref(vms);
	assert_false(registered("unreachable"));
	assert_false(registered("crashes"));
}

static void test_unknown_vm_names_the_known(void **state)
{
	struct err e;

	(void)state;
	call_fails(client, "query-vm", vm_args("x"), ERR_NOT_FOUND, &e);
	assert_string_equal(e.text, "no VM named 'x' (known: none)");
	json_decref(add_vm(client, "ok-b"));
	json_decref(add_vm(client, "ok-a"));
	call_fails(client, "patch-apply", patch_args("x", NULL), ERR_NOT_FOUND, &e);
	assert_string_equal(e.text, "no VM named 'x' (known: ok-a, ok-b)");
	call_fails(client, "query-patches", vm_args("okb"), ERR_NOT_FOUND, &e);
	assert_string_equal(e.text, "no VM named 'okb'; did you mean 'ok-b'? (known: ok-a, ok-b)");
}

static void test_remove(void **state)
{
	struct err e;

	(void)state;
	json_decref(add_vm(client, "patched"));
	call_fails(client, "vm-remove", vm_args("patched"), ERR_REFUSED, &e);
	assert_string_equal(e.rule, "patched");
	assert_true(e.override[0]);
	assert_true(registered("patched"));
	json_t *o = call_ok(client, "vm-remove", json_pack("{s:s, s:b}", "vm", "patched", "keep-patches", 1));
	assert_true(json_is_true(json_object_get(o, "changed")));
	json_decref(o);
	json_decref(wait_event(client, "VM_REMOVED", "patched"));
	assert_false(registered("patched"));
	json_decref(add_vm(client, "ok"));
	json_decref(call_ok(client, "vm-remove", vm_args("ok")));
	json_decref(add_vm(client, "ok")); /* and it can come back at once */
	call_fails(client, "vm-remove", vm_args("patched"), ERR_NOT_FOUND, &e);
}

/* What is not text in the arguments has to arrive as well, untouched. */
static void test_arguments_are_passed_on(void **state)
{
	json_t *args = json_pack("{s:s, s:s, s:s, s:i}", "vm", "ok", "text", "a: \"\xc3\xa9\"\n\t\\", "filename", "f.yaml",
				 "timeout", 1234);

	(void)state;
	json_decref(add_vm(client, "ok"));
	json_t *o = call_ok(client, "patch-check", json_incref(args)), *echo = json_object_get(o, "echo");
	assert_true(get_str(echo, "job-id")[0]); /* ours, so that job-cancel can name it */
	json_object_del(echo, "job-id");
	assert_true(json_equal(echo, args));
	json_decref(o);
	json_decref(args);
}

static void test_other_clients_are_served_meanwhile(void **state)
{
	struct qmp_client *other = daemon_program_connect(&program, false);
	uint64_t serial, begun = now_us();
	struct err e;

	(void)state;
	json_decref(add_vm(client, "slow"));
	json_t *args = patch_args("slow", NULL);
	assert_int_equal(qmp_client_send(client, "patch-apply", args, &serial, &e), 0);
	json_decref(args);
	json_decref(wait_event(other, "JOB_STATUS_CHANGE", "slow"));
	json_t *jobs = call_ok(other, "query-jobs", NULL), *job = json_array_get(jobs, 0);
	assert_string_equal(get_str(job, "type"), "patch-apply");
	assert_string_equal(get_str(job, "status"), "running");
	json_decref(jobs);
	json_decref(call_ok(other, "query-vms", NULL));
	json_t *o = call_ok(other, "query-vm", vm_args("slow")); /* in line behind the patch */
	assert_true(now_us() - begun >= SLOW_US);
	assert_int_equal(get_int(o, "patches"), 1);
	json_decref(o);
	jobs = call_ok(other, "query-jobs", NULL);
	assert_int_equal(json_array_size(jobs), 0);
	json_decref(jobs);
	qmp_client_free(other);
}

static void test_work_outlives_its_client(void **state)
{
	struct qmp_client *other = daemon_program_connect(&program, false);
	uint64_t serial;
	struct err e;

	(void)state;
	json_decref(add_vm(client, "slow"));
	json_t *args = patch_args("slow", NULL);
	assert_int_equal(qmp_client_send(other, "patch-apply", args, &serial, &e), 0);
	json_decref(args);
	json_decref(wait_event(client, "JOB_STATUS_CHANGE", "slow"));
	qmp_client_free(other);
	json_decref(wait_event(client, "PATCH_STATUS_CHANGE", "slow"));
	json_t *o = call_ok(client, "query-vm", vm_args("slow"));
	assert_int_equal(get_int(o, "patches"), 1);
	json_decref(o);
}

static void wait_status(const char *vm, const char *id, const char *status)
{
	for (;;) {
		json_t *o = wait_event(client, "JOB_STATUS_CHANGE", vm);
		bool hit = strcmp(get_str(o, "id"), id) == 0 && strcmp(get_str(o, "status"), status) == 0;
		json_decref(o);
		if (hit)
			return;
	}
}

static void test_jobs_with_ids(void **state)
{
	struct err e;

	(void)state;
	json_decref(add_vm(client, "slow"));
	json_t *o = call_ok(client, "patch-apply", patch_args("slow", "one"));
	assert_int_equal(json_object_size(o), 0);
	json_decref(o);
	call_fails(client, "patch-apply", patch_args("slow", "one"), ERR_REFUSED, &e);
	assert_string_equal(e.rule, "exists");
	json_decref(call_ok(client, "patch-apply", patch_args("slow", "two")));
	json_decref(call_ok(client, "patch-apply", patch_args("slow", "three")));
	json_decref(call_ok(client, "job-cancel", json_pack("{s:s}", "id", "three"))); /* not started yet */
	wait_status("slow", "three", "concluded");
	wait_status("slow", "one", "concluded");
	json_decref(call_ok(client, "job-cancel", json_pack("{s:s}", "id", "two"))); /* running */
	wait_status("slow", "two", "aborting");
	wait_status("slow", "two", "concluded");
	json_t *jobs = call_ok(client, "query-jobs", NULL);
	assert_int_equal(json_array_size(jobs), 3);
	assert_string_equal(get_str(json_object_get(json_array_get(jobs, 0), "result"), "state"), "applied");
	assert_string_equal(get_str(json_array_get(jobs, 1), "error"), "cancelled; nothing was changed");
	assert_non_null(strstr(get_str(json_array_get(jobs, 2), "error"), "before it was started"));
	json_decref(jobs);
	call_fails(client, "job-cancel", json_pack("{s:s}", "id", "one"), ERR_REFUSED, &e);
	json_decref(call_ok(client, "job-dismiss", json_pack("{s:s}", "id", "one")));
	call_fails(client, "job-dismiss", json_pack("{s:s}", "id", "one"), ERR_NOT_FOUND, &e);
	o = call_ok(client, "query-vm", vm_args("slow"));
	assert_int_equal(get_int(o, "patches"), 1); /* only the first was carried out */
	json_decref(o);
}

static json_t *reply_to(uint64_t serial)
{
	uint64_t end = now_us() + 10000000, got = 0;
	struct err e;

	while (now_us() < end) {
		struct pollfd p = { .fd = qmp_client_fd(client), .events = POLLIN };
		json_t *o = NULL;
		int r = qmp_client_process(client, &o, &got, &e);
		assert_true(r >= 0);
		if (r > 0 && got == serial && !json_object_get(o, "event"))
			return o;
		json_decref(o);
		if (r == 0)
			poll(&p, 1, 100);
	}
	fail_msg("no reply");
	return NULL;
}

static void test_cancel_of_a_job_without_id(void **state)
{
	uint64_t serial;
	struct qmp_client *other = daemon_program_connect(&program, false);
	struct err e;

	(void)state;
	json_decref(add_vm(other, "slow"));
	json_t *args = patch_args("slow", NULL);
	assert_int_equal(qmp_client_send(client, "patch-apply", args, &serial, &e), 0);
	json_decref(args);
	json_t *o = wait_event(other, "JOB_STATUS_CHANGE", "slow");
	json_decref(call_ok(other, "job-cancel", json_pack("{s:s}", "id", get_str(o, "id"))));
	json_decref(o);
	o = call_ok(other, "query-vm", vm_args("slow"));
	assert_int_equal(get_int(o, "patches"), 0);
	json_decref(o);
	o = reply_to(serial); /* who sent it is told */
	assert_string_equal(get_str(json_object_get(o, "error"), "desc"), "cancelled; nothing was changed");
	json_decref(o);
	qmp_client_free(other);
}

static void test_worker_dies_at_work(void **state)
{
	struct err e;

	(void)state;
	json_decref(add_vm(client, "dies"));
	json_decref(add_vm(client, "ok"));
	call_fails(client, "patch-apply", patch_args("dies", NULL), ERR_FAILED, &e);
	assert_string_equal(e.text, "the worker ended while patch-apply was running; state is recovered from the journal");
	assert_string_equal(e.vm, "dies");
	json_t *o = wait_event(client, "WORKER_DIED", "dies");
	assert_int_equal(get_int(o, "restart_ms"), 0);
	json_decref(o);
	json_decref(call_ok(client, "patch-check", patch_args("dies", NULL))); /* waits for the next worker */
	json_decref(call_ok(client, "patch-check", patch_args("ok", NULL)));
}

/* Each of these breaks a rule at patch-check: that worker is replaced, all else goes on. */
static void test_workers_that_break_rules(void **state)
{
	static const char *const names[] = { "garbage", "huge", "flood", "alien", "forger", "liar" };
	struct err e;

	(void)state;
	json_decref(add_vm(client, "ok"));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		json_decref(add_vm(client, names[i]));
		call_fails(client, "patch-check", patch_args(names[i], NULL), ERR_FAILED, &e);
		assert_non_null(strstr(e.text, "the worker ended while patch-check was running"));
		json_decref(wait_event(client, "WORKER_DIED", names[i]));
		json_decref(wait_event(client, "WORKER_READY", names[i]));
		json_decref(call_ok(client, "query-patches", vm_args(names[i])));
		json_decref(call_ok(client, "query-patches", vm_args("ok")));
	}
	json_t *vms = call_ok(client, "query-vms", NULL);
	assert_int_equal(json_array_size(vms), ARRAY_SIZE(names) + 1);
	json_decref(vms);
}

static void test_what_a_worker_says_of_its_vm_is_checked(void **state)
{
	(void)state;
	json_decref(add_vm(client, "strange"));
	json_t *o = call_ok(client, "query-vm", vm_args("strange"));
	assert_string_equal(get_str(o, "name"), "strange");
	assert_string_equal(get_str(o, "qmp"), "/nowhere/strange.qmp");
	assert_string_equal(get_str(o, "state"), "broken");
	assert_string_equal(get_str(o, "release"), "6.1.0-fake");
	assert_null(json_object_get(o, "vcpus"));
	assert_null(json_object_get(o, "secret"));
	assert_int_equal(get_int(o, "patches"), 0);
	json_decref(o);
}

static void write_state(const char *name, const char *text)
{
	char path[192];

	daemon_program_path(&program, name, path, sizeof(path));
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write_full(fd, text, strlen(text)), 0);
	close(fd);
}

/* A worker that does not read cannot hold up the daemon, and goes when it is told to. */
static void test_deaf_worker(void **state)
{
	char *text = malloc((200u << 10) + 1), id[16];

	(void)state;
	assert_non_null(text);
	memset(text, 'x', 200u << 10);
	text[200u << 10] = '\0';
	write_state("state/vms/deaf.json", "{\"name\": \"deaf\", \"qmp\": \"/d\"}");
	restart();
	for (int i = 0; i < 8; i++) {
		snprintf(id, sizeof(id), "j%d", i);
		json_decref(call_ok(client, "patch-check",
				    json_pack("{s:s, s:s, s:s}", "vm", "deaf", "text", text, "job-id", id)));
	}
	free(text);
	json_t *jobs = call_ok(client, "query-jobs", NULL);
	assert_int_equal(json_array_size(jobs), 8);
	json_decref(jobs);
	json_decref(call_ok(client, "vm-remove", json_pack("{s:s, s:b}", "vm", "deaf", "keep-patches", 1)));
	jobs = call_ok(client, "query-jobs", NULL);
	assert_string_equal(get_str(json_array_get(jobs, 0), "status"), "concluded");
	json_decref(jobs);
}

static void test_registry_survives_restarts(void **state)
{
	(void)state;
	json_decref(add_vm(client, "ok"));
	json_decref(call_ok(client, "vm-add", json_pack("{s:s, s:s, s:s}", "name", "ok2", "qmp", "/q", "gdb", "/g")));
	write_state("state/vms/torn.json", "{\"name\": \"to");
	write_state("state/vms/unreachable.json", "{\"name\": \"unreachable\", \"qmp\": \"/u\"}");
	for (int round = 0; round < 2; round++) {
		if (round == 0) {
			restart();
		} else { /* the same after a SIGKILL */
			qmp_client_free(TAKE_PTR(client));
			daemon_program_kill(&program);
			daemon_program_start(&program);
			client = daemon_program_connect(&program, false);
		}
		json_t *vms = call_ok(client, "query-vms", NULL);
		assert_int_equal(json_array_size(vms), 3);
		assert_string_equal(get_str(json_array_get(vms, 1), "name"), "ok2");
		assert_string_equal(get_str(json_array_get(vms, 1), "gdb"), "/g");
		json_decref(vms);
		json_decref(call_ok(client, "query-patches", vm_args("ok2")));
		json_decref(call_ok(client, "query-patches", vm_args("unreachable")));
		json_t *o = call_ok(client, "query-vm", vm_args("unreachable"));
		assert_string_equal(get_str(o, "state"), "unreachable");
		json_decref(o);
	}
}

static void test_back_off(void **state)
{
	static const int restart_ms[] = { 1000, 2000, 4000 };
	struct err e;

	(void)state;
	write_state("state/vms/crashes.json", "{\"name\": \"crashes\", \"qmp\": \"/c\"}");
	json_decref(add_vm(client, "ok"));
	restart();
	int seen = 0;
	uint64_t begun = now_us();
	while (seen < 3) { /* the first death, with 0, may have come before we could listen */
		json_t *o = wait_event(client, "WORKER_DIED", "crashes");
		json_int_t ms = get_int(o, "restart_ms");
		json_decref(o);
		if (ms == 0 && seen == 0)
			continue;
		assert_int_equal(ms, restart_ms[seen]);
		seen++;
		call_fails(client, "patch-check", patch_args("crashes", NULL), ERR_INACTIVE, &e);
		json_decref(call_ok(client, "patch-check", patch_args("ok", NULL)));
	}
	assert_true(now_us() - begun >= 2900000);
	json_t *o = call_ok(client, "query-vm", vm_args("crashes")); /* answered all the same */
	assert_string_equal(get_str(o, "state"), "starting");
	json_decref(o);
}

static void test_end_waits_for_workers(void **state)
{
	(void)state;
	json_decref(add_vm(client, "lingers"));
	uint64_t begun = now_us();
	restart();
	assert_true(now_us() - begun >= 290000);
	assert_true(now_us() - begun < 3000000);
}

static json_t *count_args(const char *job_id)
{
	json_t *o = json_pack("{s:s, s:s}", "vm", "ok", "at", "do_idle");

	if (job_id)
		json_object_set_new(o, "job-id", json_string(job_id));
	return o;
}

static void wait_no_jobs(void)
{
	uint64_t end = now_us() + DAEMON_WAIT_US;
	size_t n = 1;

	while (n > 0 && now_us() < end) {
		json_t *jobs = call_ok(client, "query-jobs", NULL);
		n = json_array_size(jobs);
		json_decref(jobs);
	}
	assert_int_equal(n, 0);
}

/* Nobody wants to know the hits of a client that left; of a job with a name somebody does. */
static void test_count_ends_with_its_client(void **state)
{
	static const char request[] = "{\"execute\": \"vm-count\", \"arguments\": {\"vm\": \"ok\", \"at\": \"do_idle\"}}\r\n";
	char line[4096];

	(void)state;
	json_decref(add_vm(client, "ok"));
	int fd = daemon_program_raw(&program, false);
	raw_send(fd, "{\"execute\": \"qmp_capabilities\"}\r\n");
	assert_true(raw_line(fd, line, sizeof(line)) > 0);
	raw_send(fd, request);
	json_decref(wait_event(client, "COUNT_PROGRESS", "ok"));
	json_decref(wait_event(client, "JOB_PROGRESS", "ok"));
	close(fd);
	wait_no_jobs();
	json_decref(call_ok(client, "vm-count", count_args("mine")));
	json_decref(wait_event(client, "COUNT_PROGRESS", "ok"));
	json_decref(call_ok(client, "job-cancel", json_pack("{s:s}", "id", "mine")));
	json_t *status = NULL;
	do {
		json_decref(status);
		status = wait_event(client, "JOB_STATUS_CHANGE", "ok");
	} while (strcmp(get_str(status, "status"), "concluded") != 0);
	json_decref(status);
	json_t *jobs = call_ok(client, "query-jobs", NULL);
	assert_int_equal(get_int(json_object_get(json_array_get(jobs, 0), "result"), "hits"), 2);
	json_decref(jobs);
	json_decref(call_ok(client, "job-dismiss", json_pack("{s:s}", "id", "mine")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_add_and_again, start, stop),
		cmocka_unit_test_setup_teardown(test_add_unreachable, start, stop),
		cmocka_unit_test_setup_teardown(test_unknown_vm_names_the_known, start, stop),
		cmocka_unit_test_setup_teardown(test_remove, start, stop),
		cmocka_unit_test_setup_teardown(test_arguments_are_passed_on, start, stop),
		cmocka_unit_test_setup_teardown(test_other_clients_are_served_meanwhile, start, stop),
		cmocka_unit_test_setup_teardown(test_work_outlives_its_client, start, stop),
		cmocka_unit_test_setup_teardown(test_count_ends_with_its_client, start, stop),
		cmocka_unit_test_setup_teardown(test_jobs_with_ids, start, stop),
		cmocka_unit_test_setup_teardown(test_cancel_of_a_job_without_id, start, stop),
		cmocka_unit_test_setup_teardown(test_worker_dies_at_work, start, stop),
		cmocka_unit_test_setup_teardown(test_workers_that_break_rules, start, stop),
		cmocka_unit_test_setup_teardown(test_what_a_worker_says_of_its_vm_is_checked, start, stop),
		cmocka_unit_test_setup_teardown(test_deaf_worker, start, stop),
		cmocka_unit_test_setup_teardown(test_owned_by_a_program, start, stop),
		cmocka_unit_test_setup_teardown(test_not_taken_from_an_operator, start, stop),
		cmocka_unit_test_setup_teardown(test_registry_survives_restarts, start, stop),
		cmocka_unit_test_setup_teardown(test_back_off, start, stop),
		cmocka_unit_test_setup_teardown(test_end_waits_for_workers, start, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
