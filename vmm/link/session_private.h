/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What session.c (states) and session_io.c (bytes, frames) share. */
#ifndef VMPOKE_VMM_LINK_SESSION_PRIVATE_H
#define VMPOKE_VMM_LINK_SESSION_PRIVATE_H

#include "vmm/link/session.h"

struct agent_session {
	const struct link_ops *ops;
	struct link_target target;
	bool has_key;
	uint8_t key[AGENT_KEY_LEN];

	struct link *link; /* NULL: down */
	enum agent_session_state state;
	struct err why;
	uint64_t due_us;   /* down: open again; greeting: say hello again */
	unsigned delay_ms; /* of the next such wait */

	uint32_t seq; /* of the newest request, also over sessions: late answers fit nothing */
	uint8_t nonce[AGENT_NONCE_LEN];
	struct agent_hello hello;
	uint64_t session;
	unsigned generation;
	uint8_t session_key[AGENT_KEY_LEN];

	struct agent_call *call; /* under way */
	enum agent_op call_op;
	uint64_t call_us; /* when it times out */

	uint64_t hello_at_us;
	uint64_t partial_us; /* when an unfinished frame is given up; 0: there is none */
	uint64_t garbage;    /* since the link was opened */
	struct agent_session_stats stats;

	struct agent_decoder in;
	uint8_t out[AGENT_FRAME_MAX];
	size_t out_len, out_sent;
};

/* session_io.c */

/* Puts a frame into the empty output. 0 or -EMSGSIZE. */
int session_queue(struct agent_session *s, enum agent_op op, const void *payload, size_t length);
/* All that can be read and written now. 0, or -errno with *e: the link is no good any more. */
int session_exchange(struct agent_session *s, struct err *e);

/* session.c */

/* An answer that has our sequence number. Called by session_exchange(). 0, or -errno with *e. */
int session_answer(struct agent_session *s, const struct agent_frame *f, struct err *e);
/* Bytes nobody can use. 0, or -EPROTO with *e when they are too many. */
int session_garbage(struct agent_session *s, uint64_t bytes, struct err *e);

#endif
