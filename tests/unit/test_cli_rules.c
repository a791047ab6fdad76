// SPDX-License-Identifier: GPL-2.0-or-later
/* install, uninstall, rules, wait, replace, export, adopt from outside: arguments to requests, answers to text and exit code. */
#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "protocol/util.h"
#include "tests/fake/cli_program.h"

#define RULE "\"rule\": 3, \"pattern\": \"web*\", \"patch\": \"p1\", \"priority\": 0, \"added_at\": 1"
#define OF(vm, state) "{\"vm\": \"" vm "\", \"state\": \"" state "\"}"
#define VM "{\"vm\": \"web1\"}"

static void file_write(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void test_install(void **state)
{
	static const char text[] = "vmpoke: 1\nname: p1\nsites:\n  - { at: f, kind: return, value: 1 }\n";
	char path[128], plain[512], full[512];
	struct cli_case cases[] = {
		{ "install", { "install", "web*", path },
		  { { "rule-add", plain, "\"return\": {" RULE ", \"changed\": true, \"matches\": 2}" } }, 0,
		  "installed p1 in web* as rule 3; registered VMs that match: 2\n", "" },
		{ "all that apply has", { "install", "web*", path, "--priority", "-7", "--build-id", "3f*", "--mode", "stopped", "--timeout", "2" },
		  { { "rule-add", full, "\"return\": {" RULE ", \"changed\": false, \"matches\": 2}" } }, 0,
		  "p1 is already installed in web* (rule 3)\n", "" },
		{ "not by name", { "install", "web*", "p1" }, {}, 2, "",
		  "vmpoke: 'p1' is not a file: a patch is installed from its file\n" },
		{ "no such priority", { "install", "web*", path, "--priority", "1001" }, {}, 2, "", "vmpoke: '1001' is no value..." },
		{ "uninstall by file", { "uninstall", "web*", path },
		  { { "rule-remove", "{\"pattern\": \"web*\", \"patch\": \"p1\"}", "\"return\": {" RULE ", \"changed\": true}" } }, 0,
		  "uninstalled p1 from web*; where it is applied it stays until it is reverted\n", "" },
	};

	(void)state;
	snprintf(path, sizeof(path), "%s/p1.yaml", program_dir);
	file_write(path, text);
	json_auto_t *args = json_pack("{s:s, s:s, s:s}", "pattern", "web*", "text", text, "filename", path);
	char *dumped = json_dumps(args, 0);
	snprintf(plain, sizeof(plain), "%s", dumped);
	free(dumped);
	json_object_set_new(args, "mode", json_string("stopped"));
	json_object_set_new(args, "timeout", json_integer(2000));
	json_object_set_new(args, "priority", json_integer(-7));
	json_object_set_new(args, "build-id", json_string("3f*"));
	dumped = json_dumps(args, 0);
	snprintf(full, sizeof(full), "%s", dumped);
	free(dumped);
	cases_run(cases, ARRAY_SIZE(cases));
	unlink(path);
}

static void test_rules(void **state)
{
	static const struct cli_case cases[] = {
		{ "uninstall by number", { "uninstall", "3" },
		  { { "query-rules", "{\"start\": 0}", "\"return\": [{" RULE ", \"vms\": []}]" },
		    { "query-rules", "{\"start\": 1}", "\"return\": []" },
		    { "rule-remove", "{\"pattern\": \"web*\", \"patch\": \"p1\"}", "\"return\": {\"changed\": false}" } }, 0,
		  "there is no such rule\n", "" },
		{ "no such number", { "uninstall", "4" },
		  { { "query-rules", "{\"start\": 0}", "\"return\": []" } }, 4, "", "vmpoke: there is no rule 4; see 'vmpoke rules'\n" },
		{ "uninstall what is no number", { "uninstall", "web*" }, {}, 2, "", "vmpoke: 'web*' is not the number of a rule..." },
		{ "rules", { "rules" },
		  { { "query-rules", "{\"start\": 0}", "\"return\": [{" RULE ", \"vms\": [{\"vm\": \"web1\", \"state\": \"applied\"}, "
		      "{\"vm\": \"web2\", \"state\": \"waiting\"}]}]" },
		    { "query-rules", "{\"start\": 1}", "\"return\": []" } }, 0,
		  "3\t0\tweb*\t-\tp1\tweb1 applied, web2 waiting\n", "" },
		{ "rules of many", { "rules" },
		  { { "query-rules", "{\"start\": 0}", "\"return\": [{" RULE ", \"vms\": [" OF("a", "applied") ", " OF("b", "refused") ", "
		      OF("c", "applied") ", " OF("d", "applied") ", " OF("e", "applied") "]}]" },
		    { "query-rules", "{\"start\": 1}", "\"return\": []" } }, 0,
		  "3\t0\tweb*\t-\tp1\t4 applied, 1 refused\n", "" },
		{ "status: not as desired", { "status", "web1", "--why" },
		  { { "query-patches", VM, "\"return\": {\"vm\": \"web1\", \"patches\": [], \"as_desired\": false, \"desired\": [{\"patch\": \"p1\", "
		      "\"state\": \"refused\", \"why\": \"w\", \"refusal\": \"kprobe\", \"tries\": 2, \"rule\": 3, \"pattern\": \"web*\", \"priority\": 0, "
		      "\"added_by\": 987654}]}" } }, 3,
		  "vm: web1\n  patches: none\n\n  installed:\n    p1: refused: w\n      rule: 3, pattern web*, priority 0\n"
		  "      added by: 987654\n      tries: 2\n      refused by: kprobe\n", "" },
		{ "status: as desired", { "status", "web1", "--json" },
		  { { "query-patches", VM, "\"return\": {\"vm\": \"web1\", \"patches\": [], \"as_desired\": true}" } }, 0, NULL, "" },
	};

	(void)state;
	cases_run(cases, ARRAY_SIZE(cases));
}

static void test_wait(void **state)
{
	static const char settled[] = "\"return\": {\"vm\": \"web1\", \"desired\": [], \"settled\": true}";
	static const struct cli_case cases[] = {
		{ "settled", { "wait", "web1" }, { { "query-desired", VM, settled } }, 0, "web1: settled\n", "" },
		{ "applied", { "wait", "web1", "--for", "applied:p1", "--json" },
		  { { "query-patches", VM, "\"return\": {\"vm\": \"web1\", \"patches\": [{\"name\": \"p1\", \"state\": \"applied\"}]}" } }, 0,
		  "{\"vm\": \"web1\", \"for\": \"applied:p1\", \"reached\": true}\n", "" },
		{ "kernel", { "wait", "web1", "--for", "kernel", "-q" },
		  { { "query-vm", VM, "\"return\": {\"state\": \"running\"}" }, { "vm-probe", VM, "\"return\": {\"booted\": true}" } }, 0, "", "" },
		{ "not in time", { "wait", "web1", "--for", "running", "--timeout", "0" },
		  { { "query-vm", VM, "\"return\": {\"state\": \"paused\"}" } }, 6, "", "vmpoke: not running within 0.0 s: the VM is paused\n" },
		{ "what is so instead", { "wait", "web1", "--timeout", "0" },
		  { { "query-desired", VM, "\"return\": {\"settled\": false, \"desired\": [{\"patch\": \"p1\", \"state\": \"waiting\", \"why\": \"w\"}]}" } }, 6,
		  "", "vmpoke: not settled within 0.0 s: p1: w\n" },
		{ "for nothing", { "wait", "web1", "--for", "godot" }, {}, 2, "", "vmpoke: 'godot' is nothing to wait for..." },
		{ "applied, but what?", { "wait", "web1", "--for", "applied" }, {}, 2, "", "vmpoke: 'applied' is nothing..." },
		{ "no such VM", { "wait", "web1" },
		  { { "query-desired", VM, "\"error\": {\"class\": \"DeviceNotFound\", \"desc\": \"no VM\", \"detail\": {\"kind\": \"not-found\", \"errno\": 2}}" } },
		  4, "", "vmpoke: no VM\n" },
	};

	(void)state;
	cases_run(cases, ARRAY_SIZE(cases));
}

static void test_replace(void **state)
{
	static const struct cli_case cases[] = {
		{ "replace", { "replace", "web1", "p1", "p2", "-q" },
		  { { "patch-replace", "{\"vm\": \"web1\", \"patch\": \"p2\", \"old\": \"p1\"}",
		      "\"return\": {\"vm\": \"web1\", \"patch\": \"p2\", \"state\": \"applied\", \"changed\": true, \"mode\": \"stopped\", "
		      "\"replaced\": \"p1\"}" } }, 0,
		  "applied p2 to web1 (stopped)\n  in place of p1, in two transactions: the guest ran without either in between\n", "" },
	};

	(void)state;
	cases_run(cases, ARRAY_SIZE(cases));
}

#define RECORD "{\"version\": 1, \"patch\": \"p1\"}"
#define ADOPT  "{\"vm\": \"web1\", \"records\": [" RECORD "]}"

static void test_moving(void **state)
{
	char path[128], none[128];
	struct cli_case cases[] = {
		{ "export", { "export", "web1" },
		  { { "query-patches", VM, "\"return\": {\"patches\": [{\"name\": \"p0\", \"state\": \"lost\"}, {\"name\": \"p1\", \"state\": \"applied\"}]}" },
		    { "patch-export", "{\"vm\": \"web1\", \"patch\": \"p1\"}", "\"return\": {\"vm\": \"web1\", \"records\": [" RECORD "]}" } }, 0,
		  "{\"vm\": \"web1\", \"records\": [" RECORD "]}\n", "" },
		{ "adopt", { "adopt", "web1", path },
		  { { "patch-adopt", ADOPT, "\"return\": {\"records\": [{\"patch\": \"p1\", \"state\": \"adopted\"}]}" } }, 0, "p1: adopted\n", "" },
		{ "not in", { "adopt", "web1", path },
		  { { "patch-adopt", ADOPT, "\"return\": {\"records\": [{\"patch\": \"p1\", \"state\": \"absent\", \"why\": \"w\"}]}" } }, 3, "p1: absent: w\n", "" },
		{ "the worst counts", { "adopt", "web1", path },
		  { { "patch-adopt", ADOPT, "\"return\": {\"records\": [{\"patch\": \"p1\", \"state\": \"attention\"}, {\"patch\": \"p2\", \"state\": \"refused\"}]}" } }, 9,
		  "p1: attention\np2: refused\n", "" },
		{ "not what export writes", { "adopt", "web1", none }, {}, 2, "", NULL },
	};

	(void)state;
	snprintf(path, sizeof(path), "%s/records", program_dir);
	snprintf(none, sizeof(none), "%s/none", program_dir);
	file_write(path, "{\"vm\": \"web9\", \"records\": [" RECORD "]}\n");
	file_write(none, "{}");
	cases_run(cases, ARRAY_SIZE(cases));
	unlink(path);
	unlink(none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_install), cmocka_unit_test(test_rules),  cmocka_unit_test(test_wait),
		cmocka_unit_test(test_replace), cmocka_unit_test(test_moving),
	};

	return cmocka_run_group_tests(tests, program_dir_make, program_dir_remove);
}
