// SPDX-License-Identifier: GPL-2.0-or-later
/* The command table itself, argument checks, introspection, and that the documentation is complete. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "protocol/schema.h"
#include "protocol/util.h"

static void check_members(const struct schema_arg *m, size_t max, bool sized)
{
	size_t i;

	for (i = 0; i < max && m[i].name; i++) {
		assert_true(m[i].doc && m[i].doc[0]);
		assert_true(m[i].min <= m[i].max || (m[i].type == SCHEMA_STR && m[i].max == 0));
		assert_true(!sized || m[i].type != SCHEMA_INT || m[i].max > 0);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(m[i].name, m[k].name);
	}
	assert_true(i < max); /* the terminator is there */
}

static const struct schema_arg *member(const struct schema_arg *m, const char *name)
{
	for (; m->name; m++)
		if (strcmp(m->name, name) == 0)
			return m;
	return NULL;
}

static void test_table(void **state)
{
	size_t n, k;
	const struct schema_command *c = schema_commands(&n);
	const struct schema_event *ev = schema_events(&k);

	(void)state;
	assert_true(n >= 27 && k >= 8);
	for (size_t i = 0; i < n; i++) {
		assert_ptr_equal(schema_command_find(c[i].name), &c[i]);
		check_members(c[i].args, SCHEMA_ARGS_MAX, true);
		check_members(c[i].returns, SCHEMA_FIELDS_MAX, false);
		assert_int_equal(c[i].job, member(c[i].args, "job-id") != NULL);
		assert_true(!c[i].to_worker || member(c[i].args, "vm"));
		assert_true(strncmp(c[i].name, "query-", 6) != 0 || c[i].read_only);
		/* None is forgotten by the policy, and what the read-only socket takes are questions. */
		assert_true(c[i].class > SCHEMA_CLASS_NONE && c[i].class < SCHEMA_CLASS_COUNT);
		assert_int_equal(schema_class_from_name(schema_class_name(c[i].class)), c[i].class);
		assert_true(c[i].class != SCHEMA_CLASS_MONITOR || strncmp(c[i].name, "query-", 6) == 0);
		assert_true(!strchr(c[i].name, '_') || strcmp(c[i].name, "qmp_capabilities") == 0);
	}
	for (size_t i = 0; i < k; i++) {
		check_members(ev[i].data, SCHEMA_FIELDS_MAX, false);
		for (const char *p = ev[i].name; *p; p++)
			assert_true(isupper((unsigned char)*p) || *p == '_');
	}
	assert_null(schema_command_find("nope"));
	assert_null(schema_command_find(""));
}

/* What must not be possible for somebody who may only look. */
static void test_read_only(void **state)
{
	static const char *const writers[] = { "getfd", "closefd", "vm-run", "vm-destroy", "vm-add", "vm-remove", "vm-set-agent", "patch-apply",
					       "patch-revert", "job-cancel", "vm-count", "job-dismiss" };
	/* They change nothing, but the guest may feel them. */
	static const char *const readers[] = { "vm-probe", "patch-check", "patch-verify" };
	size_t n, expected = 0;
	const struct schema_command *c = schema_commands(&n);
	json_t *all = schema_query_commands(false), *ro = schema_query_commands(true);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(writers); i++)
		assert_false(schema_command_find(writers[i])->read_only);
	for (size_t i = 0; i < ARRAY_SIZE(readers); i++)
		assert_false(schema_on_read_only_socket(schema_command_find(readers[i])));
	for (size_t i = 0; i < n; i++)
		expected += schema_on_read_only_socket(&c[i]);
	assert_int_equal(json_array_size(all), n);
	assert_int_equal(json_array_size(ro), expected);
	assert_string_equal(json_string_value(json_object_get(json_array_get(ro, 0), "name")), "qmp_capabilities");
	json_decref(all);
	json_decref(ro);
}

static void test_check_args(void **state)
{
	static const struct {
		const char *command, *args, *sentence;
	} cases[] = {
		{ "query-vms", "{}", NULL },
		{ "query-vms", "{\"a\": 1}", "Parameter 'a' is unexpected" },
		{ "query-vm", "{}", "Parameter 'vm' is missing" },
		{ "query-vm", "{\"vm\": \"a\"}", NULL },
		{ "query-vm", "{\"vm\": 1}", "Invalid parameter type for 'vm', expected: string" },
		{ "query-vm", "{\"vm\": null}", "Invalid parameter type for 'vm', expected: string" },
		{ "query-vm", "{\"vm\": \"\"}", "Parameter 'vm' is empty" },
		{ "query-vm", "{\"vm\": \"0123456789012345678901234567890123456789012345678901234567890123\"}",
		  "Parameter 'vm' is longer than 63 bytes" },
		{ "query-vm", "{\"vm\": \"a\", \"job-id\": \"b\"}", "Parameter 'job-id' is unexpected" },
		{ "vm-probe", "{\"vm\": \"a\", \"job-id\": \"b\"}", NULL },
		{ "vm-remove", "{\"vm\": \"a\", \"keep-patches\": true}", NULL },
		{ "vm-remove", "{\"vm\": \"a\", \"keep-patches\": 1}",
		  "Invalid parameter type for 'keep-patches', expected: boolean" },
		{ "patch-apply", "{\"vm\": \"a\", \"text\": \"x\", \"timeout\": 0}", NULL },
		{ "patch-apply", "{\"vm\": \"a\", \"text\": \"x\", \"timeout\": 600000}", NULL },
		{ "patch-apply", "{\"vm\": \"a\", \"text\": \"x\", \"timeout\": 600001}",
		  "Parameter 'timeout' expects an integer from 0 to 600000" },
		{ "patch-apply", "{\"vm\": \"a\", \"text\": \"x\", \"timeout\": -1}",
		  "Parameter 'timeout' expects an integer from 0 to 600000" },
		{ "patch-apply", "{\"vm\": \"a\", \"text\": \"x\", \"timeout\": 1.5}",
		  "Invalid parameter type for 'timeout', expected: integer" },
		{ "patch-apply", "{\"vm\": \"a\", \"text\": \"x\", \"timeout\": \"1\"}",
		  "Invalid parameter type for 'timeout', expected: integer" },
		{ "query-symbols", "{\"vm\": \"a\", \"start\": 0, \"count\": 4096}", NULL },
		{ "query-symbols", "{\"vm\": \"a\", \"count\": 0}", "Parameter 'count' expects an integer from 1 to 4096" },
		{ "qmp_capabilities", "{\"enable\": []}", NULL },
		{ "qmp_capabilities", "{\"enable\": [\"oob\"]}", NULL },
		{ "qmp_capabilities", "{\"enable\": \"oob\"}", "Invalid parameter type for 'enable', expected: array" },
		{ "qmp_capabilities", "{\"enable\": [\"oob\", 1]}",
		  "Invalid parameter type for 'enable[1]', expected: string" },
		{ "job-cancel", "{\"id\": {}}", "Invalid parameter type for 'id', expected: string" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *args = json_loads(cases[i].args, 0, NULL);
		struct err e = { 0 };
		int r = schema_check_args(schema_command_find(cases[i].command), args, &e);

		assert_int_equal(r, cases[i].sentence ? -EINVAL : 0);
		if (cases[i].sentence)
			assert_string_equal(e.text, cases[i].sentence);
		json_decref(args);
	}
}

static void test_text_size(void **state)
{
	size_t size = 256 << 10;
	char *text = malloc(size + 2);
	struct err e;

	(void)state;
	memset(text, 'x', size + 1);
	text[size + 1] = '\0';
	json_t *args = json_pack("{s:s, s:s}", "vm", "a", "text", text);
	assert_int_equal(schema_check_args(schema_command_find("patch-apply"), args, &e), -EINVAL);
	json_decref(args);
	text[size] = '\0';
	args = json_pack("{s:s, s:s}", "vm", "a", "text", text);
	assert_int_equal(schema_check_args(schema_command_find("patch-apply"), args, &e), 0);
	json_decref(args);
	free(text);
}

/* Types no command uses yet. */
static void test_other_types(void **state)
{
	const struct schema_command cmd = { .name = "t",
					    .args = { { "at", SCHEMA_ADDRESS, true, .doc = "x" },
						      { "o", SCHEMA_OBJECT, true, .doc = "x" },
						      { "n", SCHEMA_NUMBER, true, .doc = "x" } } };
	static const struct {
		const char *args;
		int r;
	} cases[] = {
		{ "{\"at\": \"0xffffffff81000000\"}", 0 }, { "{\"at\": \"81000000\"}", -EINVAL }, { "{\"at\": 1}", -EINVAL },
		{ "{\"o\": {}}", 0 }, { "{\"o\": []}", -EINVAL }, { "{\"n\": 1.5}", 0 }, { "{\"n\": 1}", 0 },
		{ "{\"n\": \"1\"}", -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *args = json_loads(cases[i].args, 0, NULL);
		assert_int_equal(schema_check_args(&cmd, args, NULL), cases[i].r);
		json_decref(args);
	}
}

static json_t *entity(json_t *schema, const char *name)
{
	json_t *item, *found = NULL;
	size_t i;

	json_array_foreach(schema, i, item)
		if (strcmp(json_string_value(json_object_get(item, "name")), name) == 0) {
			assert_null(found); /* names are unique */
			found = item;
		}
	return found;
}

static void check_type(json_t *schema, json_t *holder, const char *key)
{
	json_t *name = json_object_get(holder, key);

	assert_true(json_is_string(name));
	assert_non_null(entity(schema, json_string_value(name)));
}

/* Every type an entity refers to must be there: QEMU's tools walk the graph. */
static void test_introspection(void **state)
{
	json_t *schema = schema_query_qmp_schema(), *item, *m;
	size_t i, k, n, commands = 0, events = 0;

	(void)state;
	json_array_foreach(schema, i, item) {
		const char *meta = json_string_value(json_object_get(item, "meta-type"));
		assert_non_null(entity(schema, json_string_value(json_object_get(item, "name"))));
		if (strcmp(meta, "command") == 0) {
			commands++;
			check_type(schema, item, "arg-type");
			check_type(schema, item, "ret-type");
		} else if (strcmp(meta, "event") == 0) {
			events++;
			check_type(schema, item, "arg-type");
		} else if (strcmp(meta, "array") == 0) {
			check_type(schema, item, "element-type");
		} else if (strcmp(meta, "object") == 0) {
			json_array_foreach(json_object_get(item, "members"), k, m)
				check_type(schema, m, "type");
		} else {
			assert_string_equal(meta, "builtin");
			assert_true(json_is_string(json_object_get(item, "json-type")));
		}
	}
	schema_commands(&n);
	assert_int_equal(commands, n);
	schema_events(&n);
	assert_int_equal(events, n);
	m = json_array_get(json_object_get(entity(schema, "vm-add-arg"), "members"), 2);
	assert_string_equal(json_string_value(json_object_get(m, "name")), "gdb");
	assert_true(json_is_null(json_object_get(m, "default")));
	json_decref(schema);
}

/* docs/qmp-commands.md is generated; a table changed without it fails here. */
static void test_documented(void **state)
{
	size_t n, k, len;
	const struct schema_command *c = schema_commands(&n);
	const struct schema_event *ev = schema_events(&k);
	char *text, heading[80];

	(void)state;
	assert_int_equal(read_file("docs/qmp-commands.md", 1 << 20, &text, &len), 0);
	for (size_t i = 0; i < n; i++) {
		snprintf(heading, sizeof(heading), "\n### %s\n", c[i].name);
		char *at = strstr(text, heading);
		assert_non_null(at);
		assert_non_null(strstr(at, c[i].doc));
		for (const struct schema_arg *a = c[i].args; a->name; a++)
			assert_true(a->internal || strstr(at, a->doc));
		for (const struct schema_arg *a = c[i].returns; a->name; a++)
			assert_non_null(strstr(at, a->doc));
	}
	for (size_t i = 0; i < k; i++) {
		snprintf(heading, sizeof(heading), "\n### %s\n", ev[i].name);
		assert_non_null(strstr(text, heading));
	}
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),	    cmocka_unit_test(test_read_only),
		cmocka_unit_test(test_check_args),  cmocka_unit_test(test_text_size),
		cmocka_unit_test(test_other_types), cmocka_unit_test(test_introspection),
		cmocka_unit_test(test_documented),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
