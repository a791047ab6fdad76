// SPDX-License-Identifier: GPL-2.0-or-later
/* list: the registered VMs as a table; watch.c repeats it. */
#include "cli/list.h"

#include <errno.h>
#include <string.h>

#include "cli/cli.h"
#include "protocol/util.h"

static enum output_style state_style(const char *state)
{
	static const struct {
		const char *state;
		enum output_style style;
	} styles[] = {
		{ "running", OUTPUT_GOOD }, { "paused", OUTPUT_WARN }, { "starting", OUTPUT_WARN },
		{ "broken", OUTPUT_BAD },   { "unreachable", OUTPUT_BAD },
	};

	for (size_t i = 0; i < ARRAY_SIZE(styles); i++)
		if (strcmp(styles[i].state, state) == 0)
			return styles[i].style;
	return OUTPUT_PLAIN;
}

static const char *cell(struct cli *c, json_t *vm, const char *key)
{
	const char *value = output_field(&c->out, vm, key);

	return strcmp(key, "state") == 0 ? output_styled(&c->out, state_style(value), value) : value;
}

int list_print(struct cli *c, json_t *vms, size_t rows, struct err *e)
{
	static const char *const heads[] = { "NAME", "STATE", "VCPUS", "ACCEL", "PATCHES", "RELEASE" };
	static const char *const keys[] = { "name", "state", "vcpus", "accel", "patches", "release" };
	size_t all = json_array_size(vms), n = all < rows ? all : rows;
	_cleanup_free_ const char **cells = calloc(n ? n : 1, sizeof(keys));

	if (!cells)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < ARRAY_SIZE(keys); k++)
			cells[i * ARRAY_SIZE(keys) + k] = cell(c, json_array_get(vms, i), keys[k]);
	if (n > 0)
		output_table(&c->out, heads, ARRAY_SIZE(keys), cells, n);
	else if (c->out.tty)
		fputs("no VMs; 'vmpoke add NAME --qmp PATH' registers one, 'vmpoke run' starts one\n", c->out.stream);
	if (n < all)
		fprintf(c->out.stream, "... and %zu more\n", all - n);
	return 0;
}

int cmd_list(struct cli *c)
{
	json_auto_t *vms = NULL;
	struct err e = { 0 };

	if (c->options.watch)
		return list_watch(c);
	if (cli_call(c, "query-vms", json_object(), JSON_ARRAY, &vms, &e) < 0)
		return cli_fail(c, &e);
	if (c->options.json)
		output_json(&c->out, vms);
	else if (list_print(c, vms, SIZE_MAX, &e) < 0)
		return cli_fail(c, &e);
	return 0;
}
