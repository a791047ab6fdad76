// SPDX-License-Identifier: GPL-2.0-or-later
/* Parking a thread of the agent's; see agent_park.h. Must never park one whose agent tells of another kernel. */
#include "vmm/worker/agent_park.h"

#include <errno.h>
#include <sys/random.h>

#include "vmm/link/agent_ask.h"
#include "vmm/worker/agent.h"
#include "vmm/worker/session.h"

#define ASK_MS 1000u

static int find(struct session *s, struct agent_session **ret, struct err *e)
{
	struct err why = { 0 };
	struct agent_session *agent = worker_agent_ready(s, &why);
	const struct agent_hello *h = agent ? agent_session_hello(agent) : NULL;
	char text[256];

	if (!h)
		return err_set(e, ERR_INACTIVE, ENOTCONN, "agent", "%s",
			       why.text[0] ? why.text : "no agent answers in this guest");
	if (!worker_agent_agrees(s, h, text, sizeof(text)))
		return err_set(e, ERR_INACTIVE, EPERM, "agent-disagrees", "the agent tells of another kernel: %s", text);
	if (!(h->ops & 1u << AGENT_PARK))
		return err_set(e, ERR_INACTIVE, EOPNOTSUPP, "agent", "this agent cannot park a thread");
	*ret = agent;
	return 0;
}

static int ask(struct agent_session *agent, const struct agent_park_request *request, struct err *e)
{
	struct agent_state state;

	if (agent_ask_state(agent, &state, ASK_MS, e) == 0 && state.parked)
		agent_ask_unpark(agent, &state, ASK_MS, e);
	int r = agent_ask_park(agent, request, &state, ASK_MS, e);
	return r < 0 || state.parked ? r : err_set(e, ERR_FAILED, EPROTO, "agent", "the agent does not park");
}

int agent_park(struct session *s, uint16_t interval_ms, uint64_t timeout_ms, uint64_t ret_nonce[static 2],
	       struct agent_session **ret, struct err *e)
{
	struct agent_park_request request = {
		.call = AGENT_PARK_BORROW,
		.interval_ms = interval_ms,
		.timeout_ms = timeout_ms < AGENT_PARK_MAX_MS ? (uint32_t)timeout_ms : AGENT_PARK_MAX_MS,
	};
	struct agent_session *agent;
	int r = find(s, &agent, e);

	if (r < 0)
		return r;
	if (getrandom(request.nonce, sizeof(request.nonce), 0) != (ssize_t)sizeof(request.nonce))
		return err_set(e, ERR_FAILED, EIO, "agent", "no random numbers");
	r = ask(agent, &request, e);
	if (r < 0)
		return r;
	ret_nonce[0] = request.nonce[0];
	ret_nonce[1] = request.nonce[1];
	*ret = agent;
	return 0;
}

void agent_unpark(struct agent_session *agent)
{
	struct agent_state state;
	struct err ignored = { 0 };

	agent_ask_unpark(agent, &state, ASK_MS, &ignored);
}
