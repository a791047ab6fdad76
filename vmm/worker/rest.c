// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What an idle worker gives back; see session_rest(). Must never forget what only a
 * stopped VM could tell again: an idle worker must not cost its guest a pause.
 */
#include <malloc.h>

#include "vmm/worker/session.h"

void session_used(struct session *s)
{
	s->rest_due_us = now_us() + REST_AFTER_US;
}

static bool looks_without_pause(const struct session *s)
{
	return s->backend && (s->info.caps & BACKEND_LIVE_READ) && (s->info.caps & BACKEND_LIVE_REGS);
}

int session_rest(struct session *s)
{
	uint64_t now = now_us();

	if (!s->rest_due_us)
		return -1;
	if (now < s->rest_due_us)
		return (int)((s->rest_due_us - now) / 1000) + 1;
	s->rest_due_us = 0;
	if (looks_without_pause(s))
		guest_shrink(s->guest);
	malloc_trim(0);
	return -1;
}
