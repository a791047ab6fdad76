// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * wait: until something is so, or the time is up. Woken by vmpoked's events; asks again now and then for what no event
 * tells (that a kernel is up). Must never wait for ever, and says on expiry what is so instead.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "cli/cli.h"
#include "protocol/client.h"
#include "protocol/patchfile.h"
#include "protocol/util.h"

#define TIMEOUT_DEFAULT_MS 60000
#define ASK_AGAIN_MS 2000 /* a probe may stop the guest for a moment */

struct wait_goal;
struct wait_kind {
	const char *word;
	/* 1: it is so; 0: not yet, and what is so instead in *ret_now; negative: it never will be. */
	int (*check)(struct cli *c, const struct wait_goal *goal, const char **ret_now, struct err *e);
};

struct wait_goal {
	const struct wait_kind *kind;
	const char *patch; /* of "applied" */
};

static json_t *vm_args(const struct cli *c)
{
	return json_pack("{s:s}", "vm", c->args[0]);
}

static int check_running(struct cli *c, const struct wait_goal *goal, const char **ret_now, struct err *e)
{
	json_auto_t *vm = NULL;
	int r = cli_call(c, "query-vm", vm_args(c), JSON_OBJECT, &vm, e);

	(void)goal;
	if (r < 0)
		return r;
	*ret_now = output_format(&c->out, "the VM is %s", output_field(&c->out, vm, "state"));
	return strcmp(output_field(&c->out, vm, "state"), "running") == 0;
}

/* A probe that fails says that there is none yet: whatever the reason, the next may find one. */
static int check_kernel(struct cli *c, const struct wait_goal *goal, const char **ret_now, struct err *e)
{
	json_auto_t *probe = NULL;
	int r = check_running(c, goal, ret_now, e);

	if (r <= 0)
		return r;
	r = cli_call(c, "vm-probe", vm_args(c), JSON_OBJECT, &probe, e);
	if (r < 0 && e->kind == ERR_UNREACHABLE)
		return r;
	if (r < 0)
		*ret_now = output_format(&c->out, "no kernel yet: %s", output_safe(&c->out, e->text));
	else
		*ret_now = "its kernel has not finished booting";
	return r >= 0 && output_bool(probe, "booted", true);
}

static int check_settled(struct cli *c, const struct wait_goal *goal, const char **ret_now, struct err *e)
{
	json_auto_t *desired = NULL;
	int r = cli_call(c, "query-desired", vm_args(c), JSON_OBJECT, &desired, e);
	json_t *p;
	size_t i;

	(void)goal;
	if (r < 0)
		return r;
	*ret_now = "vmpoked is at it";
	json_array_foreach(json_object_get(desired, "desired"), i, p)
		if (strcmp(output_field(&c->out, p, "state"), "waiting") == 0)
			*ret_now = output_format(&c->out, "%s: %s", output_field(&c->out, p, "patch"), output_field(&c->out, p, "why"));
	return output_bool(desired, "settled", false);
}

static int check_applied(struct cli *c, const struct wait_goal *goal, const char **ret_now, struct err *e)
{
	json_auto_t *status = NULL;
	int r = cli_call(c, "query-patches", vm_args(c), JSON_OBJECT, &status, e);
	json_t *p;
	size_t i;

	if (r < 0)
		return e->kind == ERR_INACTIVE ? 0 : r; /* its worker is starting */
	*ret_now = output_format(&c->out, "%s is not applied", goal->patch);
	json_array_foreach(json_object_get(status, "patches"), i, p)
		if (strcmp(output_field(&c->out, p, "name"), goal->patch) == 0)
			return strcmp(output_field(&c->out, p, "state"), "applied") == 0;
	return 0;
}

static const struct wait_kind kinds[] = {
	{ "settled", check_settled }, { "running", check_running }, { "kernel", check_kernel }, { "applied", check_applied },
};

static int goal_parse(const char *text, struct wait_goal *ret, struct err *e)
{
	size_t len = strcspn(text, ":");
	const char *patch = text[len] ? text + len + 1 : NULL;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		bool wants_patch = kinds[i].check == check_applied;

		if (strlen(kinds[i].word) != len || strncmp(kinds[i].word, text, len) != 0 || wants_patch != !!patch ||
		    (patch && !patch_name_valid(patch)))
			continue;
		*ret = (struct wait_goal){ .kind = &kinds[i], .patch = patch };
		return 0;
	}
	return err_set(e, ERR_USAGE, EINVAL, "", "'%s' is nothing to wait for: applied:PATCH, running, kernel or settled", text);
}

/* Until an event of this VM, or for ms. What the events say is asked for anew anyway. */
static int events_wait(struct cli *c, uint64_t ms, struct err *e)
{
	uint64_t end = now_us() + ms * 1000, now;

	while ((now = now_us()) < end) {
		struct pollfd fd = { .fd = qmp_client_fd(c->client), .events = POLLIN };
		json_auto_t *message = NULL;
		uint64_t serial;
		int r = qmp_client_process(c->client, &message, &serial, e);

		if (r < 0)
			return cli_lost(c, "wait", r, e);
		const char *vm = json_string_value(json_object_get(json_object_get(message, "data"), "vm"));
		if (vm && strcmp(vm, c->args[0]) == 0)
			return 0;
		if (r == 0)
			poll(&fd, 1, (int)((end - now + 999) / 1000));
	}
	return 0;
}

static int wait_for(struct cli *c, const struct wait_goal *goal, struct err *e)
{
	uint64_t limit = c->options.has_timeout ? c->options.timeout_ms : TIMEOUT_DEFAULT_MS, end = now_us() + limit * 1000;
	int r;

	for (;;) {
		const char *now_so = "its worker is starting";
		uint64_t now;

		output_clear(&c->out); /* what was so the last time: this may go on for hours */
		r = goal->kind->check(c, goal, &now_so, e);
		if (r != 0)
			return r;
		now = now_us();

		if (now >= end)
			return err_set(e, ERR_TIMEOUT, ETIMEDOUT, "", "not %s within %.1f s: %s", c->options.wait_for ? c->options.wait_for : "settled",
				       (double)limit / 1000, now_so);
		uint64_t left = (end - now) / 1000 + 1;
		r = events_wait(c, left < ASK_AGAIN_MS ? left : ASK_AGAIN_MS, e);
		if (r < 0)
			return r;
	}
}

int cmd_wait(struct cli *c)
{
	const char *what = c->options.wait_for ? c->options.wait_for : "settled";
	struct wait_goal goal;
	struct err e = { 0 };

	if (goal_parse(what, &goal, &e) < 0 || wait_for(c, &goal, &e) < 0)
		return cli_fail(c, &e);
	if (c->options.json) {
		json_auto_t *o = json_pack("{s:s, s:s, s:b}", "vm", c->args[0], "for", what, "reached", 1);
		output_json(&c->out, o);
	} else if (c->options.verbosity >= 0) {
		fprintf(c->out.stream, "%s: %s\n", c->args[0], what);
	}
	return 0;
}
