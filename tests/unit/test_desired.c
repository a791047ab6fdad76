// SPDX-License-Identifier: GPL-2.0-or-later
/* Install rules in a running vmpoked: applied to what is added, again after a reset, not against whoever takes a patch out. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/util.h"
#include "tests/fake/daemon_program.h"

/* The only patch fake workers know is "p". */
#define TEXT "vmpoke: 1\nname: p\nsites:\n  - { at: f, kind: return, value: 1 }\n"

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

static void restart(void)
{
	qmp_client_free(TAKE_PTR(client));
	assert_int_equal(daemon_program_stop(&program), 0);
	daemon_program_start(&program);
	client = daemon_program_connect(&program, false);
}

static json_t *rule_args(const char *pattern)
{
	return json_pack("{s:s, s:s}", "pattern", pattern, "text", TEXT);
}

static json_t *vm_args(const char *vm)
{
	return json_pack("{s:s}", "vm", vm);
}

static json_t *desired(const char *vm)
{
	return call_ok(client, "query-desired", vm_args(vm));
}

static void expect_desired(const char *vm, const char *state, bool as_desired)
{
	json_t *o = desired(vm), *p = json_array_get(json_object_get(o, "desired"), 0);

	assert_string_equal(get_str(p, "state"), state);
	assert_int_equal(json_is_true(json_object_get(o, "as_desired")), as_desired);
	json_decref(o);
}

/* Waits until the rule has come to that in this VM; events may have come before anybody listened. */
static void expect_change(const char *vm, const char *state)
{
	char now[32] = "";

	for (uint64_t end = now_us() + 4 * DAEMON_WAIT_US; now_us() < end; poll(NULL, 0, 20)) {
		json_t *o = desired(vm);

		snprintf(now, sizeof(now), "%s", get_str(json_array_get(json_object_get(o, "desired"), 0), "state"));
		json_decref(o);
		if (strcmp(now, state) == 0)
			return;
	}
	fail_msg("the patch is '%s' in %s, not '%s'", now, vm, state);
}

/* A worker answers one after the other: when these are answered, what vmpoked has asked it of its own accord is as well. */
static void drain(const char *vm)
{
	for (int i = 0; i < 4; i++)
		json_decref(call_ok(client, "patch-verify", vm_args(vm)));
}

static void test_rules_of_nobody(void **state)
{
	struct err e;

	(void)state;
	json_t *o = call_ok(client, "rule-add", rule_args("web*"));
	assert_true(json_is_true(json_object_get(o, "changed")));
	assert_int_equal(get_int(o, "rule"), 1);
	assert_int_equal(get_int(o, "matches"), 0);
	json_decref(o);
	o = call_ok(client, "rule-add", rule_args("web*"));
	assert_true(json_is_false(json_object_get(o, "changed")));
	json_decref(o);
	call_fails(client, "rule-add", rule_args("a/b"), ERR_USAGE, &e);
	call_fails(client, "rule-add", json_pack("{s:s, s:s}", "pattern", "web1", "text", "x"), ERR_USAGE, &e);
	call_fails(client, "rule-remove", json_pack("{s:s}", "pattern", "web*"), ERR_USAGE, &e);
	call_fails(client, "query-desired", vm_args("nobody"), ERR_NOT_FOUND, &e);
	restart();
	o = call_ok(client, "query-rules", NULL);
	assert_int_equal(json_array_size(o), 1);
	assert_string_equal(get_str(json_array_get(o, 0), "patch"), "p");
	json_decref(o);
	o = call_ok(client, "rule-remove", json_pack("{s:s, s:s}", "pattern", "web*", "patch", "p"));
	assert_true(json_is_true(json_object_get(o, "changed")));
	json_decref(o);
	o = call_ok(client, "rule-remove", json_pack("{s:s, s:s}", "pattern", "web*", "patch", "p"));
	assert_true(json_is_false(json_object_get(o, "changed")));
	json_decref(o);
}

static void test_applied_when_added(void **state)
{
	(void)state;
	json_decref(call_ok(client, "rule-add", rule_args("ok*")));
	json_decref(add_vm(client, "other"));
	json_decref(add_vm(client, "ok1"));
	expect_change("ok1", "applied");
	expect_desired("ok1", "applied", true);
	json_t *o = call_ok(client, "query-patches", vm_args("ok1"));
	assert_int_equal(json_array_size(json_object_get(o, "patches")), 1);
	assert_true(json_is_true(json_object_get(o, "as_desired")));
	json_decref(o);
	o = desired("other");
	assert_int_equal(json_array_size(json_object_get(o, "desired")), 0);
	assert_true(json_is_true(json_object_get(o, "as_desired")) && json_is_true(json_object_get(o, "settled")));
	json_decref(o);
	o = call_ok(client, "query-rules", NULL);
	assert_string_equal(get_str(json_array_get(json_object_get(json_array_get(o, 0), "vms"), 0), "vm"), "ok1");
	json_decref(o);
}

static void test_rule_for_who_is_there(void **state)
{
	(void)state;
	json_decref(add_vm(client, "ok"));
	json_t *o = call_ok(client, "rule-add", rule_args("ok"));
	assert_int_equal(get_int(o, "matches"), 1);
	json_decref(o);
	expect_change("ok", "applied");
}

static void test_taken_out(void **state)
{
	(void)state;
	json_decref(call_ok(client, "rule-add", rule_args("ok")));
	json_decref(add_vm(client, "ok"));
	expect_change("ok", "applied");
	json_decref(call_ok(client, "patch-revert", json_pack("{s:s, s:s}", "vm", "ok", "patch", "p")));
	expect_desired("ok", "reverted", false);
	restart(); /* what a daemon promised the next one keeps */
	drain("ok");
	expect_desired("ok", "reverted", false);
	json_t *o = desired("ok"), *p = json_array_get(json_object_get(o, "desired"), 0);
	assert_non_null(strstr(get_str(p, "why"), "took it out"));
	json_decref(o);
	json_decref(call_ok(client, "patch-apply", json_pack("{s:s, s:s}", "vm", "ok", "text", TEXT)));
	expect_change("ok", "applied");
}

/* A worker named "resets" tells of a reset at each patch-verify; its patch is then gone. */
static void test_reset(void **state)
{
	(void)state;
	json_decref(call_ok(client, "rule-add", rule_args("resets")));
	json_decref(add_vm(client, "resets"));
	expect_change("resets", "applied");
	json_decref(call_ok(client, "patch-verify", vm_args("resets")));
	expect_desired("resets", "waiting", false);
	expect_change("resets", "applied");
	json_decref(call_ok(client, "patch-revert", json_pack("{s:s, s:s}", "vm", "resets", "patch", "p")));
	expect_desired("resets", "reverted", false);
	json_decref(call_ok(client, "patch-verify", vm_args("resets")));
	expect_change("resets", "applied"); /* another boot: nobody took it out of this one */
}

/* What a patch-apply that the reset cut off has come to is not said of the new boot. */
static void test_reset_meanwhile(void **state)
{
	(void)state;
	json_decref(call_ok(client, "rule-add", rule_args("boots")));
	json_decref(add_vm(client, "boots"));
	expect_change("boots", "applied");
}

static void test_waits_for_adoption(void **state)
{
	(void)state;
	json_decref(call_ok(client, "rule-add", rule_args("ok")));
	json_decref(call_ok(client, "vm-add", json_pack("{s:s, s:s, s:b}", "name", "ok", "qmp", "/nowhere/ok.qmp", "adopt", 1)));
	expect_desired("ok", "waiting", false);
	json_decref(call_ok(client, "patch-adopt", json_pack("{s:s, s:[]}", "vm", "ok", "records")));
	expect_change("ok", "applied");
}

static void test_cancelled(void **state)
{
	(void)state;
	json_decref(call_ok(client, "rule-add", rule_args("slow")));
	json_decref(add_vm(client, "slow"));
	json_t *job;
	do {
		job = wait_event(client, "JOB_STATUS_CHANGE", "slow");
		if (strcmp(get_str(job, "status"), "running") == 0)
			break;
		json_decref(job);
	} while (true);
	json_decref(call_ok(client, "job-cancel", json_pack("{s:s}", "id", get_str(job, "id"))));
	json_decref(job);
	expect_change("slow", "refused");
	json_t *o = desired("slow"), *p = json_array_get(json_object_get(o, "desired"), 0);
	assert_string_equal(get_str(p, "refusal"), "cancelled");
	assert_true(json_is_true(json_object_get(o, "settled")));
	json_decref(o);
}

/* Whoever installed it was allowed to; what is applied later is judged as of then. */
static void test_not_allowed_any_more(void **state)
{
	char path[128];

	(void)state;
	json_decref(call_ok(client, "rule-add", rule_args("ok")));
	qmp_client_free(TAKE_PTR(client));
	assert_int_equal(daemon_program_stop(&program), 0);
	daemon_program_path(&program, "vmpoked.conf", path, sizeof(path));
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs("[policy]\nunsigned = refuse\n", f);
	fclose(f);
	daemon_program_start(&program);
	client = daemon_program_connect(&program, false);
	json_decref(add_vm(client, "ok"));
	expect_change("ok", "refused");
	json_t *o = desired("ok"), *p = json_array_get(json_object_get(o, "desired"), 0);
	assert_string_equal(get_str(p, "refusal"), "unsigned");
	json_decref(o);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_rules_of_nobody), TEST(test_applied_when_added), TEST(test_rule_for_who_is_there), TEST(test_taken_out),
		TEST(test_reset),	    TEST(test_reset_meanwhile), TEST(test_waits_for_adoption), TEST(test_cancelled),
		TEST(test_not_allowed_any_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
