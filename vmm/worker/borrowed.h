/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A thread of the guest, lent by its agent (docs/agent.md, "Borrowed context"), for as long
 * as one request needs it. On a backend that traps by stopping the VM the guest runs
 * only inside borrow_*() calls meanwhile, and the journal says that it may have to be run on.
 */
#ifndef VMPOKE_VMM_WORKER_BORROWED_H
#define VMPOKE_VMM_WORKER_BORROWED_H

#include "protocol/err.h"

struct agent_session;
struct borrow;
struct session;

struct borrowed {
	struct agent_session *agent;
	struct borrow *borrow;
};

/* Needs session_guest(). ERR_REFUSED, rule "borrow-agent", when there is no agent that could lend one; errors of borrow_begin(). */
int borrowed_begin(struct session *s, struct borrowed *ret, struct err *e);
/* Gives it back; the guest runs on. */
int borrowed_end(struct borrowed *b, struct err *e);

#endif
