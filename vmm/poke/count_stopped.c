// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Counting where every trap stops the whole VM (a gdb stub): it runs until somebody
 * comes to the debug register, who is stepped over it, and runs on. A hit counts once
 * the step is made: a vCPU that is interrupted first comes to the trap again, and so
 * does one that came to it in the same moment as the one that was reported.
 * Must never leave the VM stopped that was found running.
 */
#include <errno.h>

#include "protocol/util.h"
#include "vmm/fault.h"
#include "vmm/poke/count.h"

#define SLICE_US 500000u /* of running without a hit: then tick(). Ending it stops the VM for a moment, too. */
#define RESUME_TRIES 3

static void count_stop(struct count_figures *f, uint64_t began)
{
	uint64_t took = now_us() - began;

	f->stops++;
	f->stopped_us += took;
	if (took > f->longest_us)
		f->longest_us = took;
}

/* 1: stepped over, a hit; 0: it has to run on first (an event comes, or it was no trap of ours). */
static int step_over(struct backend *b, const struct backend_stop *stop, const struct count_request *request,
		     struct err *e)
{
	if (!stop->trap || stop->rip != request->gva)
		return 0;
	int r = b->ops->step(b, stop->vcpu, e);
	if (r == -EBUSY || r == -ETIMEDOUT)
		return 0;
	return r < 0 ? r : 1;
}

/* VM stopped with the trap set: runs until it is to end. */
static int run_hits(struct backend *b, const struct count_request *request, struct count_watch *watch,
		    struct count_figures *f, struct err *e)
{
	uint64_t start = now_us(), now = start;
	struct count_rate rate = { .max = request->max_rate, .since_us = start };
	struct backend_stop stop;
	int r = 0;

	for (f->end = COUNT_END_TIME; now - start < request->duration_us; now = now_us()) {
		uint64_t left = request->duration_us - (now - start);

		r = b->ops->run(b, left < SLICE_US ? left : SLICE_US, &stop, e);
		uint64_t stopped = now_us();
		bool hit = r == 0 && stop.trap;
		if (r == -ETIMEDOUT)
			r = 0;
		else if (r == 0 && !hit)
			f->end = COUNT_END_STOPPED;
		if (hit)
			r = step_over(b, &stop, request, e);
		fault_point("count-stopped");
		f->hits += r > 0;
		f->elapsed_us = now_us() - start;
		if (r >= 0 && f->end == COUNT_END_TIME && count_rate_passed(&rate, f->hits, now_us()))
			f->end = COUNT_END_RATE;
		if (r >= 0 && f->end == COUNT_END_TIME && watch->tick(watch, f))
			f->end = COUNT_END_ASKED;
		count_stop(f, stopped);
		if (r < 0 || f->end != COUNT_END_TIME)
			break;
	}
	return r < 0 ? r : 0;
}

static int let_go(struct backend *b, struct err *e)
{
	struct err why = { 0 };
	int r = -EIO;

	for (int i = 0; i < RESUME_TRIES && r < 0; i++)
		r = b->ops->resume(b, &why);
	if (r >= 0)
		return 0;
	return err_set(e, r == -ENOTCONN ? ERR_INACTIVE : ERR_ATTENTION, r == -ENOTCONN ? ENOTCONN : EUCLEAN, "resume",
		       "the VM could not be put back into the state it was found in: %.300s", why.text);
}

int count_stopped(struct backend *b, const struct count_request *request, struct count_watch *watch,
		  struct count_figures *ret, struct err *e)
{
	bool was_running;
	int r = b->ops->pause(b, NULL, &was_running, e);

	if (r < 0)
		return r;
	if (!was_running)
		r = err_set(e, ERR_INACTIVE, EHOSTDOWN, "run-state", "the VM is paused: nothing is executed that could be counted");
	if (r >= 0)
		r = b->ops->trap_set(b, BACKEND_TRAP_KIND_HW, request->gva, e);
	if (r >= 0) {
		r = run_hits(b, request, watch, ret, e);
		b->ops->trap_clear(b, BACKEND_TRAP_KIND_HW, request->gva, NULL); /* resume() clears it as well */
	}
	int resumed = let_go(b, r < 0 ? NULL : e);
	return r < 0 ? r : resumed;
}
