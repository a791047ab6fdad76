// SPDX-License-Identifier: GPL-2.0-or-later
/* The vmpoke program from outside: which VMs an argument means, and verbs that run for several. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "protocol/util.h"
#include "tests/fake/cli_program.h"

#define UUID "0b5a5c6e-13f2-4d5f-8f1e-3f1f5d2b9a10"
#define VMS "\"return\": [" \
	"{\"name\": \"deb1\", \"kind\": \"machine\", \"state\": \"shutdown\", \"patches\": 0}, " \
	"{\"name\": \"db1\", \"kind\": \"qemu\", \"qmp\": \"/run/db1.qmp\", \"state\": \"running\", \"patches\": 0}, " \
	"{\"name\": \"web1\", \"kind\": \"qemu\", \"qmp\": \"/run/web1.qmp\", \"state\": \"running\", \"pid\": 77, \"uuid\": \"" UUID \
	"\", \"patches\": 0}, " \
	"{\"name\": \"web2\", \"kind\": \"qemu\", \"qmp\": \"/run/web2.qmp\", \"state\": \"running\", \"pid\": 7, \"patches\": 0}]"
#define QUERY { "query-vms", NULL, VMS }
#define ERROR(kind, vm) \
	"\"error\": {\"class\": \"GenericError\", \"desc\": \"no\", \"detail\": {\"kind\": \"" kind "\", \"errno\": 5, \"vm\": \"" vm "\"}}"
#define ERROR_JSON(kind, vm) \
	"{\"vm\": \"" vm "\", \"error\": {\"class\": \"GenericError\", \"desc\": \"no\", \"detail\": {\"kind\": \"" kind \
	"\", \"errno\": 5, \"vm\": \"" vm "\"}}}"
#define VERIFY(vm, reply) { "patch-verify", "{\"vm\": \"" vm "\"}", reply }
#define CLEAN(vm) VERIFY(vm, "\"return\": {\"vm\": \"" vm "\", \"ok\": true, \"patches\": 0, \"sites\": 0}")
#define CLEAN_JSON(vm) "{\"vm\": \"" vm "\", \"ok\": true, \"patches\": 0, \"sites\": 0}"
#define IS_CLEAN(vm) vm " is as journaled (patches: 0, sites: 0)\n"
#define APPLY(vm, changed) { "patch-apply", "{\"vm\": \"" vm "\", \"patch\": \"p\"}", \
	"\"return\": {\"vm\": \"" vm "\", \"patch\": \"p\", \"state\": \"applied\", \"changed\": " changed ", \"mode\": \"stopped\"}" }

static void test_one(void **state)
{
	static const struct cli_case cases[] = {
		{ "by name nobody is asked", { "verify", "web1" }, { CLEAN("web1") }, 0, IS_CLEAN("web1"), "" },
		{ "by pid", { "verify", "pid:7" }, { QUERY, CLEAN("web2") }, 0, IS_CLEAN("web2"), "" },
		{ "by monitor", { "verify", "qmp:/run/web1.qmp" }, { QUERY, CLEAN("web1") }, 0, IS_CLEAN("web1"), "" },
		{ "by UUID", { "verify", UUID }, { QUERY, CLEAN("web1") }, 0, IS_CLEAN("web1"), "" },
		{ "by a pattern that means one", { "remove", "db*" },
		  { QUERY, { "vm-remove", "{\"vm\": \"db1\"}", "\"return\": {\"vm\": \"db1\", \"changed\": true}" } }, 0, "removed db1\n", "" },
		{ "no such pid", { "verify", "pid:777" }, { QUERY }, 4, "", "vmpoke: no VM is meant by 'pid:777'; see 'vmpoke list'\n" },
		{ "no pid at all", { "verify", "pid:" }, { QUERY }, 4, "", "vmpoke: no VM is meant by 'pid:'; see 'vmpoke list'\n" },
		{ "no such monitor", { "info", "qmp:/run/web*.qmp" }, { QUERY }, 4, "",
		  "vmpoke: no VM is meant by 'qmp:/run/web*.qmp'; see 'vmpoke list'\n" },
		{ "several for a verb that takes one", { "remove", "web?" }, { QUERY }, 2, "",
		  "vmpoke: 'web?' means 2 VMs; 'remove' takes one\n" },
		{ "all for a verb that takes one", { "remove", "--all" }, { { 0 } }, 2, "",
		  "vmpoke: 'remove' has no option '--all'; see 'vmpoke help remove'\n" },
		{ "a machine that is off is meant when it is named", { "info", "deb?" },
		  { QUERY }, 4, "", "vmpoke: all VMs meant by 'deb?' are shut down\n" },
	};

	(void)state;
	cases_run(cases, ARRAY_SIZE(cases));
}

static void test_several(void **state)
{
	static const struct cli_case cases[] = {
		{ "pattern", { "verify", "web*" }, { QUERY, CLEAN("web1"), CLEAN("web2") }, 0, IS_CLEAN("web1") IS_CLEAN("web2"), "" },
		{ "all that are on", { "verify", "--all" }, { QUERY, CLEAN("db1"), CLEAN("web1"), CLEAN("web2") }, 0,
		  IS_CLEAN("db1") IS_CLEAN("web1") IS_CLEAN("web2"), "" },
		{ "one document", { "verify", "--json", "web[12]" }, { QUERY, CLEAN("web1"), CLEAN("web2") }, 0,
		  "[" CLEAN_JSON("web1") ", " CLEAN_JSON("web2") "]\n", "" },
		{ "one of two fails", { "verify", "web*" }, { QUERY, VERIFY("web1", ERROR("inactive", "web1")), CLEAN("web2") }, 8,
		  IS_CLEAN("web2"), "vmpoke: web1: no\nvmpoke: verify: 1 of 2 VMs did not succeed\n" },
		{ "its error in the document", { "verify", "web*", "--json" },
		  { QUERY, VERIFY("web1", ERROR("failed", "web1")), CLEAN("web2") }, 8,
		  "[" ERROR_JSON("failed", "web1") ", " CLEAN_JSON("web2") "]\n", NULL },
		{ "all fail alike", { "verify", "web*" },
		  { QUERY, VERIFY("web1", ERROR("timeout", "web1")), VERIFY("web2", ERROR("timeout", "web2")) }, 6, "", NULL },
		{ "each in its own way", { "verify", "web*" },
		  { QUERY, VERIFY("web1", ERROR("timeout", "web1")), VERIFY("web2", ERROR("refused", "web2")) }, 8, "", NULL },
		{ "differences say where", { "verify", "web*" },
		  { QUERY, VERIFY("web1", "\"return\": {\"vm\": \"web1\", \"ok\": false, \"differences\": [{\"patch\": \"p\", \"symbol\": \"f\", "
		    "\"address\": \"0x1\", \"expected\": \"90\", \"found\": \"cc\", \"holds\": \"foreign\"}]}"), CLEAN("web2") }, 8,
		  "web1: p: f (0x1): expected 90, found cc (foreign)\n" IS_CLEAN("web2"), NULL },
		{ "apply to all", { "apply", "--all", "p", "-q" }, { QUERY, APPLY("db1", "true"), APPLY("web1", "false"), APPLY("web2", "true") }, 0,
		  "applied p to db1 (stopped)\np is already applied to web1\napplied p to web2 (stopped)\n", "" },
		{ "an error that is about no VM ends it", { "verify", "web*" }, { QUERY, VERIFY("web1", ERROR("usage", "")) }, 2, "",
		  "vmpoke: no\nvmpoke: 1 of 2 VMs were not tried\n" },
		{ "vmpoked goes away", { "verify", "--all" }, { QUERY, CLEAN("db1"), VERIFY("web1", REPLY_CLOSE) }, 8, IS_CLEAN("db1"), NULL },
		{ "no patch file", { "apply", "--all", "./nowhere.yaml" }, { QUERY }, 4, "",
		  "vmpoke: cannot read './nowhere.yaml': No such file or directory\nvmpoke: 2 of 3 VMs were not tried\n" },
		{ "status of a pattern", { "status", "web*" },
		  { QUERY, { "query-patches", "{\"vm\": \"web1\"}", "\"return\": {\"vm\": \"web1\", \"patches\": []}" },
		    { "query-patches", "{\"vm\": \"web2\"}", "\"return\": {\"vm\": \"web2\", \"patches\": []}" } }, 0,
		  "vm: web1\n  patches: none\n\nvm: web2\n  patches: none\n", "" },
		{ "all, of none", { "verify", "--all" }, { { "query-vms", NULL, "\"return\": []" } }, 0, "", "" },
		{ "all and a name too many", { "apply", "--all", "web1", "p" }, { { 0 } }, 2, "",
		  "vmpoke: 'apply' takes no argument 'p'; see 'vmpoke help apply'\n" },
		{ "all without a patch", { "apply", "--all" }, { { 0 } }, 2, "", "vmpoke: 'apply' needs VM PATCH; see 'vmpoke help apply'\n" },
	};

	(void)state;
	cases_run(cases, ARRAY_SIZE(cases));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_several),
	};
	return cmocka_run_group_tests(tests, program_dir_make, program_dir_remove);
}
