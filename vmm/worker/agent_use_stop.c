// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Stopping a VM with text_mutex held, where traps stop it (QEMU): the borrowed thread has
 * the mutex and stands at a trap, all vCPUs with it. Letting go is leaving the thread to itself: it
 * sleeps for BORROW_KEEP_MS at most and gives the mutex back, which it would also do
 * if this process died. Must never leave the VM stopped by something else than it was
 * recorded with.
 */
#include <errno.h>

#include "vmm/worker/agent_use.h"
#include "vmm/worker/session.h"

#define TASKS_FROM_US 50000u /* who was not out in that time: wait for all tasks, with fewer stops */

static void stop_time(struct agent_use *u)
{
	struct borrow_stats stats;

	borrow_stats(u->borrow, &stats);
	u->session->backend->stop_asked_us = stats.stopped_us;
}

static int stop_pause(struct poke_quiesce *q, struct backend_pause_hook *hook, uint64_t deadline_us,
		      bool *ret_was_running, struct err *e)
{
	struct agent_use *u = container_of(q, struct agent_use, ops);
	struct backend *b = u->session->backend;
	struct err why = { 0 };
	int r = agent_use_lock(u, hook, deadline_us, &why);

	if (r >= 0) {
		*ret_was_running = true;
		stop_time(u);
		return 0;
	}
	if (agent_use_is_fatal(r, &why)) {
		*e = why;
		return r;
	}
	agent_use_without(u, why.text);
	return b->ops->pause(b, hook, ret_was_running, e);
}

static int stop_resume(struct poke_quiesce *q, struct err *e)
{
	struct agent_use *u = container_of(q, struct agent_use, ops);
	struct backend *b = u->session->backend;

	return u->borrow ? agent_use_return(u, e) : b->ops->resume(b, e);
}

/* Between two tries the guest's own changes of text get their turn. */
static int run_unlocked(struct agent_use *u, uint64_t us, uint64_t deadline_us, struct err *e)
{
	int r = borrow_text_unlock(u->borrow, agent_use_left_us(deadline_us), e);

	if (r >= 0)
		r = us >= TASKS_FROM_US ? borrow_rcu_tasks(u->borrow, agent_use_left_us(deadline_us), e)
					: borrow_let_run(u->borrow, us, e);
	return r == -ETIMEDOUT ? 0 : r;
}

static int stop_let_run(struct poke_quiesce *q, uint64_t us, uint64_t deadline_us, struct err *e)
{
	struct agent_use *u = container_of(q, struct agent_use, ops);
	struct err why = { 0 };

	if (!u->borrow)
		return err_set(e, ERR_FAILED, EOPNOTSUPP, "", "no context is borrowed");
	int r = run_unlocked(u, us, deadline_us, &why);
	uint64_t left = agent_use_left_us(deadline_us);
	if (r >= 0)
		r = borrow_text_lock(u->borrow, left < AGENT_USE_COME_US ? left : AGENT_USE_COME_US, left, &why);
	stop_time(u);
	u->text_mutex = r >= 0;
	if (r >= 0)
		return 0;
	if (agent_use_is_fatal(r, &why)) {
		*e = why;
		return r;
	}
	agent_use_without(u, why.text);
	return 0;
}

void agent_use_stop_ops(struct agent_use *u)
{
	u->ops.pause = stop_pause;
	u->ops.resume = stop_resume;
	u->ops.let_run = stop_let_run;
}
