// SPDX-License-Identifier: GPL-2.0-or-later
/* The list of install rules and its files: order, what is refused, what survives a restart and what an editor breaks. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/util.h"
#include "vmm/control/rules.h"

static char dir[64];
static struct rules rules;
static unsigned broken;
static uid_t author = 1000;

static void on_broken(struct rules_report *report, const char *file, const struct err *e)
{
	(void)report, (void)file;
	assert_true(e->kind != ERR_NONE);
	broken++;
}

static struct rules_report report = { .broken = on_broken };

static void open_rules(void)
{
	struct err e = { 0 };

	broken = 0;
	if (rules_open(&rules, dir, &report, &e) < 0)
		fail_msg("%s", e.text);
}

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/vmpoke-rules-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	open_rules();
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	rules_done(&rules);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static json_t *apply_of(const char *name)
{
	char text[256];

	snprintf(text, sizeof(text), "vmpoke: 1\nname: %s\ndescription: d\nsites:\n  - { at: f, kind: return, value: 1 }\n", name);
	return json_pack("{s:s, s:s}", "text", text, "mode", "stopped");
}

/* rules_add() of a patch of that name. */
static int add(const char *pattern, const char *patch, int priority, const char *build_id, struct err *e)
{
	struct rule want = { .priority = priority, .added_at = 1, .has_author = true, .author = author }, *r = NULL;
	json_t *apply = apply_of(patch);

	snprintf(want.pattern, sizeof(want.pattern), "%s", pattern);
	snprintf(want.build_id, sizeof(want.build_id), "%s", build_id);
	*e = (struct err){ 0 };
	int n = rules_add(&rules, &want, apply, &r, e);
	json_decref(apply);
	if (n >= 0)
		assert_string_equal(r->patch, patch);
	return n;
}

static void expect_order(const char *want)
{
	char text[256] = "";
	const struct rule *r;

	TAILQ_FOREACH(r, &rules.list, link)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%u:%s", text[0] ? " " : "", r->number, r->patch);
	assert_string_equal(text, want);
}

static void test_order_and_restart(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(add("web*", "a", 0, "", &e), 1);
	assert_int_equal(add("web*", "b", 5, "", &e), 1);
	assert_int_equal(add("db1", "a", 0, "3f*", &e), 1);
	assert_int_equal(add("web*", "c", -5, "", &e), 1);
	expect_order("2:b 1:a 3:a 4:c");
	assert_int_equal(add("web*", "a", 0, "", &e), 0); /* it was so before */
	assert_int_equal(add("web*", "c", 9, "", &e), 1); /* changed, same number */
	author = 1001;
	assert_int_equal(add("web*", "c", 9, "", &e), 1); /* the same, and another one answers for it */
	expect_order("4:c 2:b 1:a 3:a");
	rules_done(&rules);
	open_rules();
	assert_int_equal(broken, 0);
	expect_order("4:c 2:b 1:a 3:a");
	const struct rule *r = rules_find_patch(&rules, "db1", "a");
	assert_non_null(r);
	assert_string_equal(r->build_id, "3f*");
	assert_string_equal(r->description, "d");
	assert_true(r->has_author && r->author == 1000);
	assert_true(rules_find_patch(&rules, "web*", "c")->author == 1001);
	json_t *args = NULL, *want = apply_of("a");
	assert_int_equal(rule_arguments(&rules, r, &args, &e), 0);
	assert_true(json_equal(args, want));
	json_decref(args);
	json_decref(want);
	assert_int_equal(rules_remove(&rules, rules_find(&rules, 2), &e), 0);
	rules_done(&rules);
	open_rules();
	expect_order("4:c 1:a 3:a");
}

static void test_matching(void **state)
{
	static const struct {
		const char *pattern, *vm;
		bool matches;
	} cases[] = {
		{ "web1", "web1", true },   { "web1", "web11", false },	 { "web*", "web", true }, { "*", "anything", true },
		{ "web?", "web", false },   { "web[0-4]", "web3", true }, { "web[!0-4]", "web3", false }, { "[", "x", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rule r = { 0 };

		snprintf(r.pattern, sizeof(r.pattern), "%s", cases[i].pattern);
		assert_int_equal(rule_matches(&r, cases[i].vm), cases[i].matches);
	}
	struct rule r = { .build_id = "3f*" };
	assert_true(rule_fits_kernel(&r, "3fa0"));
	assert_false(rule_fits_kernel(&r, "4fa0"));
	r.build_id[0] = '\0';
	assert_true(rule_fits_kernel(&r, "4fa0"));
}

static void test_refused(void **state)
{
	struct rule want = { .pattern = "web1" }, *r;
	struct err e;

	(void)state;
	assert_true(add("", "a", 0, "", &e) < 0 && e.kind == ERR_USAGE);
	assert_true(add("../x", "a", 0, "", &e) < 0 && e.kind == ERR_USAGE);
	assert_true(add("web1", "a", 1001, "", &e) < 0 && e.kind == ERR_USAGE);
	assert_true(add("web1", "a", 0, "3F", &e) < 0 && e.kind == ERR_USAGE);
	json_t *apply = json_pack("{s:s}", "text", "no patch file");
	assert_true(rules_add(&rules, &want, apply, &r, &e) < 0 && e.kind == ERR_USAGE);
	json_decref(apply);
	apply = apply_of("a"); /* an object that nothing asks for */
	json_object_set_new(apply, "object", json_string("00"));
	assert_true(rules_add(&rules, &want, apply, &r, &e) < 0 && e.kind == ERR_USAGE);
	json_decref(apply);
	assert_int_equal(rules.n, 0);
	for (int i = 0; i < RULES_MAX; i++) {
		char name[16];

		snprintf(name, sizeof(name), "p%d", i);
		assert_int_equal(add("web1", name, 0, "", &e), 1);
	}
	assert_true(add("web1", "more", 0, "", &e) < 0 && e.kind == ERR_REFUSED);
	assert_string_equal(e.rule, "limit");
}

static void write_file(const char *name, const char *text)
{
	char path[192];

	snprintf(path, sizeof(path), "%s/rules/%s", dir, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* One bad file must not take the others away, and nothing in it is believed. */
static void test_edited(void **state)
{
	static const char *const bad[] = {
		"", "[]", "{", "{}", "{\"rule\": 7}",
		"{\"rule\": 8, \"pattern\": \"a\", \"patch\": \"p\", \"priority\": 0, \"apply\": {\"text\": \"x\"}}",
		"{\"rule\": 7, \"pattern\": \"a/b\", \"patch\": \"p\", \"priority\": 0, \"apply\": {\"text\": \"x\"}}",
		"{\"rule\": 7, \"pattern\": \"a\", \"patch\": \"../p\", \"priority\": 0, \"apply\": {\"text\": \"x\"}}",
		"{\"rule\": 7, \"pattern\": \"a\", \"patch\": \"p\", \"priority\": 5000, \"apply\": {\"text\": \"x\"}}",
		"{\"rule\": 7, \"pattern\": \"a\", \"patch\": \"p\", \"priority\": 0, \"apply\": {}}",
		"{\"rule\": 7, \"pattern\": 1, \"patch\": \"p\", \"priority\": 0, \"apply\": {\"text\": \"x\"}}",
	};
	struct err e;

	(void)state;
	assert_int_equal(add("web1", "a", 0, "", &e), 1);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		write_file("7.json", bad[i]);
		rules_done(&rules);
		open_rules();
		assert_int_equal(broken, 1);
		expect_order("1:a");
	}
	write_file("7.json", "{\"rule\": 7, \"pattern\": \"a\", \"patch\": \"p\", \"priority\": 0, \"apply\": {\"text\": \"x\"}}");
	write_file(".rule.tmp", "half");
	write_file("07.json", "{}");
	write_file("x.json", "{}");
	rules_done(&rules);
	open_rules();
	assert_int_equal(broken, 0);
	expect_order("1:a 7:p");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_order_and_restart), TEST(test_matching), TEST(test_refused), TEST(test_edited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
