// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The agent is asked to park a thread, then the thread is borrowed. Must never begin
 * without the journal's word that the VM may be found stopped, and never with an agent that
 * tells of another kernel.
 */
#include "vmm/worker/borrowed.h"

#include <errno.h>
#include <sys/random.h>

#include "vmm/borrow/borrow.h"
#include "vmm/link/agent_ask.h"
#include "vmm/worker/session.h"

#define ASK_MS	    1000u
#define PARK_MS	    AGENT_PARK_MAX_MS /* then the agent ends it, whatever became of us */
#define INTERVAL_MS 20u

static int no_agent(struct err *e, const char *why)
{
	return err_set(e, ERR_REFUSED, EOPNOTSUPP, "borrow-agent",
		       "only the guest's own kernel can give memory for code, and only its agent can have it do so: %s", why);
}

static struct agent_session *find_agent(struct session *s, struct err *e)
{
	char text[256];
	struct err why = { 0 };
	struct agent_session *agent = worker_agent_ready(s, &why);
	const struct agent_hello *h = agent ? agent_session_hello(agent) : NULL;

	if (!h) {
		no_agent(e, why.text[0] ? why.text : "no agent answers in this guest");
		return NULL;
	}
	if (!worker_agent_agrees(s, h, text, sizeof(text))) {
		no_agent(e, "the agent tells of another kernel than the one in memory");
		return NULL;
	}
	if (!(h->ops & 1u << AGENT_PARK)) {
		no_agent(e, "this agent cannot park a thread");
		return NULL;
	}
	return agent;
}

static int park(struct agent_session *agent, uint64_t nonce[static 2], struct err *e)
{
	struct agent_park_request request = { .call = AGENT_PARK_BORROW, .interval_ms = INTERVAL_MS, .timeout_ms = PARK_MS };
	struct agent_state state;

	if (getrandom(nonce, sizeof(request.nonce), GRND_NONBLOCK) != sizeof(request.nonce))
		return err_set(e, ERR_FAILED, EAGAIN, NULL, "no random numbers");
	request.nonce[0] = nonce[0];
	request.nonce[1] = nonce[1];
	int r = agent_ask_park(agent, &request, &state, ASK_MS, e);
	if (r >= 0 && !state.parked)
		r = no_agent(e, "it did not park a thread");
	return r;
}

static void unpark(struct agent_session *agent)
{
	struct agent_state state;
	struct err ignored = { 0 };

	/* It ends by itself when this is lost. */
	agent_ask_unpark(agent, &state, ASK_MS, &ignored);
}

int borrowed_begin(struct session *s, struct borrowed *ret, struct err *e)
{
	struct borrow_config config = { .backend = s->backend, .guest = s->guest };
	struct agent_session *agent = find_agent(s, e);

	if (!agent)
		return -EOPNOTSUPP;
	/* A worker that dies leaves its traps with the VMM; our own VMM dies with it. */
	int r = s->info.caps & BACKEND_NONSTOP ? 0 : session_hold_traps(s, e);
	if (r >= 0)
		r = park(agent, config.nonce, e);
	if (r < 0)
		return r;
	*ret = (struct borrowed){ .agent = agent };
	r = borrow_begin(&config, &ret->borrow, e);
	if (r < 0)
		unpark(agent);
	return r;
}

int borrowed_end(struct borrowed *b, struct err *e)
{
	int r = borrow_end(b->borrow, e);

	unpark(b->agent);
	return r;
}
