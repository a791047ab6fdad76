// SPDX-License-Identifier: GPL-2.0-or-later
/* status, verify, history: what is in a guest, whether it is still so, how it came about. */
#include <errno.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/targets.h"
#include "protocol/patchfile.h"
#include "protocol/util.h"

static const char *state_colored(struct output *o, const char *state)
{
	enum output_style style = strcmp(state, "applied") == 0 ? OUTPUT_GOOD : OUTPUT_BAD;

	return output_format(o, "%s%s%s", output_on(o, style), state, output_off(o));
}

static void site_print(struct cli *c, json_t *site)
{
	struct output *o = &c->out;
	const char *symbol = output_field(o, site, "symbol"), *address = output_field(o, site, "address");

	if (c->options.verbosity > 0)
		symbol = output_format(o, "%s (%s)", symbol, address);
	output_line(o, 4, symbol, output_format(o, "%s -> %s", output_bytes(o, site, "old"), output_bytes(o, site, "new")));
}

static void patch_print(struct cli *c, json_t *patch)
{
	struct output *o = &c->out;
	json_t *site;
	size_t i;

	fprintf(o->stream, "\n  %spatch%s: %s%s%s\n", output_on(o, OUTPUT_LABEL), output_off(o), output_on(o, OUTPUT_SUBTITLE),
		output_field(o, patch, "name"), output_off(o));
	output_line(o, 4, "state", state_colored(o, output_field(o, patch, "state")));
	output_line(o, 4, "since", output_time(o, output_int(patch, "applied_at")));
	output_line(o, 4, "description", output_field(o, patch, "description"));
	json_array_foreach(json_object_get(patch, "sites"), i, site) {
		site_print(c, site);
	}
}

/* Those that no patch leads to any more; the others are part of their patch. */
static void unused_print(struct cli *c, json_t *payloads)
{
	struct output *o = &c->out;
	json_t *p;
	size_t i;

	json_array_foreach(payloads, i, p)
		if (strcmp(output_field(o, p, "state"), "unused") == 0)
			output_line(o, 2, "kept", output_format(o, "payload of %s at %s, %s bytes: no patch leads there any more",
								output_field(o, p, "patch"), output_field(o, p, "address"),
								output_field(o, p, "size")));
}

static void status_print(struct cli *c, json_t *status)
{
	struct output *o = &c->out;
	json_t *patch, *patches = json_object_get(status, "patches");
	size_t i;

	output_title(o, output_field(o, status, "vm"));
	output_line(o, 2, "release", output_field(o, status, "release"));
	if (json_array_size(patches) == 0)
		output_line(o, 2, "patches", "none");
	json_array_foreach(patches, i, patch) {
		patch_print(c, patch);
	}
	unused_print(c, json_object_get(status, "payloads"));
	desired_print(c, status);
}

static int status_fetch(struct cli *c, const char *vm, json_t **ret, struct err *e)
{
	json_auto_t *status = NULL;
	int r = cli_call(c, "query-patches", json_pack("{s:s}", "vm", vm), JSON_OBJECT, &status, e);

	if (r < 0)
		return r;
	if (!json_is_array(json_object_get(status, "patches")))
		return cli_lost(c, "query-patches", -EPROTO, e);
	*ret = json_incref(status);
	return 0;
}

/* A VM that does not answer must not hide the others: it is reported and the exit code says "partly". */
static int status_of_each(struct cli *c, json_t *vms, json_t *all, struct err *e)
{
	size_t i, failed = 0;
	json_t *vm;

	json_array_foreach(vms, i, vm) {
		json_auto_t *status = NULL;
		const char *name = json_string_value(json_object_get(vm, "name"));

		if (target_is_off(vm))
			continue;
		int r = status_fetch(c, name ? name : "", &status, e);

		if (r >= 0 && json_array_append(all, status) < 0)
			r = err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
		if (r < 0 && e->kind == ERR_UNREACHABLE)
			return r;
		if (r < 0) {
			cli_fail(c, e);
			failed++;
		}
	}
	return failed ? err_set(e, ERR_PARTIAL, EIO, "", "%zu of %zu VMs did not answer", failed, json_array_size(vms)) : 0;
}

static void status_print_all(struct cli *c, json_t *all)
{
	json_t *status;
	size_t i;

	if (c->options.json) {
		output_json(&c->out, all);
		return;
	}
	json_array_foreach(all, i, status) {
		status_print(c, status);
	}
}

static bool all_as_desired(json_t *all)
{
	json_t *status;
	size_t i;

	json_array_foreach(all, i, status)
		if (!desired_met(status))
			return false;
	return true;
}

static int status_all(struct cli *c)
{
	json_auto_t *vms = NULL, *all = json_array();
	struct err e = { 0 };

	if (!all)
		err_set(&e, ERR_FAILED, ENOMEM, "", "out of memory");
	if (!all || cli_call(c, "query-vms", json_object(), JSON_ARRAY, &vms, &e) < 0)
		return cli_fail(c, &e);
	int r = status_of_each(c, vms, all, &e);
	status_print_all(c, all);
	return r < 0 ? cli_fail(c, &e) : all_as_desired(all) ? 0 : CLI_EXIT_NOT_APPLIED;
}

/* Leaves only the patch called name, and says what its state means for the exit code. */
static int status_narrow(json_t *status, const char *name)
{
	json_t *patches = json_object_get(status, "patches");
	int code = CLI_EXIT_NOT_APPLIED;

	for (size_t i = json_array_size(patches); i-- > 0;) {
		json_t *patch = json_array_get(patches, i);
		const char *found = json_string_value(json_object_get(patch, "name"));
		const char *state = json_string_value(json_object_get(patch, "state"));

		if (!found || !state || strcmp(found, name) != 0)
			json_array_remove(patches, i);
		else if (strcmp(state, "applied") == 0)
			code = 0;
		else if (strcmp(state, "attention") == 0)
			code = CLI_EXIT_ATTENTION;
	}
	return code;
}

int cmd_status(struct cli *c)
{
	char name[PATCHFILE_NAME_MAX + 1];
	json_auto_t *status = NULL;
	struct err e = { 0 };
	int code = 0;

	if (c->n_args == 0)
		return status_all(c);
	if (c->n_args == 2 && patch_arg_name(c->args[1], name, sizeof(name), &e) < 0)
		return cli_fail(c, &e);
	if (status_fetch(c, c->args[0], &status, &e) < 0)
		return cli_fail(c, &e);
	if (c->n_args == 2)
		code = status_narrow(status, name);
	else if (!desired_met(status))
		code = CLI_EXIT_NOT_APPLIED;
	if (c->options.json)
		output_json(&c->out, status);
	else if (c->n_args == 2 && json_array_size(json_object_get(status, "patches")) == 0)
		fprintf(c->out.stream, "%s is not applied to %s\n", name, c->args[0]);
	else
		status_print(c, status);
	return code;
}

/* The guest's word, which decides nothing. */
static void seen_print(struct cli *c, json_t *seen)
{
	struct output *o = &c->out;
	json_t *d;
	size_t i;

	json_array_foreach(seen, i, d) {
		fprintf(o->stream, "%s%s: %s (%s): expected %s, the guest's agent says it sees %s\n", cli_vm_prefix(c),
			output_field(o, d, "patch"),
			output_field(o, d, "symbol"), output_field(o, d, "address"), output_bytes(o, d, "expected"),
			output_bytes(o, d, "found"));
	}
}

static void differences_print(struct cli *c, json_t *differences)
{
	struct output *o = &c->out;
	json_t *d;
	size_t i;

	json_array_foreach(differences, i, d) {
		fprintf(o->stream, "%s%s: %s (%s): expected %s, found %s (%s)\n", cli_vm_prefix(c), output_field(o, d, "patch"),
			output_field(o, d, "symbol"), output_field(o, d, "address"), output_bytes(o, d, "expected"),
			output_bytes(o, d, "found"), output_field(o, d, "holds"));
	}
}

int cmd_verify(struct cli *c)
{
	json_auto_t *result = NULL;
	struct err e = { 0 };

	if (cli_job_call(c, "patch-verify", json_pack("{s:s}", "vm", c->args[0]), &result, &e) < 0)
		return cli_fail(c, &e);
	if (!result)
		return 0;
	if (!json_is_boolean(json_object_get(result, "ok"))) {
		cli_lost(c, "patch-verify", -EPROTO, &e);
		return cli_fail(c, &e);
	}
	bool ok = output_bool(result, "ok", false);
	if (c->options.json)
		output_json(&c->out, result);
	else if (ok)
		fprintf(c->out.stream, "%s is as journaled (patches: %s, sites: %s)\n", c->args[0],
			output_field(&c->out, result, "patches"), output_field(&c->out, result, "sites"));
	else
		differences_print(c, json_object_get(result, "differences"));
	if (!c->options.json) {
		seen_print(c, json_object_get(result, "agent_sees"));
		agent_use_print(c, json_object_get(result, "agent"));
	}
	return ok ? 0 : CLI_EXIT_ATTENTION;
}

static json_t *history_args(const struct cli *c)
{
	json_t *args = json_pack("{s:s}", "vm", c->args[0]);

	if (args && c->options.limit)
		json_object_set_new(args, "limit", json_integer(c->options.limit));
	return args;
}

static int history_table(struct cli *c, json_t *entries, struct err *e)
{
	static const char *const heads[] = { "TIME",     "ID",	     "OPERATION", "PATCH", "RESULT",
					      "MODE",     "PAUSE_US", "ELAPSED_US", "BY", "ERROR" };
	static const char *const keys[] = { NULL,   "transaction",	"operation",  "patch", "result",
					    "mode", "longest_pause_us", "elapsed_us", "by", "error" };
	_cleanup_free_ const char **cells = calloc(json_array_size(entries) + 1, sizeof(keys));
	size_t i, n = 0;
	json_t *entry;

	if (!cells)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	json_array_foreach(entries, i, entry) {
		cells[n++] = output_time(&c->out, output_int(entry, "time"));
		for (size_t k = 1; k < ARRAY_SIZE(keys); k++)
			cells[n++] = strcmp(keys[k], "by") == 0 ? output_user(&c->out, json_object_get(json_object_get(entry, keys[k]), "uid")) :
								  output_field(&c->out, entry, keys[k]);
	}
	output_table(&c->out, heads, ARRAY_SIZE(keys), cells, json_array_size(entries));
	return 0;
}

int cmd_history(struct cli *c)
{
	json_auto_t *history = NULL;
	struct err e = { 0 };

	if (c->options.trace)
		return history_trace(c);
	if (c->options.id) {
		err_set(&e, ERR_USAGE, EINVAL, "", "'--id' goes with '--trace FILE'");
		return cli_fail(c, &e);
	}
	if (cli_call(c, "query-history", history_args(c), JSON_OBJECT, &history, &e) < 0)
		return cli_fail(c, &e);
	if (c->options.json)
		output_json(&c->out, history);
	else if (history_table(c, json_object_get(history, "entries"), &e) < 0)
		return cli_fail(c, &e);
	return 0;
}
