// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Counting hits of an address: which way this backend allows, and what both ways
 * share; see count.h. Must never write guest memory.
 */
#include "vmm/poke/count.h"

#include <errno.h>

#include "protocol/util.h"

const char *count_end_name(enum count_end end)
{
	static const char *const names[] = {
		[COUNT_END_TIME] = "time",
		[COUNT_END_RATE] = "rate",
		[COUNT_END_ASKED] = "asked",
		[COUNT_END_STOPPED] = "stopped",
	};

	return names[end];
}

/*
 * A storm is ended in the middle of a window, as soon as it has used up what a whole one
 * may have. Two hits in a row are no rate yet, however low the cap is.
 */
bool count_rate_passed(struct count_rate *rate, uint64_t hits, uint64_t now)
{
	uint64_t new_hits = hits - rate->hits, allowed = (uint64_t)rate->max * COUNT_RATE_WINDOW_US / 1000000u;

	if (allowed < 2)
		allowed = 2;
	if (now - rate->since_us < COUNT_RATE_WINDOW_US)
		return new_hits > allowed;
	bool passed = new_hits > allowed && new_hits * 1000000u > (uint64_t)rate->max * (now - rate->since_us);
	rate->since_us = now;
	rate->hits = hits;
	return passed;
}

int poke_count(struct backend *b, const struct arch_ops *arch, const struct count_request *request,
	       struct count_watch *watch, struct count_figures *ret, struct err *e)
{
	struct count_request r = *request;
	struct backend_info info;
	int got = b->ops->info(b, &info, e);

	*ret = (struct count_figures){ 0 };
	if (got < 0)
		return got;
	bool live = b->ops->live && (info.caps & BACKEND_NONSTOP);
	if (!(info.caps & BACKEND_TRAP_HW))
		return err_set(e, ERR_REFUSED, EOPNOTSUPP, "trap",
			       "hits are counted with a debug register, and hardware breakpoints do not fire here");
	if (!live && !(info.caps & BACKEND_STEP))
		return err_set(e, ERR_REFUSED, EOPNOTSUPP, "trap",
			       "a vCPU at a counted address has to be stepped over it, which is not possible here");
	if (!r.max_rate)
		r.max_rate = live ? COUNT_RATE_LIVE : COUNT_RATE_STOPPED;
	return live ? count_live(b, arch, &r, watch, ret, e) : count_stopped(b, &r, watch, ret, e);
}
