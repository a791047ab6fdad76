// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The agent is asked to park a thread, then the thread is borrowed. Must never begin
 * without the journal's word that the VM may be found stopped.
 */
#include "vmm/worker/borrowed.h"

#include <errno.h>

#include "vmm/borrow/borrow.h"
#include "vmm/worker/agent_park.h"
#include "vmm/worker/session.h"

#define INTERVAL_MS 20u

static int no_agent(struct err *e, const char *why)
{
	return err_set(e, ERR_REFUSED, EOPNOTSUPP, "borrow-agent",
		       "only the guest's own kernel can give memory for code, and only its agent can have it do so: %s", why);
}

int borrowed_begin(struct session *s, struct borrowed *ret, struct err *e)
{
	struct borrow_config config = { .backend = s->backend, .guest = s->guest };
	struct agent_session *agent;
	struct err why = { 0 };

	if (agent_park(s, INTERVAL_MS, AGENT_PARK_MAX_MS, config.nonce, &agent, &why) < 0)
		return no_agent(e, why.text);
	*ret = (struct borrowed){ .agent = agent };
	/* A worker that dies leaves its traps with the VMM; our own VMM dies with it. */
	int r = s->info.caps & BACKEND_NONSTOP ? 0 : session_hold_traps(s, e);
	if (r >= 0)
		r = borrow_begin(&config, &ret->borrow, e);
	if (r < 0)
		agent_unpark(agent);
	return r;
}

int borrowed_end(struct borrowed *b, struct err *e)
{
	int r = borrow_end(b->borrow, e);

	agent_unpark(b->agent);
	return r;
}
