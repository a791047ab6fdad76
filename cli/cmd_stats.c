// SPDX-License-Identifier: GPL-2.0-or-later
/* stats: what was done since vmpoked was started. The figures are vmpoked's; here they are only added up. */
#include <errno.h>
#include <string.h>

#include "cli/cli.h"
#include "protocol/util.h"

#define PAGES_MAX 64

/* All pages as one answer. */
static int stats_fetch(struct cli *c, json_t **ret, struct err *e)
{
	json_auto_t *all = NULL;
	json_int_t start = 0;

	for (int page = 0; page < PAGES_MAX && start >= 0; page++) {
		json_t *args = json_pack("{s:I}", "start", start), *got = NULL;

		if (c->n_args == 1)
			json_object_set_new(args, "vm", json_string(c->args[0]));
		int r = cli_call(c, "query-stats", args, JSON_OBJECT, &got, e);
		if (r < 0)
			return r;
		json_t *next = json_object_get(got, "next"), *vms = json_object_get(got, "vms");
		bool good = json_is_integer(next) && json_is_array(vms) && (json_integer_value(next) > start || json_integer_value(next) == -1);
		start = json_integer_value(next);
		if (!all)
			all = json_incref(got);
		else if (good)
			json_array_extend(json_object_get(all, "vms"), vms);
		json_decref(got);
		if (!good)
			return cli_lost(c, "query-stats", -EPROTO, e);
	}
	*ret = json_incref(all);
	return 0;
}

/* How many changes of these names; NULL is any. */
static json_int_t changes_sum(json_t *vm, const char *operation, const char *result)
{
	json_int_t sum = 0;
	json_t *change;
	size_t i;

	json_array_foreach(json_object_get(vm, "changes"), i, change) {
		const char *op = json_string_value(json_object_get(change, "operation"));
		const char *what = json_string_value(json_object_get(change, "result"));

		if (op && what && (!operation || strcmp(op, operation) == 0) && (!result || strcmp(what, result) == 0))
			sum += output_int(change, "count");
	}
	return sum;
}

static const char *number(struct cli *c, json_int_t n)
{
	return output_format(&c->out, "%" JSON_INTEGER_FORMAT, n);
}

/* Everything that is neither a change nor no change. */
static json_int_t failures_sum(json_t *vm)
{
	return changes_sum(vm, NULL, NULL) - changes_sum(vm, NULL, "changed") - changes_sum(vm, NULL, "unchanged");
}

static void row_fill(struct cli *c, json_t *vm, const char **cells)
{
	struct output *o = &c->out;
	json_t *pause = json_object_get(vm, "pause");
	size_t n = 0;

	cells[n++] = output_field(o, vm, "vm");
	cells[n++] = output_field(o, vm, "state");
	cells[n++] = output_field(o, vm, "patches");
	cells[n++] = number(c, changes_sum(vm, "apply", "changed") + changes_sum(vm, "replace", "changed"));
	cells[n++] = number(c, changes_sum(vm, "revert", "changed"));
	cells[n++] = number(c, failures_sum(vm));
	cells[n++] = output_field(o, vm, "barriers");
	cells[n++] = output_field(o, vm, "forced_exits");
	cells[n++] = output_field(o, vm, "retries");
	cells[n++] = output_field(o, pause, "max_us");
	cells[n++] = number(c, output_int(vm, "worker_rss") / 1024);
}

static int table_print(struct cli *c, json_t *vms, struct err *e)
{
	static const char *const heads[] = { "VM",	 "STATE",   "PATCHES",	    "APPLIED", "REVERTED", "FAILED",
					     "BARRIERS", "EXITS",   "RETRIES", "MAX_PAUSE_US", "WORKER_KIB" };
	_cleanup_free_ const char **cells = calloc(json_array_size(vms) + 1, sizeof(heads));
	json_t *vm;
	size_t i;

	if (!cells)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	json_array_foreach(vms, i, vm)
		row_fill(c, vm, cells + i * ARRAY_SIZE(heads));
	output_table(&c->out, heads, ARRAY_SIZE(heads), cells, json_array_size(vms));
	return 0;
}

static void daemon_print(struct cli *c, json_t *d)
{
	struct output *o = &c->out;

	fprintf(o->stream, "vmpoked: up %" JSON_INTEGER_FORMAT " s, %" JSON_INTEGER_FORMAT " KiB, %s VMs, %s workers, %s clients, %s jobs, "
		"%s requests refused\n", output_int(d, "uptime_us") / 1000000, output_int(d, "rss") / 1024, output_field(o, d, "vms"),
		output_field(o, d, "workers"), output_field(o, d, "clients"), output_field(o, d, "jobs"), output_field(o, d, "refused"));
}

int cmd_stats(struct cli *c)
{
	json_auto_t *stats = NULL;
	struct err e = { 0 };

	if (stats_fetch(c, &stats, &e) < 0)
		return cli_fail(c, &e);
	if (c->options.json) {
		output_json(&c->out, stats);
		return 0;
	}
	if (c->n_args == 0)
		daemon_print(c, json_object_get(stats, "daemon"));
	return table_print(c, json_object_get(stats, "vms"), &e) < 0 ? cli_fail(c, &e) : 0;
}
