// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One request to one answer: version, session, MAC, table, payload's size, state,
 * in that order, then the operation. What the table does not have is refused.
 */
#include <errno.h>
#include <string.h>

#include "guest-agent/agent.h"

int agent_fail(struct agent_failure *why, enum agent_error error, int error_number, const char *text)
{
	why->guest_errno = (uint32_t)error_number;
	strncpy(why->text, text, sizeof(why->text) - 1);
	return (int)error;
}

static const struct agent_row *row_of(unsigned op)
{
	for (size_t i = 0; i < agent_row_count; i++)
		if (agent_rows[i].op == op)
			return &agent_rows[i];
	return NULL;
}

/* What the session allows; a hello begins one and needs none. */
static int check_session(struct agent *a, const struct agent_frame *f, struct agent_failure *why)
{
	if (f->op == AGENT_HELLO)
		return 0;
	if (f->version != AGENT_VERSION)
		return agent_fail(why, AGENT_E_VERSION, 0, "say hello to agree on a version");
	if (f->session != a->session || !a->greeted)
		return agent_fail(why, AGENT_E_SESSION, 0, "no such session, say hello");
	if (!a->keyed)
		return 0;
	if (!agent_frame_verify(f, a->session_key))
		return agent_fail(why, AGENT_E_AUTH, 0, "the MAC is missing or wrong");
	/* As a signed distance, so that the number may wrap. */
	if ((int32_t)(f->seq - a->last_seq) <= 0)
		return agent_fail(why, AGENT_E_AUTH, 0, "this frame was seen before");
	a->last_seq = f->seq;
	return 0;
}

static int run(struct agent *a, const struct agent_frame *f, struct agent_put *reply, struct agent_failure *why)
{
	int error = check_session(a, f, why);
	const struct agent_row *row = row_of(f->op);

	if (error)
		return error;
	if (!row)
		return agent_fail(why, AGENT_E_UNKNOWN_OP, 0, "no such operation");
	if (f->length < row->min || f->length > row->max)
		return agent_fail(why, AGENT_E_MALFORMED, 0, "the payload has the wrong size");
	if (!(row->states & (park_active(&a->park) ? AGENT_WHILE_PARKED : AGENT_WHILE_IDLE)))
		return agent_fail(why, AGENT_E_STATE, EBUSY, "not while parked");
	error = row->run(a, f, reply, why);
	if (!error && reply->bad)
		return agent_fail(why, AGENT_E_LIMIT, 0, "the answer does not fit a frame");
	return error;
}

void agent_dispatch(struct agent *a, const struct agent_frame *f)
{
	struct agent_put reply = { .p = a->out + AGENT_HEADER_LEN, .cap = AGENT_PAYLOAD_MAX };
	struct agent_frame answer = { .op = f->op, .flags = AGENT_F_REPLY, .seq = f->seq };
	struct agent_failure why = { 0 };
	int error = run(a, f, &reply, &why);

	if (error) {
		a->stats.refused++;
		answer.flags |= AGENT_F_ERROR;
		answer.error = (uint16_t)error;
		reply.len = agent_failure_encode(reply.p, reply.cap, &why);
	}
	answer.session = a->session;
	answer.payload = reply.p;
	answer.length = reply.len;
	a->out_len = agent_frame_encode(a->out, sizeof(a->out), &answer, a->keyed ? a->session_key : NULL);
	a->out_sent = 0;
	a->stats.frames_out++;
}
