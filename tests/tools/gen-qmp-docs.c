// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Prints docs/qmp-commands.md from the schema table:
 *   cc -I. tests/tools/gen-qmp-docs.c build/libprotocol.a -ljansson -lyaml && ./a.out > docs/qmp-commands.md
 */
#include <stdio.h>

#include "protocol/schema.h"

static const char *type_name(enum schema_type type)
{
	static const char *const names[] = {
		[SCHEMA_STR] = "string",   [SCHEMA_INT] = "integer",   [SCHEMA_BOOL] = "boolean",
		[SCHEMA_ADDRESS] = "address", [SCHEMA_OBJECT] = "object", [SCHEMA_ARRAY] = "array",
		[SCHEMA_NUMBER] = "number", [SCHEMA_OBJECTS] = "array",
	};

	return names[type];
}

static void print_limits(const struct schema_arg *a)
{
	if (a->type == SCHEMA_INT)
		printf(" %lld..%lld", (long long)a->min, (long long)a->max);
	else if (a->type == SCHEMA_STR && a->max)
		printf(" of at most %lld bytes", (long long)a->max);
}

static void print_members(const char *title, const struct schema_arg *m, bool arguments)
{
	if (!m->name)
		return;
	printf("\n%s:\n\n", title);
	for (; m->name; m++) {
		if (m->internal)
			continue;
		printf("- `%s` (%s", m->name, type_name(m->type));
		if (arguments)
			print_limits(m);
		printf("%s): %s\n", m->optional ? ", optional" : "", m->doc);
	}
}

static void print_command(const struct schema_command *c)
{
	printf("\n### %s\n\n%s%s%s\n\nClass: %s%s%s.\n", c->name, c->doc,
	       schema_on_read_only_socket(c) ? "" : " Not on the read-only socket.", c->job ? " May run as a job." : "",
	       c->class == SCHEMA_CLASS_JOB ? "that of the job's command" : schema_class_name(c->class),
	       c->also != SCHEMA_CLASS_NONE ? " and " : "", c->also != SCHEMA_CLASS_NONE ? schema_class_name(c->also) : "");
	print_members("Arguments", c->args, true);
	if (c->returns[0].name)
		print_members(c->returns_array ? "Returns an array of objects" : "Returns", c->returns, false);
	else
		printf("\nReturns `{}`.\n");
}

int main(void)
{
	size_t n, k;
	const struct schema_command *c = schema_commands(&n);
	const struct schema_event *ev = schema_events(&k);

	printf("# Commands and events of vmpoked\n\n"
	       "Generated from `protocol/schema_table.c` by `tests/tools/gen-qmp-docs.c`; do not edit.\n"
	       "How messages look on the socket is in [protocol/PROTOCOL.md](../protocol/PROTOCOL.md).\n"
	       "An *address* is a string: `\"0x\"` and up to 16 hex digits.\n\n## Commands\n");
	for (size_t i = 0; i < n; i++)
		print_command(&c[i]);
	printf("\n## Events\n");
	for (size_t i = 0; i < k; i++) {
		printf("\n### %s\n\n%s\n", ev[i].name, ev[i].doc);
		print_members("Data", ev[i].data, false);
	}
	return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
