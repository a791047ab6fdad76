// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which VMs the VM argument means: a registered name, a UUID, pid:N, qmp:PATH, a pattern,
 * or --all; and the run of a verb over several of them. Must never go on after an error
 * that is not about one VM (a patch file that is missing, vmpoked gone): it would be the
 * same for the next.
 */
#include "cli/targets.h"

#include <errno.h>
#include <fnmatch.h>
#include <string.h>

#include "cli/cli.h"
#include "protocol/qmp.h"
#include "protocol/util.h"

#define UUID_SHAPE "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"

static bool is_uuid(const char *text)
{
	if (strlen(text) != strlen(UUID_SHAPE))
		return false;
	for (const char *shape = UUID_SHAPE; *shape; shape++, text++)
		if (*shape == '-' ? *text != '-' : !strchr("0123456789abcdefABCDEF", *text))
			return false;
	return true;
}

static bool is_pattern(const char *text)
{
	return strncmp(text, "qmp:", 4) != 0 && strpbrk(text, "*?[");
}

/* What vmpoked takes as it is. A name holds no ':'. */
static bool is_name(const char *text)
{
	return !is_uuid(text) && !is_pattern(text) && strncmp(text, "pid:", 4) != 0 && strncmp(text, "qmp:", 4) != 0;
}

const char *target_name(json_t *vm)
{
	const char *name = json_string_value(json_object_get(vm, "name"));

	return name ? name : "";
}

bool target_is_off(json_t *vm)
{
	const char *kind = json_string_value(json_object_get(vm, "kind"));
	const char *state = json_string_value(json_object_get(vm, "state"));

	return kind && state && strcmp(kind, "machine") == 0 && strcmp(state, "shutdown") == 0;
}

static bool member_is(json_t *vm, const char *key, const char *text)
{
	const char *value = json_string_value(json_object_get(vm, key));

	return value && strcasecmp(value, text) == 0;
}

static bool pid_is(json_t *vm, const char *text)
{
	json_t *pid = json_object_get(vm, "pid");
	char digits[24];

	snprintf(digits, sizeof(digits), "%" JSON_INTEGER_FORMAT, json_integer_value(pid));
	return json_is_integer(pid) && strcmp(digits, text) == 0;
}

/* The same path as 'add' would have sent: vmpoked and we may be in different folders. */
static bool monitor_is(json_t *vm, const char *path)
{
	const char *qmp = json_string_value(json_object_get(vm, "qmp"));
	json_auto_t *absolute = cli_path_absolute(path);

	return qmp && absolute && strcmp(qmp, json_string_value(absolute)) == 0;
}

static bool matches(json_t *vm, const char *arg)
{
	if (!arg)
		return true;
	if (strcmp(target_name(vm), arg) == 0)
		return true;
	if (strncmp(arg, "pid:", 4) == 0)
		return pid_is(vm, arg + 4);
	if (strncmp(arg, "qmp:", 4) == 0)
		return monitor_is(vm, arg + 4);
	if (is_uuid(arg))
		return member_is(vm, "uuid", arg);
	return fnmatch(arg, target_name(vm), 0) == 0;
}

/* Those of vms that arg means, NULL: all. Machines that are off have no guest: left out where several are meant. */
static int targets_find(json_t *vms, const char *arg, bool several, json_t **ret, struct err *e)
{
	json_auto_t *found = json_array();
	bool off = false;
	json_t *vm;
	size_t i;

	json_array_foreach(vms, i, vm) {
		if (!matches(vm, arg))
			continue;
		if (several && target_is_off(vm))
			off = true;
		else if (json_array_append(found, vm) < 0)
			return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	}
	if (json_array_size(found) == 0 && off)
		return err_set(e, ERR_NOT_FOUND, ENOENT, "", "all VMs meant by '%s' are shut down", arg ? arg : "--all");
	if (json_array_size(found) == 0 && arg)
		return err_set(e, ERR_NOT_FOUND, ENOENT, "", "no VM is meant by '%s'; see 'vmpoke list'", arg);
	*ret = json_incref(found);
	return 0;
}

/* How the VMs of one run fared. */
struct tally {
	size_t done, failed;
	int code;  /* of those that failed, while it is the same for all */
	bool mixed;
};

static void tally_add(struct tally *t, int code)
{
	t->done += code == 0;
	t->failed += code != 0;
	t->mixed |= code && t->code && t->code != code;
	t->code = code ? code : t->code;
}

static int tally_code(const struct tally *t)
{
	return t->mixed || (t->failed && t->done) ? err_exit_code(ERR_PARTIAL) : t->code;
}

/* With --json a VM without an answer has its error in the list. */
static void failure_document(struct cli *c)
{
	json_auto_t *o = json_pack("{s:s, s:o}", "vm", c->args[0], "error", qmp_error_to_json(&c->failed));

	if (o)
		output_json(&c->out, o);
	else
		c->out.failed = true;
}

static int run_one(struct cli *c, const char *name)
{
	size_t documents = c->out.documents;

	c->args[0] = name;
	c->failed = (struct err){ 0 };
	int code = c->verb->run(c);
	if (c->options.json && c->out.documents == documents)
		failure_document(c);
	output_clear(&c->out);
	return code;
}

static int run_each(struct cli *c, json_t *vms)
{
	size_t i, n = json_array_size(vms);
	struct tally t = { 0 };
	json_t *vm;

	output_list_begin(&c->out, c->options.json);
	json_array_foreach(vms, i, vm) {
		tally_add(&t, run_one(c, target_name(vm)));
		if (c->failed.kind != ERR_NONE && !*c->failed.vm)
			break;
	}
	output_list_end(&c->out);
	if (t.done + t.failed < n)
		fprintf(stderr, "vmpoke: %zu of %zu VMs were not tried\n", n - t.done - t.failed, n);
	else if (t.failed && n > 1)
		fprintf(stderr, "vmpoke: %s: %zu of %zu VMs did not succeed\n", c->verb->name, t.failed, n);
	return tally_code(&t);
}

bool cli_verb_takes_vm(const struct cli_verb *verb)
{
	const char *args = verb->args + (verb->args[0] == '[');

	return strncmp(args, "VM", 2) == 0 && (args[2] == '\0' || args[2] == ' ' || args[2] == ']');
}

static int several_wanted(struct cli *c, json_t *found, struct err *e)
{
	if (c->verb->options & CLI_OPT_TARGETS || json_array_size(found) == 1)
		return 0;
	return err_set(e, ERR_USAGE, EINVAL, "", "'%s' means %zu VMs; '%s' takes one", c->args[0], json_array_size(found),
		       c->verb->name);
}

int cli_run_targets(struct cli *c)
{
	json_auto_t *vms = NULL, *found = NULL;
	const char *arg = c->options.all ? NULL : c->args[0];
	struct err e = { 0 };

	if (!c->options.all && (!cli_verb_takes_vm(c->verb) || c->n_args == 0 || is_name(arg)))
		return c->verb->run(c);
	bool several = !arg || is_pattern(arg);
	int r = cli_call(c, "query-vms", json_object(), JSON_ARRAY, &vms, &e);
	if (r >= 0)
		r = targets_find(vms, arg, several, &found, &e);
	if (r >= 0 && several)
		r = several_wanted(c, found, &e);
	if (r < 0)
		return cli_fail(c, &e);
	if (several && c->verb->options & CLI_OPT_TARGETS) {
		c->several = true;
		return run_each(c, found);
	}
	c->args[0] = target_name(json_array_get(found, 0));
	return c->verb->run(c);
}
