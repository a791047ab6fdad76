// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * check, apply, revert. All decisions are vmpoked's; here are only the request,
 * the sentence that says what happened, and the figures that were measured.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "cli/cli.h"
#include "protocol/patchfile.h"
#include "protocol/util.h"

/* Opened here, with the user's rights. O_NONBLOCK: a FIFO must not hang us. */
static int vmlinux_pass(struct cli *c, json_t *args, struct err *e)
{
	const char *path = c->options.vmlinux;

	if (!path)
		return 0;
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return err_set(e, ERR_USAGE, errno, "", "--vmlinux: %s: %s", path, strerror(errno));
	json_object_set_new(args, "vmlinux", json_string("fd:vmlinux"));
	return cli_pass_fd(c, "vmlinux", fd, e);
}

void patch_options_add(const struct cli *c, json_t *args)
{
	if (c->options.mode)
		json_object_set_new(args, "mode", json_string(c->options.mode));
	if (c->options.traps)
		json_object_set_new(args, "traps", json_string(c->options.traps));
	if (c->options.agent_use)
		json_object_set_new(args, "agent-use", json_string(c->options.agent_use));
	if (c->options.has_timeout)
		json_object_set_new(args, "timeout", json_integer((json_int_t)c->options.timeout_ms));
}

/* patch: the PATCH argument. */
static json_t *patch_args(struct cli *c, const char *patch, bool with_object, struct err *e)
{
	json_t *args = json_pack("{s:s}", "vm", c->args[0]);

	/* A revert needs neither the object nor a signature. */
	if (patch_arg_add(patch, with_object, args, e) < 0 || (with_object && manifest_arg_add(c, patch, args, e) < 0)) {
		json_decref(args);
		return NULL;
	}
	patch_options_add(c, args);
	if (vmlinux_pass(c, args, e) < 0) {
		json_decref(args);
		return NULL;
	}
	return args;
}

/* By the policy or the socket, whatever the patch is. */
static bool may_not_ask(const struct err *e)
{
	return strcmp(e->rule, "policy") == 0 || strcmp(e->rule, "read-only") == 0;
}

/* The answer, or NULL and *ret_code: an error was printed, or there is no answer yet (--no-wait). */
static json_t *patch_call(struct cli *c, const char *command, int *ret_code)
{
	struct err e = { 0 };
	json_t *result = NULL, *args = patch_args(c, c->args[1], strcmp(command, "patch-revert") != 0, &e);

	*ret_code = 0;
	if (!args || cli_job_call(c, command, args, &result, &e) < 0) {
		*ret_code = cli_fail(c, &e);
		/* For a check a refusal is the answer "no", not a failure to do something; unless one may not even ask. */
		if (strcmp(command, "patch-check") == 0 && e.kind == ERR_REFUSED && !may_not_ask(&e))
			*ret_code = CLI_EXIT_NOT_APPLIED;
	} else if (result && c->options.json) {
		output_json(&c->out, result);
	}
	return result;
}

static const char *plural(struct cli *c, json_t *result, const char *key, const char *one, const char *many)
{
	json_int_t n = output_int(result, key);

	return output_format(&c->out, "%" JSON_INTEGER_FORMAT " %s", n, n == 1 ? one : many);
}

/* What running vCPUs felt; vmpoked leaves it out where all stood still. */
static void live_print(struct cli *c, json_t *result)
{
	struct output *o = &c->out;

	if (!json_object_get(result, "kicked"))
		return;
	fprintf(o->stream, "  %s kicked, %s already out, %s us in barriers",
		plural(c, result, "kicked", "vCPU", "vCPUs"), output_field(o, result, "already_out"),
		output_field(o, result, "waited_us"));
	if (json_object_get(result, "trap"))
		fprintf(o->stream, "; %s (%s), %s copied, %s held, longest %s us",
			plural(c, result, "traps", "trap", "traps"), output_field(o, result, "trap"),
			output_field(o, result, "copied"), output_field(o, result, "held"),
			output_field(o, result, "held_us"));
	fputc('\n', o->stream);
}

static void figures_print(struct cli *c, json_t *result)
{
	struct output *o = &c->out;

	if (c->options.verbosity < 0)
		return;
	fprintf(o->stream, "  %s, %s, %s, longest pause %s us, %s us in all\n", plural(c, result, "sites", "site", "sites"),
		plural(c, result, "barriers", "barrier", "barriers"), plural(c, result, "forced_exits", "forced exit", "forced exits"),
		output_field(o, result, "longest_pause_us"), output_field(o, result, "elapsed_us"));
	live_print(c, result);
	if (c->options.verbosity > 0)
		fprintf(o->stream, "  %s out of a range, %s\n", plural(c, result, "steps", "single-step", "single-steps"),
			plural(c, result, "retries", "retry", "retries"));
}

/* "stopped: why". */
static const char *mode(struct cli *c, json_t *result)
{
	const char *mode_name = output_field(&c->out, result, "mode"), *why = output_field(&c->out, result, "why");

	if (!*why || strcmp(why, "-") == 0)
		return mode_name;
	return output_format(&c->out, "%s: %s", mode_name, why);
}

/* With --agent-use full. */
static void borrowed_print(struct cli *c, json_t *result)
{
	struct output *o = &c->out;
	json_t *held = json_object_get(result, "text_mutex");

	if (json_is_false(held))
		fprintf(o->stream, "  without text_mutex: %s\n", output_field(o, result, "text_mutex_why"));
	if (json_is_true(held) && c->options.verbosity >= 0)
		fprintf(o->stream, "  text_mutex was held\n");
	if (json_object_get(result, "quiescence") && c->options.verbosity > 0)
		fprintf(o->stream, "  nobody inside, shown by: %s\n", output_field(o, result, "quiescence"));
}

/* What became of memory that no patch needs any more. */
static void payloads_print(struct cli *c, json_t *payloads)
{
	struct output *o = &c->out;
	json_t *p;
	size_t i;

	json_array_foreach(payloads, i, p) {
		const char *why = output_field(o, p, "why");

		fprintf(o->stream, "  payload of %s at %s, %s bytes: %s%s%s\n", output_field(o, p, "patch"),
			output_field(o, p, "address"), output_field(o, p, "size"), output_field(o, p, "state"),
			strcmp(why, "-") == 0 ? "" : ": ", strcmp(why, "-") == 0 ? "" : why);
	}
}

static void result_print(struct cli *c, json_t *result, const char *done, const char *direction)
{
	struct output *o = &c->out;

	fprintf(o->stream, "%s%s%s %s %s %s (%s)\n", output_on(o, OUTPUT_GOOD), done, output_off(o),
		output_field(o, result, "patch"), direction, output_field(o, result, "vm"), mode(c, result));
	figures_print(c, result);
	payloads_print(c, json_object_get(result, "payloads"));
	agent_use_print(c, json_object_get(result, "agent"));
	borrowed_print(c, result);
}

static void sites_print(struct cli *c, json_t *sites)
{
	struct output *o = &c->out;
	json_t *site;
	size_t i;

	json_array_foreach(sites, i, site)
		fprintf(o->stream, "  %s (%s): %s -> %s\n", output_field(o, site, "symbol"), output_field(o, site, "address"),
			output_bytes(o, site, "old"), output_bytes(o, site, "new"));
}

int cmd_check(struct cli *c)
{
	int code;
	json_auto_t *result = patch_call(c, "patch-check", &code);
	struct output *o = &c->out;

	if (!result || c->options.json)
		return code;
	if (strcmp(output_field(o, result, "state"), "applied") == 0)
		fprintf(o->stream, "%s is already applied to %s\n", output_field(o, result, "patch"), output_field(o, result, "vm"));
	else
		fprintf(o->stream, "%s can be applied to %s (%s)\n", output_field(o, result, "patch"), output_field(o, result, "vm"),
			mode(c, result));
	sites_print(c, json_object_get(result, "sites_detail"));
	agent_use_print(c, json_object_get(result, "agent"));
	return code;
}

int cmd_apply(struct cli *c)
{
	int code;

	if (c->options.dry_run)
		return cmd_check(c);
	json_auto_t *result = patch_call(c, "patch-apply", &code);
	if (!result || c->options.json)
		return code;
	if (output_bool(result, "changed", true))
		result_print(c, result, "applied", "to");
	else
		fprintf(c->out.stream, "%s is already applied to %s\n", output_field(&c->out, result, "patch"),
			output_field(&c->out, result, "vm"));
	return code;
}

int cmd_revert(struct cli *c)
{
	int code;
	json_auto_t *result = patch_call(c, "patch-revert", &code);

	if (!result || c->options.json)
		return code;
	if (output_bool(result, "changed", true))
		result_print(c, result, "reverted", "on");
	else
		fprintf(c->out.stream, "%s is not applied to %s: nothing to revert\n", output_field(&c->out, result, "patch"),
			output_field(&c->out, result, "vm"));
	return code;
}

/* The old one by name, the new one as for apply. */
static json_t *replace_call(struct cli *c, int *ret_code)
{
	char old[PATCHFILE_NAME_MAX + 1];
	struct err e = { 0 };
	json_t *result = NULL, *args = NULL;

	*ret_code = 0;
	if (patch_arg_name(c->args[1], old, sizeof(old), &e) >= 0)
		args = patch_args(c, c->args[2], true, &e);
	if (args)
		json_object_set_new(args, "old", json_string(old));
	if (!args || cli_job_call(c, "patch-replace", args, &result, &e) < 0)
		*ret_code = cli_fail(c, &e);
	else if (result && c->options.json)
		output_json(&c->out, result);
	return result;
}

int cmd_replace(struct cli *c)
{
	int code;
	json_auto_t *result = replace_call(c, &code);

	if (!result || c->options.json)
		return code;
	result_print(c, result, "applied", "to");
	fprintf(c->out.stream, "  in place of %s, in two transactions: the guest ran without either in between\n",
		output_field(&c->out, result, "replaced"));
	return code;
}
