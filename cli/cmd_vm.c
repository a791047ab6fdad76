// SPDX-License-Identifier: GPL-2.0-or-later
/* add, remove, info, probe: verbs about a VM as a whole. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "cli/cli.h"
#include "protocol/util.h"

/*
 * vmpoked has a working directory of its own: a relative path would mean
 * another file there. Not realpath(): the socket may be a link that moves.
 */
json_t *cli_path_absolute(const char *path)
{
	_cleanup_free_ char *cwd = *path == '/' ? NULL : getcwd(NULL, 0);

	return cwd ? json_sprintf("%s/%s", cwd, path) : json_string(path);
}

json_t *agent_address(const char *agent)
{
	if (strncmp(agent, "unix:", 5) != 0 || agent[5] == '\0')
		return json_string(agent);
	json_auto_t *path = cli_path_absolute(agent + 5);

	return path ? json_sprintf("unix:%s", json_string_value(path)) : NULL;
}

static json_t *add_args(const struct cli *c)
{
	json_t *args = json_pack("{s:s, s:o}", "name", c->args[0], "qmp", cli_path_absolute(c->options.qmp));

	int r = 0;
	if (args && c->options.gdb)
		r |= json_object_set_new(args, "gdb", cli_path_absolute(c->options.gdb));
	if (args && c->options.agent)
		r |= json_object_set_new(args, "agent", agent_address(c->options.agent));
	if (args && c->options.adopt)
		r |= json_object_set_new(args, "adopt", json_true());
	if (args && c->options.agent_key)
		r |= json_object_set_new(args, "agent-key", json_string("fd:agent-key"));
	if (r == 0)
		return args;
	json_decref(args);
	return NULL;
}

/* The key itself never is an argument: vmpoked gets the open file. */
int agent_key_pass(struct cli *c, struct err *e)
{
	if (!c->options.agent_key)
		return 0;
	_cleanup_close_ int fd = open(c->options.agent_key, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return err_set(e, ERR_USAGE, errno, "", "--agent-key: %s: %s", c->options.agent_key, strerror(errno));
	return cli_pass_fd(c, "agent-key", fd, e);
}

int cmd_add(struct cli *c)
{
	json_auto_t *vm = NULL;
	struct err e = { 0 };

	if (!c->options.qmp) {
		err_set(&e, ERR_USAGE, EINVAL, "", "'add' needs --qmp PATH, the QMP socket of the VM's QEMU");
		return cli_fail(c, &e);
	}
	if (c->options.agent_key && !c->options.agent) {
		err_set(&e, ERR_USAGE, EINVAL, "", "'--agent-key' goes with '--agent ADDRESS'");
		return cli_fail(c, &e);
	}
	if (agent_key_pass(c, &e) < 0 || cli_call(c, "vm-add", add_args(c), JSON_OBJECT, &vm, &e) < 0)
		return cli_fail(c, &e);
	if (c->options.json)
		output_json(&c->out, vm);
	else if (output_bool(vm, "changed", true))
		fprintf(c->out.stream, "added %s (%s)\n", c->args[0], output_field(&c->out, vm, "state"));
	else
		fprintf(c->out.stream, "%s is already registered (%s)\n", c->args[0], output_field(&c->out, vm, "state"));
	return 0;
}

int cmd_remove(struct cli *c)
{
	json_t *args = json_pack("{s:s}", "vm", c->args[0]);
	json_auto_t *reply = NULL;
	struct err e = { 0 };

	if (args && c->options.keep_patches)
		json_object_set_new(args, "keep-patches", json_true());
	if (cli_call(c, "vm-remove", args, JSON_OBJECT, &reply, &e) < 0)
		return cli_fail(c, &e);
	if (c->options.json)
		output_json(&c->out, reply);
	else
		fprintf(c->out.stream, "removed %s\n", c->args[0]);
	return 0;
}

struct line {
	const char *label, *key;
};

static void lines_print(struct cli *c, json_t *object, const struct line *lines, size_t n)
{
	for (size_t i = 0; i < n; i++)
		output_line(&c->out, 2, lines[i].label, output_field(&c->out, object, lines[i].key));
}

int cmd_info(struct cli *c)
{
	static const struct line lines[] = {
		{ "state", "state" }, { "reason", "reason" }, { "kind", "kind" }, { "monitor", "qmp" },
		{ "gdbstub", "gdb" }, { "agent", "agent" }, { "uuid", "uuid" }, { "registered by", "origin" }, { "agent state", "agent_state" }, { "kernel", "kernel" },
		{ "process", "pid" }, { "accelerator", "accel" }, { "version", "version" }, { "vcpus", "vcpus" },
		{ "release", "release" }, { "build-id", "build_id" }, { "patches", "patches" },
	};
	json_auto_t *vm = NULL;
	struct err e = { 0 };

	if (cli_call(c, "query-vm", json_pack("{s:s}", "vm", c->args[0]), JSON_OBJECT, &vm, &e) < 0)
		return cli_fail(c, &e);
	if (c->options.json) {
		output_json(&c->out, vm);
		return 0;
	}
	output_title(&c->out, c->args[0]);
	lines_print(c, vm, lines, ARRAY_SIZE(lines));
	if (json_object_get(vm, "memory"))
		output_line(&c->out, 2, "memory", output_format(&c->out, "%" JSON_INTEGER_FORMAT " MiB", output_int(vm, "memory") >> 20));
	return 0;
}

static const char *word_add(struct cli *c, const char *text, const char *word)
{
	return strcmp(text, "-") == 0 ? word : output_format(&c->out, "%s, %s", text, word);
}

/* The true members of an object of booleans, or the strings of an array, in one line. */
static const char *words(struct cli *c, json_t *value)
{
	const char *text = "-", *key;
	json_t *item;
	size_t i;

	json_object_foreach(value, key, item) {
		if (json_is_true(item))
			text = word_add(c, text, key);
	}
	json_array_foreach(value, i, item) {
		if (json_is_string(item))
			text = word_add(c, text, json_string_value(item));
	}
	return output_safe(&c->out, text);
}

/* Each mode with what speaks for or against it. */
static void modes_print(struct cli *c, json_t *modes)
{
	struct output *o = &c->out;
	json_t *mode;
	size_t i;

	json_array_foreach(modes, i, mode) {
		output_line(o, 4, output_field(o, mode, "name"),
			    output_format(o, "%s%s", output_bool(mode, "available", true) ? "" : "no: ",
					  output_field(o, mode, "why")));
	}
}

static void abilities_print(struct cli *c, json_t *abilities)
{
	struct output *o = &c->out;
	json_t *ability;
	size_t i;

	if (json_array_size(abilities) > 0)
		fprintf(o->stream, "  %sthis KVM%s:\n", output_on(o, OUTPUT_LABEL), output_off(o));
	json_array_foreach(abilities, i, ability) {
		output_line(o, 4, output_field(o, ability, "name"), output_field(o, ability, "value"));
	}
}

static void probe_print(struct cli *c, json_t *probe)
{
	static const struct line lines[] = {
		{ "release", "release" }, { "banner", "banner" }, { "build-id", "build_id" }, { "base", "base" },
		{ "kaslr offset", "kaslr_offset" }, { "symbols", "symbols" }, { "kallsyms layout", "kallsyms_layout" },
		{ "paging levels", "paging_levels" }, { "kpti", "kpti" }, { "vcpus", "vcpus" },
		{ "accelerator", "accel" }, { "version", "version" },
	};
	struct output *o = &c->out;

	output_title(&c->out, c->args[0]);
	lines_print(c, probe, lines, ARRAY_SIZE(lines));
	output_line(o, 2, "agent", agent_summary(c, json_object_get(probe, "agent")));
	output_line(o, 2, "can", words(c, json_object_get(probe, "capabilities")));
	output_line(o, 2, "no live read", output_field(o, probe, "live_read_why"));
	output_line(o, 2, "patch modes", words(c, json_object_get(probe, "modes")));
	modes_print(c, json_object_get(probe, "modes_detail"));
	abilities_print(c, json_object_get(probe, "abilities"));
	if (c->options.verbosity >= 0)
		fprintf(o->stream, "  guest paused %s us, %s us of CPU, %s us in all%s\n",
			output_field(o, probe, "pause_us"), output_field(o, probe, "cpu_us"), output_field(o, probe, "elapsed_us"),
			output_bool(probe, "cached", false) ? " (from the cache)" : "");
}

int cmd_probe(struct cli *c)
{
	json_auto_t *probe = NULL;
	struct err e = { 0 };

	if (cli_job_call(c, "vm-probe", json_pack("{s:s}", "vm", c->args[0]), &probe, &e) < 0)
		return cli_fail(c, &e);
	if (probe && c->options.json)
		output_json(&c->out, probe);
	else if (probe)
		probe_print(c, probe);
	return 0;
}
