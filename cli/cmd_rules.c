// SPDX-License-Identifier: GPL-2.0-or-later
/* install, uninstall, rules: which patches are to be in which VMs, and what became of that. All decisions are vmpoked's. */
#include <errno.h>
#include <string.h>

#include "cli/cli.h"
#include "protocol/patchfile.h"
#include "protocol/util.h"

/* Rules outlive what a VM knows of a name: they need the file. */
static json_t *install_args(struct cli *c, struct err *e)
{
	json_auto_t *args = json_pack("{s:s}", "pattern", c->args[0]);

	if (patch_arg_add(c->args[1], true, args, e) < 0)
		return NULL;
	if (!json_object_get(args, "text")) {
		err_set(e, ERR_USAGE, EINVAL, "", "'%s' is not a file: a patch is installed from its file", c->args[1]);
		return NULL;
	}
	if (c->options.n_build_ids > 1) {
		err_set(e, ERR_USAGE, EINVAL, "", "a rule has one '--build-id': a pattern, or one rule for each");
		return NULL;
	}
	if (manifest_arg_add(c, c->args[1], args, e) < 0)
		return NULL;
	patch_options_add(c, args);
	if (c->options.priority)
		json_object_set_new(args, "priority", json_integer(c->options.priority));
	if (c->options.n_build_ids)
		json_object_set_new(args, "build-id", json_string(c->options.build_ids[0]));
	return json_incref(args);
}

int cmd_install(struct cli *c)
{
	struct output *o = &c->out;
	json_auto_t *rule = NULL;
	struct err e = { 0 };
	json_t *args = install_args(c, &e);

	if (!args || cli_call(c, "rule-add", args, JSON_OBJECT, &rule, &e) < 0)
		return cli_fail(c, &e);
	if (c->options.json)
		output_json(o, rule);
	else if (output_bool(rule, "changed", true))
		fprintf(o->stream, "installed %s in %s as rule %s; registered VMs that match: %s\n", output_field(o, rule, "patch"),
			output_field(o, rule, "pattern"), output_field(o, rule, "rule"), output_field(o, rule, "matches"));
	else
		fprintf(o->stream, "%s is already installed in %s (rule %s)\n", output_field(o, rule, "patch"),
			output_field(o, rule, "pattern"), output_field(o, rule, "rule"));
	return 0;
}

/* vmpoked leaves off before its answer gets too large. */
static int rules_fetch(struct cli *c, json_t *all, struct err *e)
{
	for (;;) {
		json_auto_t *some = NULL;
		json_t *args = json_pack("{s:I}", "start", (json_int_t)json_array_size(all));
		int r = cli_call(c, "query-rules", args, JSON_ARRAY, &some, e);

		if (r < 0 || json_array_size(some) == 0)
			return r;
		if (json_array_extend(all, some) < 0)
			return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	}
}

/* Who may remove a rule is decided by its pattern. */
static json_t *args_of_number(struct cli *c, json_int_t number, struct err *e)
{
	json_auto_t *rules = json_array();
	json_t *rule;
	size_t i;

	if (rules_fetch(c, rules, e) < 0)
		return NULL;
	json_array_foreach(rules, i, rule)
		if (output_int(rule, "rule") == number)
			return json_pack("{s:O, s:O}", "pattern", json_object_get(rule, "pattern"), "patch", json_object_get(rule, "patch"));
	err_set(e, ERR_NOT_FOUND, ENOENT, "", "there is no rule %" JSON_INTEGER_FORMAT "; see 'vmpoke rules'", number);
	return NULL;
}

/* PATTERN and PATCH, or the number of a rule. */
static json_t *uninstall_args(struct cli *c, struct err *e)
{
	char name[PATCHFILE_NAME_MAX + 1];
	size_t digits = strspn(c->args[0], "0123456789");

	if (c->n_args == 2)
		return patch_arg_name(c->args[1], name, sizeof(name), e) < 0 ? NULL :
			json_pack("{s:s, s:s}", "pattern", c->args[0], "patch", name);
	if (digits >= 1 && digits <= 9 && !c->args[0][digits])
		return args_of_number(c, (json_int_t)strtol(c->args[0], NULL, 10), e);
	err_set(e, ERR_USAGE, EINVAL, "", "'%s' is not the number of a rule; give its pattern and the patch, or see 'vmpoke rules'",
		c->args[0]);
	return NULL;
}

int cmd_uninstall(struct cli *c)
{
	struct output *o = &c->out;
	json_auto_t *rule = NULL;
	struct err e = { 0 };
	json_t *args = uninstall_args(c, &e);

	if (!args || cli_call(c, "rule-remove", args, JSON_OBJECT, &rule, &e) < 0)
		return cli_fail(c, &e);
	if (c->options.json)
		output_json(o, rule);
	else if (output_bool(rule, "changed", true))
		fprintf(o->stream, "uninstalled %s from %s; where it is applied it stays until it is reverted\n",
			output_field(o, rule, "patch"), output_field(o, rule, "pattern"));
	else
		fprintf(o->stream, "there is no such rule\n");
	return 0;
}

#define VMS_NAMED 4 /* more of them are counted */

/* "12 applied, 2 waiting" */
static const char *vms_count(struct cli *c, json_t *vms)
{
	struct output *o = &c->out;
	json_auto_t *counts = json_object();
	const char *text = "", *state;
	json_t *vm, *count;
	size_t i;

	json_array_foreach(vms, i, vm) {
		state = output_field(o, vm, "state");
		json_object_set_new(counts, state, json_integer(output_int(counts, state) + 1));
	}
	json_object_foreach(counts, state, count)
		text = output_format(o, "%s%s%" JSON_INTEGER_FORMAT " %s", text, *text ? ", " : "", json_integer_value(count), state);
	return text;
}

/* "web1 applied, web2 refused" */
static const char *vms_line(struct cli *c, json_t *vms)
{
	struct output *o = &c->out;
	const char *text = "";
	json_t *vm;
	size_t i;

	if (json_array_size(vms) > VMS_NAMED)
		return vms_count(c, vms);
	json_array_foreach(vms, i, vm)
		text = output_format(o, "%s%s%s %s", text, i ? ", " : "", output_field(o, vm, "vm"), output_field(o, vm, "state"));
	return *text ? text : "-";
}

static int rules_table(struct cli *c, json_t *rules, struct err *e)
{
	static const char *const heads[] = { "RULE", "PRIORITY", "PATTERN", "BUILD_ID", "PATCH", "VMS" };
	static const char *const keys[] = { "rule", "priority", "pattern", "build_id", "patch" };
	_cleanup_free_ const char **cells = calloc(json_array_size(rules) + 1, sizeof(heads));
	size_t i, n = 0;
	json_t *rule;

	if (!cells)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	json_array_foreach(rules, i, rule) {
		for (size_t k = 0; k < ARRAY_SIZE(keys); k++)
			cells[n++] = output_field(&c->out, rule, keys[k]);
		cells[n++] = vms_line(c, json_object_get(rule, "vms"));
	}
	if (json_array_size(rules) > 0)
		output_table(&c->out, heads, ARRAY_SIZE(heads), cells, json_array_size(rules));
	else if (c->out.tty)
		fputs("nothing is installed; 'vmpoke install PATTERN FILE' does\n", c->out.stream);
	return 0;
}

int cmd_rules(struct cli *c)
{
	json_auto_t *rules = json_array();
	struct err e = { 0 };

	if (rules_fetch(c, rules, &e) < 0)
		return cli_fail(c, &e);
	if (c->options.json)
		output_json(&c->out, rules);
	else if (rules_table(c, rules, &e) < 0)
		return cli_fail(c, &e);
	return 0;
}

/* A vmpoked that has no rules says nothing of them. */
bool desired_met(json_t *answer)
{
	return output_bool(answer, "as_desired", true);
}

static void evidence_print(struct cli *c, json_t *p)
{
	struct output *o = &c->out;

	output_line(o, 6, "rule", output_format(o, "%s, pattern %s, priority %s", output_field(o, p, "rule"), output_field(o, p, "pattern"),
						output_field(o, p, "priority")));
	output_line(o, 6, "added by", output_user(o, json_object_get(p, "added_by")));
	output_line(o, 6, "build-id", output_field(o, p, "build_id"));
	output_line(o, 6, "since", output_time(o, output_int(p, "since")));
	if (output_int(p, "tries") > 0)
		output_line(o, 6, "tries", output_field(o, p, "tries"));
	output_line(o, 6, "refused by", output_field(o, p, "refusal"));
}

void desired_print(struct cli *c, json_t *answer)
{
	struct output *o = &c->out;
	json_t *list = json_object_get(answer, "desired"), *p;
	size_t i;

	if (json_array_size(list) == 0)
		return;
	fprintf(o->stream, "\n  %sinstalled%s:\n", output_on(o, OUTPUT_LABEL), output_off(o));
	json_array_foreach(list, i, p) {
		const char *why = output_field(o, p, "why");
		bool silent = strcmp(why, "-") == 0;

		output_line(o, 4, output_field(o, p, "patch"),
			    output_format(o, "%s%s%s", output_field(o, p, "state"), silent ? "" : ": ", silent ? "" : why));
		if (c->options.why)
			evidence_print(c, p);
	}
}
