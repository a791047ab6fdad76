// SPDX-License-Identifier: GPL-2.0-or-later
/* Trying again, later and later; see manager.h. Must never wake a machine at rest more than every ten seconds. */
#include "vmm/libvirt/manager.h"

#define FIRST_US 250000u
#define LAST_US 10000000u

static uint64_t delay_us(unsigned failures)
{
	uint64_t us = failures ? FIRST_US : 0;

	for (unsigned i = 1; i < failures && us < LAST_US; i++)
		us *= 2;
	return us < LAST_US ? us : LAST_US;
}

static void schedule(struct manager *m, struct retry *r, uint64_t us, sd_event_time_handler_t fn)
{
	r->timer = sd_event_source_disable_unref(r->timer);
	sd_event_add_time_relative(m->event, &r->timer, CLOCK_MONOTONIC, us, 1000, fn, m);
}

void retry_schedule(struct manager *m, struct retry *r, sd_event_time_handler_t fn)
{
	schedule(m, r, delay_us(r->failures), fn);
}

void retry_now(struct manager *m, struct retry *r, sd_event_time_handler_t fn)
{
	schedule(m, r, 0, fn);
}

void retry_done(struct retry *r)
{
	r->timer = sd_event_source_disable_unref(r->timer);
}
