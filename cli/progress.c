// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a person at a terminal sees while a patch is worked on: the phase, in one line of
 * standard error that is gone when the answer comes. Must never show anything to a pipe,
 * and never wait longer for an answer than a call without it would.
 */
#include "cli/progress.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "cli/cli.h"
#include "protocol/client.h"
#include "protocol/qmp.h"
#include "protocol/util.h"

#define LINE_CLEAR "\r\033[K"

bool progress_wanted(const struct cli *c)
{
	const char *term = getenv("TERM");

	return isatty(STDERR_FILENO) == 1 && term && strcmp(term, "dumb") != 0 && c->options.verbosity >= 0 &&
	       !c->options.json && !c->options.no_wait;
}

/* The VM works on one thing at a time: a phase of another client's work is what ours waits for. */
static void event_show(struct cli *c, json_t *message, const char *vm)
{
	const char *event = json_string_value(json_object_get(message, "event"));
	json_t *data = json_object_get(message, "data");
	const char *name = json_string_value(json_object_get(data, "vm"));

	if (!event || strcmp(event, "JOB_PROGRESS") != 0 || !name || strcmp(name, vm) != 0)
		return;
	fprintf(stderr, LINE_CLEAR "%s: %s ...", output_safe(&c->out, vm), output_field(&c->out, data, "phase"));
	fflush(stderr);
}

/* 1 and *ret or *e: that was the answer to serial. */
static int answer_take(json_t *message, uint64_t got, uint64_t serial, json_t **ret, struct err *e)
{
	json_t *value = json_object_get(message, "return");

	if (got != serial || json_object_get(message, "event"))
		return 0;
	if (value) {
		*ret = json_incref(value);
		return 1;
	}
	qmp_error_from_json(json_object_get(message, "error"), e);
	return e->error ? -e->error : -EPROTO;
}

static int answer_await(struct cli *c, const char *vm, uint64_t serial, json_t **ret, struct err *e)
{
	uint64_t end = now_us() + cli_deadline_us(c);

	for (;;) {
		json_auto_t *message = NULL;
		uint64_t got = 0, now;
		int r = qmp_client_process(c->client, &message, &got, e);

		if (r > 0) {
			event_show(c, message, vm);
			r = answer_take(message, got, serial, ret, e);
			if (r == 0)
				continue;
		}
		now = now_us();
		if (r == 0 && now >= end)
			r = -ETIMEDOUT;
		if (r != 0)
			return r;
		struct pollfd p = { .fd = qmp_client_fd(c->client), .events = qmp_client_poll_events(c->client) };
		poll(&p, 1, (int)((end - now + 999) / 1000));
	}
}

int progress_call(struct cli *c, const char *command, json_t *args, json_t **ret, struct err *e)
{
	const char *vm = json_string_value(json_object_get(args, "vm"));
	json_auto_t *reply = NULL;
	uint64_t serial;
	int r = cli_connect(c, e);

	if (r < 0)
		return r;
	*e = (struct err){ 0 };
	r = qmp_client_send(c->client, command, args, &serial, e);
	if (r >= 0)
		r = answer_await(c, vm ? vm : "", serial, &reply, e);
	fputs(LINE_CLEAR, stderr);
	fflush(stderr);
	if (r < 0)
		return r == -ETIMEDOUT || e->kind == ERR_NONE || !qmp_client_alive(c->client) ? cli_lost(c, command, r, e) : r;
	if (!json_is_object(reply))
		return cli_lost(c, command, -EPROTO, e);
	*ret = json_incref(reply);
	return 0;
}
