// SPDX-License-Identifier: GPL-2.0-or-later
/* docs/automation.md says by which QMP commands each verb does what it does: all of both are there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/schema.h"
#include "protocol/util.h"
#include "tests/fake/cli_program.h"

static char *document;

/* Calls check() for each name in backquotes of a row's second column; how many rows name the verb in the first. */
static int rows_of(const char *verb, void (*check)(const char *verb, const char *command))
{
	char begin[64];
	int rows = 0;

	snprintf(begin, sizeof(begin), "\n| `%s` |", verb);
	for (const char *row = document; (row = strstr(row, begin)); rows++) {
		row += strlen(begin);
		const char *end = row + strcspn(row, "|");
		for (const char *open = row; check && (open = memchr(open, '`', (size_t)(end - open)));) {
			const char *close = strchr(open + 1, '`');
			char name[64];

			assert_true(close && close < end);
			snprintf(name, sizeof(name), "%.*s", (int)(close - open - 1), open + 1);
			check(verb, name);
			open = close + 1;
		}
	}
	return rows;
}

static void command_exists(const char *verb, const char *command)
{
	if (!schema_command_find(command))
		fail_msg("'%s': there is no QMP command '%s'", verb, command);
}

/* The verbs are taken from the help: that is the table of verbs. */
static void test_every_verb(void **state)
{
	static const char *const argv[] = { "help", NULL };
	static struct program p;
	char *line, *save = NULL;
	int n = 0;

	(void)state;
	assert_int_equal(program_run(&p, "/nowhere", argv, -1), 0);
	char *verbs = strstr(p.out, "\nVerbs:\n");
	assert_non_null(verbs);
	*strstr(verbs, "\n\n") = '\0';
	for (line = strtok_r(verbs + strlen("\nVerbs:\n"), "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char verb[32];

		if (strncmp(line, "  ", 2) != 0 || line[2] == ' ' || sscanf(line, " %31s", verb) != 1 || strcmp(verb, "help") == 0)
			continue;
		if (rows_of(verb, command_exists) != 1)
			fail_msg("docs/automation.md must have one row for the verb '%s'", verb);
		n++;
	}
	assert_true(n >= 20);
}

/* What has no verb is said there too. */
static void test_every_command(void **state)
{
	size_t n;
	const struct schema_command *c = schema_commands(&n);
	char quoted[80];

	(void)state;
	for (; n > 0; n--, c++) {
		snprintf(quoted, sizeof(quoted), "`%s`", c->name);
		if (!strstr(document, quoted))
			fail_msg("docs/automation.md does not mention the command '%s'", c->name);
	}
}

static int setup(void **state)
{
	size_t len;

	return program_dir_make(state) < 0 ? -1 : read_file("docs/automation.md", 1 << 20, &document, &len);
}

static int teardown(void **state)
{
	free(document);
	return program_dir_remove(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_verb),
		cmocka_unit_test(test_every_command),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
