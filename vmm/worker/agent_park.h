/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A thread of the guest, parked by its agent so that vmm/borrow can find it. Asked for before
 * anything is stopped; given back after everything runs.
 */
#ifndef VMPOKE_VMM_WORKER_AGENT_PARK_H
#define VMPOKE_VMM_WORKER_AGENT_PARK_H

#include <stdint.h>

#include "protocol/err.h"

struct agent_session;
struct session;

/*
 * Has the agent park a thread that makes its syscall every interval_ms with a nonce that is new; it
 * leaves by itself after timeout_ms (at most AGENT_PARK_MAX_MS), whatever becomes of us. Needs session_guest().
 * One that was left parked is ended first. -ENOTCONN: no agent answers; -EPERM (rule "agent-disagrees"): it
 * tells of another kernel; -EOPNOTSUPP: it cannot; -EPROTO: it did not; errors of agent_ask_park().
 */
int agent_park(struct session *s, uint16_t interval_ms, uint64_t timeout_ms, uint64_t ret_nonce[static 2],
	       struct agent_session **ret, struct err *e);
/* When this is lost the thread leaves by itself. */
void agent_unpark(struct agent_session *agent);

#endif
