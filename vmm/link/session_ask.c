// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Waiting for a session, for callers that have nothing else to do meanwhile. Each
 * wait has an end of its own, whatever the agent does.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "vmm/link/session_private.h"

/* One poll and one run, until at_us at the latest. */
static void run_until(struct agent_session *s, uint64_t at_us)
{
	uint64_t now = now_us(), left = at_us > now ? (at_us - now + 999) / 1000 : 0;
	struct pollfd p = { .fd = agent_session_fd(s), .events = agent_session_events(s) };
	int ms = agent_session_timeout_ms(s);

	if (ms < 0 || left < (uint64_t)ms)
		ms = (int)left;
	(void)poll(&p, 1, ms);
	agent_session_run(s);
}

int agent_session_wait_ready(struct agent_session *s, unsigned timeout_ms, struct err *e)
{
	uint64_t until = now_us() + timeout_ms * (uint64_t)1000;

	while (s->state != AGENT_SESSION_READY) {
		if (now_us() >= until)
			return err_set(e, ERR_INACTIVE, ETIMEDOUT, "agent", "no agent answered within %u ms%s%s",
				       timeout_ms, s->why.text[0] ? ": " : "", s->why.text);
		run_until(s, until);
	}
	return 0;
}

/* A request somebody waits for; the answer is copied before it is gone. */
struct waiting {
	struct agent_call call;
	uint8_t *reply;
	size_t cap;
	bool done;
};

static void waiting_done(struct agent_call *c)
{
	struct waiting *w = container_of(c, struct waiting, call);

	w->done = true;
	if (c->result)
		return;
	if (c->length > w->cap)
		c->result = err_set(&c->error, ERR_FAILED, EMSGSIZE, "agent", "the agent's answer is too long");
	else if (c->length)
		memcpy(w->reply, c->payload, c->length);
}

ssize_t agent_session_ask(struct agent_session *s, enum agent_op op, const void *payload, size_t length, void *reply,
			  size_t cap, unsigned timeout_ms, struct err *e)
{
	struct waiting w = { .call.done = waiting_done, .reply = reply, .cap = cap };
	int r = agent_session_send(s, op, payload, length, timeout_ms, &w.call, e);

	if (r)
		return r;
	/* The session ends the request by itself at its time-out, so this loop ends too. */
	for (agent_session_run(s); !w.done;)
		run_until(s, s->call_us);
	if (!w.call.result)
		return (ssize_t)w.call.length;
	if (e)
		*e = w.call.error;
	return w.call.result;
}
