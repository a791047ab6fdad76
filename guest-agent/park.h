/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parking thread: while the host asks for it, it makes one harmless system
 * call over and over with a nonce in its arguments, so that the host, with a trap
 * on that call's first instruction, gets hold of a thread in process context that
 * it knows to be nobody else's. Otherwise it sleeps and costs nothing. It is there
 * from the start, on a stack of its own; it may stand still inside a call for as
 * long as the host likes, so nothing waits for it without a limit.
 */
#ifndef VMPOKE_AGENT_PARK_H
#define VMPOKE_AGENT_PARK_H

#include <pthread.h>

#include "protocol/agent_msg.h"

#define PARK_STACK 32768

struct park {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool active, stop;
	enum agent_park_end why;  /* for stop */
	struct agent_state state; /* nonce, call, tid, nr, function, ended */
	uint64_t ends_at;	  /* ms */
	uint32_t interval_ms;
	uint64_t calls;
	_Alignas(4096) uint8_t stack[PARK_STACK];
};

/* Starts the thread. 0 or -errno. */
int park_init(struct park *p);

/* 0; -EBUSY: it is parked already; -EOPNOTSUPP: this architecture has no such call. */
int park_begin(struct park *p, const struct agent_park_request *r);

/* Asks it to end and waits, at most wait_ms, until it has. */
void park_end(struct park *p, enum agent_park_end why, uint32_t wait_ms);

bool park_active(struct park *p);
void park_state(struct park *p, struct agent_state *ret);

#endif
