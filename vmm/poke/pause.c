// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Taking the vCPUs out of guest mode and letting them go again, with the figures
 * of it. Must never leave behind a VM paused that was found running without
 * saying so.
 */
#include <errno.h>
#include <poll.h>

#include "vmm/fault.h"
#include "vmm/poke/tx.h"

#define RESUME_TRIES 3

/*
 * Runs inside the backend's pause(), when it knows the run state and has not
 * stopped anything yet: a crash from here on finds in the journal whether the
 * VM has to be made to run again. The clock of the pause starts after the
 * record, whose fsync the guest does not feel.
 */
static int record_pause(struct backend_pause_hook *hook, bool was_running, struct err *e)
{
	struct poke_tx *t = container_of(hook, struct poke_tx, hook);

	t->was_running = was_running;
	int r = t->quiet ? 0 : poke_tx_record(t, POKE_PAUSED, e);
	if (r < 0)
		return r;
	if (!t->quiet)
		fault_point("poke-pause-recorded");
	t->pause_began = now_us();
	return 0;
}

int poke_tx_pause(struct poke_tx *t, struct err *e)
{
	struct backend *b = t->backend;

	t->hook.before = record_pause;
	t->pause_began = now_us();
	const struct poke_quiesce *q = t->quiesce;
	int r = q && q->pause ? q->pause(t->quiesce, &t->hook, t->deadline, &t->was_running, e)
			      : b->ops->pause(b, &t->hook, &t->was_running, e);
	if (r < 0)
		return r;
	t->paused = true;
	/* A backend does what can be done before the stop inside pause(): it knows best when the stop began. */
	if (b->stop_asked_us > t->pause_began)
		t->pause_began = b->stop_asked_us;
	if (t->was_running)
		t->stats.forced_exits += (unsigned)t->n_vcpus;
	fault_point("poke-paused");
	return 0;
}

/* A VM that was found paused felt no pause of ours. */
static void count_pause(struct poke_tx *t, uint64_t resumed)
{
	uint64_t took = resumed - t->pause_began;

	timeline_add(t->log->timeline, TIMELINE_PAUSE, TIMELINE_ENGINE, t->pause_began, resumed, 0, NULL);
	if (t->was_running && took > t->stats.longest_pause_us)
		t->stats.longest_pause_us = took;
}

int poke_tx_resume(struct poke_tx *t, struct err *e)
{
	const struct poke_quiesce *q = t->quiesce;
	struct err why = { 0 };
	int r = -EIO;

	for (int i = 0; i < RESUME_TRIES && r < 0; i++)
		r = q && q->resume ? q->resume(t->quiesce, &why) : t->backend->ops->resume(t->backend, &why);
	if (r < 0) {
		t->stuck = true;
		return err_set(e, ERR_ATTENTION, EUCLEAN, "resume",
			       "the VM could not be put back into the state it was found in (%s): %.300s",
			       t->was_running ? "running" : "paused", why.text);
	}
	count_pause(t, t->backend->resumed_us > t->pause_began ? t->backend->resumed_us : now_us());
	t->paused = false;
	/* Who was held has perhaps been moved, or what it waits for is there. */
	return t->armed ? t->backend->ops->live->release(t->backend, e) : 0;
}

static int run_held(struct poke_tx *t, uint64_t us, struct err *e)
{
	count_pause(t, now_us());
	fault_point("poke-retry");
	int r = t->quiesce->let_run(t->quiesce, us, t->deadline, e);
	t->pause_began = t->backend->stop_asked_us;
	return r < 0 ? r : poke_tx_cancelled(t, e);
}

int poke_tx_let_run(struct poke_tx *t, uint64_t us, struct err *e)
{
	int r = t->quiesce && t->quiesce->let_run ? run_held(t, us, e) : -EOPNOTSUPP;

	if (r != -EOPNOTSUPP)
		return r;
	r = poke_tx_resume(t, e);
	if (r < 0)
		return r;
	fault_point("poke-retry");
	poll(NULL, 0, (int)(us / 1000));
	r = poke_tx_cancelled(t, e);
	return r < 0 ? r : poke_tx_pause(t, e);
}
