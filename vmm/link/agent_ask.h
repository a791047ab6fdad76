/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The questions to an agent, one function each: encodes, waits for the answer at
 * most its time-out, checks its form. 0 or -errno with *e; after -ESTALE,
 * -ETIMEDOUT or -ECONNRESET the session greets anew by itself and the caller does
 * without the agent or asks again later. Answers are the guest's word, no more.
 */
#ifndef VMPOKE_VMM_LINK_AGENT_ASK_H
#define VMPOKE_VMM_LINK_AGENT_ASK_H

#include "vmm/link/session.h"

#define AGENT_ASK_CONFLICTS_MAX 4096 /* entries of all pages of one question */
#define AGENT_ASK_PAGES_MAX	1024

int agent_ask_ping(struct agent_session *s, unsigned timeout_ms, struct err *e);

/* For each of n names (any number, asked in portions) an answer; timeout_ms is for each portion. */
int agent_ask_symbols(struct agent_session *s, const char *const *names, size_t n, struct agent_symbol *ret,
		      unsigned timeout_ms, struct err *e);

/*
 * Who else touches the ranges (at most AGENT_RANGES_MAX). *ret: malloc'ed, *ret_n
 * entries, NULL when 0. *ret_sources (AGENT_SRC_*): what all pages were made from; a
 * source that is missing was not looked at.
 */
int agent_ask_conflicts(struct agent_session *s, const struct agent_range *r, size_t n, struct agent_conflict **ret,
			size_t *ret_n, uint32_t *ret_sources, unsigned timeout_ms, struct err *e);

/* r->len (at most AGENT_SELFCHECK_MAX) bytes of kernel text as the guest reads them. -EIO and such: the guest's errno. */
int agent_ask_bytes(struct agent_session *s, const struct agent_range *r, uint8_t *ret, unsigned timeout_ms,
		    struct err *e);

/* The CRC-32C of each of n ranges (at most AGENT_RANGES_MAX, AGENT_SELFCHECK_MAX bytes in all). */
int agent_ask_crcs(struct agent_session *s, const struct agent_range *r, size_t n, uint32_t *ret, unsigned timeout_ms,
		   struct err *e);

/* quiesce_ms is the agent's own time-out (1..AGENT_QUIESCE_MAX_MS); the answer may come 1 s later. */
int agent_ask_quiesce(struct agent_session *s, unsigned quiesce_ms, struct agent_quiesce *ret, struct err *e);

/* Park, unpark, or only look; *ret says how it is now. */
int agent_ask_park(struct agent_session *s, const struct agent_park_request *r, struct agent_state *ret,
		   unsigned timeout_ms, struct err *e);
int agent_ask_unpark(struct agent_session *s, struct agent_state *ret, unsigned timeout_ms, struct err *e);
int agent_ask_state(struct agent_session *s, struct agent_state *ret, unsigned timeout_ms, struct err *e);
int agent_ask_stats(struct agent_session *s, struct agent_stats *ret, unsigned timeout_ms, struct err *e);

#endif
