// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Bytes of a session: frames out, frames in, and the patience for broken ones.
 * Must bound what one call does and what the guest may send in vain.
 */
#include <errno.h>
#include <string.h>

#include "vmm/link/session_private.h"

int session_queue(struct agent_session *s, enum agent_op op, const void *payload, size_t length)
{
	bool keyed = s->has_key && op != AGENT_HELLO;
	struct agent_frame f = {
		.op = (uint8_t)op,
		.seq = ++s->seq,
		.session = op == AGENT_HELLO ? 0 : s->session,
		.payload = payload,
		.length = length,
	};
	size_t n = agent_frame_encode(s->out, sizeof(s->out), &f, keyed ? s->session_key : NULL);

	if (!n)
		return -EMSGSIZE;
	s->out_len = n;
	s->out_sent = 0;
	return 0;
}

static int flush(struct agent_session *s, struct err *e)
{
	while (s->out_sent < s->out_len) {
		ssize_t n = s->ops->write(s->link, s->out + s->out_sent, s->out_len - s->out_sent, e);
		if (n == -EAGAIN)
			return 0;
		if (n < 0)
			return (int)n;
		s->out_sent += (size_t)n;
	}
	s->out_len = s->out_sent = 0;
	return 0;
}

/* Requests, answers to nothing, answers come too late: the agent's frame counts as garbage. */
static int one_frame(struct agent_session *s, const struct agent_frame *f, struct err *e)
{
	if ((f->flags & AGENT_F_REPLY) && f->seq == s->seq)
		return session_answer(s, f, e);
	s->stats.unexpected++;
	return session_garbage(s, AGENT_HEADER_LEN + f->length, e);
}

/* The decoder's whole frames; whatever was skipped on the way is counted. */
static int take_frames(struct agent_session *s, struct err *e)
{
	struct agent_frame f;
	int r = 0, more = 1;

	while (more && !r) {
		uint64_t skipped = s->in.skipped, damaged = s->in.damaged;
		more = agent_decoder_next(&s->in, &f);
		s->stats.skipped += s->in.skipped - skipped;
		s->stats.damaged += s->in.damaged - damaged;
		/* A damaged frame costs a CRC over as much as it claimed. */
		r = session_garbage(s, s->in.skipped - skipped + (s->in.damaged - damaged) * AGENT_HEADER_LEN, e);
		if (more && !r)
			r = one_frame(s, &f, e);
	}
	return r;
}

static int receive(struct agent_session *s, struct err *e)
{
	uint8_t *p;

	for (size_t total = 0; total < AGENT_RUN_MAX;) {
		size_t space = agent_decoder_space(&s->in, &p);
		ssize_t n = s->ops->read(s->link, p, space, e);
		if (n == -EAGAIN)
			return 0;
		if (n == 0)
			return err_set(e, ERR_INACTIVE, ECONNRESET, "agent", "the agent's end was closed");
		if (n < 0)
			return (int)n;
		agent_decoder_fed(&s->in, (size_t)n);
		total += (size_t)n;
		s->partial_us = now_us() + AGENT_FRAME_TIMEOUT_MS * 1000u;
		int r = take_frames(s, e);
		if (r)
			return r;
	}
	return 0;
}

static int expire(struct agent_session *s, struct err *e)
{
	if (!agent_decoder_partial(&s->in))
		s->partial_us = 0;
	if (!s->partial_us || now_us() < s->partial_us)
		return 0;
	s->partial_us = now_us() + AGENT_FRAME_TIMEOUT_MS * 1000u;
	agent_decoder_expire(&s->in);
	return take_frames(s, e);
}

int session_exchange(struct agent_session *s, struct err *e)
{
	int r = s->ops->tick(s->link, e);

	if (!r)
		r = receive(s, e);
	if (!r)
		r = expire(s, e);
	return r ? r : flush(s, e);
}
