// SPDX-License-Identifier: GPL-2.0-or-later
/* The vmpoke program: keys, manifest, revoke, stats, and what it sends of a manifest beside a patch file. */
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/util.h"
#include "tests/fake/cli_program.h"

static const char patch_text[] = "vmpoke: 1\nname: p1\nsites:\n  - { at: f, kind: return, value: 1 }\n";

static char patch[128], manifest[128], signature[160];

static void file_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write_full(fd, text, strlen(text)), 0);
	close(fd);
}

static int setup(void **state)
{
	int r = program_dir_make(state);

	snprintf(patch, sizeof(patch), "%s/p1.yaml", program_dir);
	snprintf(manifest, sizeof(manifest), "%s.manifest", patch);
	snprintf(signature, sizeof(signature), "%s.minisig", manifest);
	file_write(patch, patch_text);
	return r;
}

static int teardown(void **state)
{
	unlink(patch);
	return program_dir_remove(state);
}

static void test_keys(void **state)
{
	static const struct cli_case cases[] = {
		{ "keys", { "keys" }, { { "query-keys", NULL, "\"return\": [{\"id\": \"E5AEA88635853D01\", \"file\": \"ops.pub\"}]" } }, 0,
		  "E5AEA88635853D01\tops.pub\n", "" },
		{ "keys --json", { "keys", "--json" }, { { "query-keys", NULL, "\"return\": []" } }, 0, "[]\n", "" },
		{ "revoke", { "revoke", "p1", "E5AEA88635853D01" },
		  { { "manifest-revoke", "{\"patch\": \"p1\", \"key\": \"E5AEA88635853D01\"}",
		      "\"return\": {\"patch\": \"p1\", \"key\": \"E5AEA88635853D01\", \"serial\": 7}" } }, 0,
		  "serials up to 7 of patch p1 by key E5AEA88635853D01 are revoked\n", "" },
		{ "revoke --serial", { "revoke", "p1", "E5AEA88635853D01", "--serial", "9", "--json" },
		  { { "manifest-revoke", "{\"patch\": \"p1\", \"key\": \"E5AEA88635853D01\", \"serial\": 9}", "\"return\": {}" } }, 0, "{}\n", "" },
		{ "bad serial", { "revoke", "p1", "x", "--serial", "0" }, {}, 2, "", "vmpoke: '0' is no value for option '--serial': ..." },
	};

	(void)state;
	cases_run(cases, ARRAY_SIZE(cases));
}

static void test_manifest(void **state)
{
	const struct cli_case cases[] = {
		{ "manifest", { "manifest", patch, "--serial", "7", "--expires=2027-01-31", "--vm", "web*", "--build-id", "0011223344556677" }, {}, 0,
		  "vmpoke-manifest: 1\npatch: \"p1\"\n"
		  "sha256: \"ba81a0e2e9e587275b6d2c75177afd57589c77f3795b7fb0f4098ca8a44df99b\"\n" /* as sha256sum says */
		  "build-ids:\n  - \"0011223344556677\"\nvms:\n  - \"web*\"\nexpires: 2027-01-31T00:00:00Z\nserial: 7\n", "" },
		{ "bad time", { "manifest", patch, "--expires", "soon" }, {}, 2, "", "vmpoke: --expires: 'soon' is neither a date, ..." },
		{ "bad build-id", { "manifest", patch, "--build-id", "xy" }, {}, 2, "", "vmpoke: --build-id: 'xy' is not 8 to 32 bytes in hex\n" },
		{ "bad pattern", { "manifest", patch, "--vm", "a/b" }, {}, 2, "", "vmpoke: --vm: 'a/b' is neither ..." },
		{ "a name", { "manifest", "p1" }, {}, 2, "", "vmpoke: 'p1' is not a file\n" },
		{ "others have no --expires", { "apply", "web1", "p1", "--expires", "2027-01-31" }, {}, 2, "",
		  "vmpoke: 'apply' has no option '--expires'; ..." },
	};

	(void)state;
	cases_run(cases, ARRAY_SIZE(cases));
}

static void dump(char *buf, size_t cap, json_t *args)
{
	char *text = json_dumps(args, 0);

	snprintf(buf, cap, "%s", text);
	free(text);
}

static void test_beside(void **state)
{
	char with[1024], without[1024], unsigned_text[512];
	const struct cli_case cases[] = {
		{ "beside", { "check", "web1", patch, "--json" }, { { "patch-check", with, "\"return\": {}" } }, 0, "{}\n", "" },
		{ "named", { "apply", "web1", patch, "--json", "--manifest", manifest }, { { "patch-apply", with, "\"return\": {}" } }, 0, "{}\n", "" },
		{ "--unsigned", { "apply", "web1", patch, "--json", "--unsigned" }, { { "patch-apply", without, "\"return\": {}" } }, 0, "{}\n", "" },
		{ "revert needs none", { "revert", "web1", patch, "--json" }, { { "patch-revert", without, "\"return\": {}" } }, 0, "{}\n", "" },
		{ "both", { "apply", "web1", patch, "--unsigned", "--manifest", manifest }, {}, 2, "",
		  "vmpoke: '--manifest' and '--unsigned' exclude each other\n" },
		{ "with a name", { "apply", "web1", "p1", "--manifest", manifest }, {}, 2, "", "vmpoke: '--manifest' goes with a patch file, ..." },
		{ "refused by policy is no 'no'", { "check", "web1", patch, "--unsigned" },
		  { { "patch-check", without, "\"error\": {\"class\": \"GenericError\", \"desc\": \"you may not\", \"detail\": {\"kind\": \"refused\", "
					      "\"errno\": 13, \"rule\": \"policy\"}}" } }, 5, "", "vmpoke: you may not\n" },
		{ "nor is the read-only socket's", { "check", "web1", patch, "--unsigned" },
		  { { "patch-check", without, "\"error\": {\"class\": \"GenericError\", \"desc\": \"use control.sock\", \"detail\": "
					      "{\"kind\": \"refused\", \"errno\": 13, \"rule\": \"read-only\"}}" } }, 5, "", "vmpoke: use control.sock\n" },
		{ "unsigned is a 'no'", { "check", "web1", patch, "--unsigned" },
		  { { "patch-check", without, "\"error\": {\"class\": \"GenericError\", \"desc\": \"not signed\", \"detail\": {\"kind\": \"refused\", "
					      "\"errno\": 13, \"rule\": \"unsigned\"}}" } }, 3, "", "vmpoke: not signed\n" },
		{ "not signed yet", { "apply", "web1", patch }, {}, 2, "", unsigned_text },
	};
	json_auto_t *args = json_pack("{s:s, s:s, s:s}", "vm", "web1", "text", patch_text, "filename", patch);

	(void)state;
	dump(without, sizeof(without), args);
	json_object_set_new(args, "manifest", json_string("m\n"));
	json_object_set_new(args, "signature", json_string("s\n"));
	dump(with, sizeof(with), args);
	file_write(manifest, "m\n");
	file_write(signature, "s\n");
	snprintf(unsigned_text, sizeof(unsigned_text), "vmpoke: '%s' is not signed: 'minisign -S -m %s' ...", manifest, manifest);
	cases_run(cases, ARRAY_SIZE(cases) - 1);
	unlink(signature);
	cases_run(cases + ARRAY_SIZE(cases) - 1, 1);
	unlink(manifest);
}

#define DAEMON "\"daemon\": {\"uptime_us\": 12500000, \"rss\": 7340032, \"vms\": 2, \"workers\": 1, \"clients\": 3, \"jobs\": 0, \"refused\": 4}"
#define VM(name, next)                                                                                                        	"\"return\": {" DAEMON ", \"vms\": [{\"vm\": \"" name "\", \"state\": \"running\", \"patches\": 1, \"worker_rss\": 10240, " 	"\"barriers\": 5, \"forced_exits\": 6, \"retries\": 7, \"pause\": {\"max_us\": 412}, \"changes\": ["                      	"{\"operation\": \"apply\", \"mode\": \"held\", \"result\": \"changed\", \"count\": 3}, "                                 	"{\"operation\": \"replace\", \"mode\": \"held\", \"result\": \"changed\", \"count\": 1}, "                               	"{\"operation\": \"apply\", \"result\": \"unchanged\", \"count\": 9}, {\"operation\": \"revert\", \"result\": \"refused\", " 	"\"count\": 2}]}], \"next\": " next "}"

static void test_stats(void **state)
{
	static const struct cli_case cases[] = {
		{ "stats", { "stats" },
		  { { "query-stats", "{\"start\": 0}", VM("a", "1") }, { "query-stats", "{\"start\": 1}", VM("b", "-1") } }, 0,
		  "vmpoked: up 12 s, 7168 KiB, 2 VMs, 1 workers, 3 clients, 0 jobs, 4 requests refused\n"
		  "a\trunning\t1\t4\t0\t2\t5\t6\t7\t412\t10\nb\trunning\t1\t4\t0\t2\t5\t6\t7\t412\t10\n", "" },
		{ "stats of one", { "stats", "a" }, { { "query-stats", "{\"start\": 0, \"vm\": \"a\"}", VM("a", "-1") } }, 0,
		  "a\trunning\t1\t4\t0\t2\t5\t6\t7\t412\t10\n", "" },
		{ "pages that do not move on", { "stats" }, { { "query-stats", "{\"start\": 0}", VM("a", "0") } }, 7, "",
		  "vmpoke: the answer to 'query-stats' from '..." },
	};

	(void)state;
	cases_run(cases, ARRAY_SIZE(cases));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_manifest),
		cmocka_unit_test(test_beside),
		cmocka_unit_test(test_stats),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
