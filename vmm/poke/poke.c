// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The state machine of a transaction, as a table, and what happens when a step
 * fails. The order is always: record the state, then take it; so that a journal
 * read after a crash never claims less than was done. Must never return an error
 * other than ERR_ATTENTION with a byte changed or with the VM not as it was found.
 */
#include <errno.h>
#include <string.h>

#include "vmm/fault.h"
#include "vmm/poke/tx.h"

#define MODE(m) (1u << (m))

enum record {
	RECORD_BEFORE,	/* the step changes the guest */
	RECORD_IN_STEP, /* only the step learns in time what to record */
	RECORD_AFTER,	/* the step only looks; what it saw is the state */
	RECORD_LAST,	/* as AFTER, but there is no way back any more */
};

/*
 * One arrow. A mode's road is the chain of its rows from POKE_PLANNED to POKE_DONE;
 * of several rows from one state the first whose condition holds is taken. A mode
 * without rows is refused. precheck still changes nothing that lasts.
 */
struct transition {
	unsigned modes;
	enum poke_state from, to;
	bool (*when)(const struct poke_tx *t); /* NULL: always */
	const char *name;
	enum record record;
	const char *recorded; /* kill point right after the record, or NULL */
	int (*precheck)(struct poke_tx *t, struct err *e);
	int (*step)(struct poke_tx *t, struct err *e);
};

static const struct transition transitions[] = {
	{
		.modes = MODE(POKE_MODE_STOPPED),
		.from = POKE_PLANNED,
		.to = POKE_PAUSED,
		.name = "pause",
		.record = RECORD_IN_STEP,
		.precheck = poke_tx_cancelled,
		.step = poke_stopped_pause,
	},
	{
		.modes = MODE(POKE_MODE_STOPPED),
		.from = POKE_PAUSED,
		.to = POKE_WRITTEN,
		.name = "write",
		.record = RECORD_BEFORE,
		.recorded = "poke-write-recorded",
		.precheck = poke_stopped_check,
		.step = poke_stopped_write,
	},
	{
		.modes = MODE(POKE_MODE_FLIPPED),
		.from = POKE_PLANNED,
		.to = POKE_PAUSED,
		.when = poke_flipped_pauses,
		.name = "pause",
		.record = RECORD_IN_STEP,
		.precheck = poke_tx_cancelled,
		.step = poke_stopped_pause,
	},
	{
		.modes = MODE(POKE_MODE_FLIPPED),
		.from = POKE_PLANNED,
		.to = POKE_WRITTEN,
		.name = "flip",
		.record = RECORD_BEFORE,
		.recorded = "poke-write-recorded",
		.precheck = poke_stopped_check,
		.step = poke_flipped_flip,
	},
	{
		.modes = MODE(POKE_MODE_FLIPPED),
		.from = POKE_PAUSED,
		.to = POKE_WRITTEN,
		.name = "flip",
		.record = RECORD_BEFORE,
		.recorded = "poke-write-recorded",
		.precheck = poke_stopped_check,
		.step = poke_flipped_flip,
	},
	{
		.modes = MODE(POKE_MODE_STAGED) | MODE(POKE_MODE_HELD),
		.from = POKE_PLANNED,
		.to = POKE_TRAPPED,
		.name = "trap",
		.record = RECORD_BEFORE,
		.recorded = "poke-trap-recorded",
		.precheck = poke_stopped_check,
		.step = poke_staged_trap,
	},
	{
		.modes = MODE(POKE_MODE_STAGED) | MODE(POKE_MODE_HELD),
		.from = POKE_TRAPPED,
		.to = POKE_TAILED,
		.when = poke_staged_has_tail,
		.name = "tail",
		.record = RECORD_BEFORE,
		.recorded = "poke-tail-recorded",
		.precheck = poke_staged_quiesce,
		.step = poke_staged_tail,
	},
	{
		.modes = MODE(POKE_MODE_STAGED) | MODE(POKE_MODE_HELD),
		.from = POKE_TRAPPED,
		.to = POKE_HEADED,
		.name = "head",
		.record = RECORD_BEFORE,
		.recorded = "poke-head-recorded",
		.precheck = poke_staged_quiesce,
		.step = poke_staged_head,
	},
	{
		.modes = MODE(POKE_MODE_STAGED) | MODE(POKE_MODE_HELD),
		.from = POKE_TAILED,
		.to = POKE_HEADED,
		.name = "head",
		.record = RECORD_BEFORE,
		.recorded = "poke-head-recorded",
		.step = poke_staged_head,
	},
	{
		.modes = MODE(POKE_MODE_STOPPED) | MODE(POKE_MODE_FLIPPED),
		.from = POKE_WRITTEN,
		.to = POKE_VERIFIED,
		.name = "verify",
		.record = RECORD_AFTER,
		.recorded = "poke-verify-recorded",
		.step = poke_stopped_verify,
	},
	{
		.modes = MODE(POKE_MODE_STAGED) | MODE(POKE_MODE_HELD),
		.from = POKE_HEADED,
		.to = POKE_VERIFIED,
		.name = "verify",
		.record = RECORD_AFTER,
		.recorded = "poke-verify-recorded",
		.step = poke_stopped_verify,
	},
	{
		.modes = MODE(POKE_MODE_STOPPED),
		.from = POKE_VERIFIED,
		.to = POKE_DONE,
		.name = "resume",
		.record = RECORD_LAST,
		.recorded = "poke-done",
		.step = poke_stopped_resume,
	},
	{
		.modes = MODE(POKE_MODE_FLIPPED),
		.from = POKE_VERIFIED,
		.to = POKE_DONE,
		.name = "finish",
		.record = RECORD_LAST,
		.recorded = "poke-done",
		.step = poke_flipped_finish,
	},
	{
		.modes = MODE(POKE_MODE_STAGED) | MODE(POKE_MODE_HELD),
		.from = POKE_VERIFIED,
		.to = POKE_DONE,
		.name = "release",
		.record = RECORD_LAST,
		.recorded = "poke-done",
		.step = poke_staged_finish,
	},
};

/* Back to all-old; the run state is put back afterwards. -EUCLEAN (ERR_ATTENTION): neither forth nor back. */
static int (*const undos[])(struct poke_tx *t, struct err *e) = {
	[POKE_MODE_STOPPED] = poke_tx_undo,
	[POKE_MODE_STAGED] = poke_staged_undo,
	[POKE_MODE_HELD] = poke_staged_undo,
	[POKE_MODE_FLIPPED] = poke_flipped_undo,
};

static const struct transition *transition_find(const struct poke_tx *t, enum poke_state from)
{
	for (size_t i = 0; i < ARRAY_SIZE(transitions); i++) {
		const struct transition *row = &transitions[i];

		if ((row->modes & MODE(t->plan->mode)) && row->from == from && (!row->when || row->when(t)))
			return row;
	}
	return NULL;
}

int poke_tx_record(struct poke_tx *t, enum poke_state state, struct err *e)
{
	return t->log->state(t->log, state, t->was_running, e);
}

int poke_tx_cancelled(struct poke_tx *t, struct err *e)
{
	if (!t->log->cancelled || !t->log->cancelled(t->log))
		return 0;
	return err_set(e, ERR_FAILED, ECANCELED, "cancelled", "cancelled; nothing was changed");
}

/*
 * A last record that fails is no failure: the VM runs with all bytes new, and
 * the record before it already lets a restarted worker come to the same end.
 */
static int transition_take(const struct transition *row, struct poke_tx *t, struct err *e)
{
	*e = (struct err){ 0 };
	int r = row->precheck ? row->precheck(t, e) : 0;

	if (r >= 0 && row->record == RECORD_BEFORE) {
		r = poke_tx_record(t, row->to, e);
		if (r >= 0)
			fault_point(row->recorded);
	}
	if (r >= 0)
		r = row->step(t, e);
	if (r < 0 || row->record == RECORD_BEFORE || row->record == RECORD_IN_STEP)
		return r;
	r = poke_tx_record(t, row->to, e);
	if (r >= 0)
		fault_point(row->recorded);
	return row->record == RECORD_LAST ? 0 : r;
}

/* A callback that failed without a sentence must not look like success to whoever reads *e. */
static int explain(int r, const char *step, struct err *e)
{
	if (e->kind == ERR_NONE)
		err_set(e, ERR_FAILED, -r, "", "%s: %s", step, strerror(-r));
	return r;
}

static int carry_out(struct poke_tx *t, struct err *e)
{
	enum poke_state state = POKE_PLANNED;

	for (int i = 0; state != POKE_DONE && i < POKE_STATE_COUNT; i++) {
		uint64_t start = now_us();
		const struct transition *row = transition_find(t, state);

		if (!row)
			return err_set(e, ERR_REFUSED, EOPNOTSUPP, "mode", "mode %s is not available",
				       poke_mode_name(t->plan->mode));
		int r = transition_take(row, t, e);
		poke_tx_span(t, TIMELINE_STAGE, start, r < 0 ? row->name : poke_state_name(row->to));
		if (r < 0)
			return explain(r, row->name, e);
		state = row->to;
	}
	return 0;
}

/* The VM runs as it was found, and no vCPU waits for us any more. */
static int let_go(struct poke_tx *t, struct err *e)
{
	int r = t->paused ? poke_tx_resume(t, e) : 0;

	/* Resumed, but who is held could not be told: disarming tells them again. */
	return !t->stuck && t->armed ? poke_staged_disarm(t, e) : r;
}

/*
 * Back to all-old and to the run state found. e holds why and keeps it unless
 * going back fails too. A failed undo still resumes: the contract is that a VM
 * found running runs, and the error says what it runs with.
 */
static int go_back(struct poke_tx *t, int cause, struct err *e)
{
	struct err why = { 0 }, late = { 0 };
	uint64_t start = now_us();
	int r = 0, released = 0;

	if (t->stuck)
		return -EUCLEAN;
	if (t->touched)
		r = undos[t->plan->mode](t, &why);
	if (!t->stuck)
		released = let_go(t, r < 0 ? &late : &why);
	poke_tx_span(t, TIMELINE_STAGE, start, poke_state_name(POKE_UNDONE));
	if (r < 0 || released < 0) {
		err_prefix(&why, "%.200s", e->text);
		*e = why;
		return -EUCLEAN;
	}
	if (poke_tx_record(t, POKE_UNDONE, &late) >= 0)
		fault_point("poke-undone");
	return cause == -EUCLEAN ? -EIO : cause; /* -EUCLEAN means attention, and only that */
}

int poke_run(struct backend *b, const struct arch_ops *arch, const struct poke_plan *plan, struct poke_quiesce *quiesce,
	     struct poke_log *log, uint64_t timeout_us, struct poke_stats *ret_stats, struct err *e)
{
	struct poke_tx t = { .backend = b, .arch = arch, .plan = plan, .quiesce = quiesce, .log = log };
	uint64_t began = now_us();
	struct err why = { 0 }, late = { 0 };
	int r = 0;

	t.deadline = timeout_us < UINT64_MAX - began ? began + timeout_us : UINT64_MAX;
	fault_point("poke-begin");
	if (plan->n_sites) {
		r = poke_tx_prepare(&t, &why);
		poke_tx_span(&t, TIMELINE_STAGE, began, poke_state_name(POKE_PLANNED));
		if (r >= 0)
			r = carry_out(&t, &why);
		if (r < 0)
			r = go_back(&t, explain(r, "prepare", &why), &why);
	}
	if (poke_gate_open(&t, &late) < 0 && r != -EUCLEAN) {
		why = late;
		r = -EUCLEAN;
	}
	poke_tx_clear_up(&t);
	t.stats.elapsed_us = now_us() - began;
	*ret_stats = t.stats;
	if (r < 0 && e)
		*e = why;
	return r < 0 ? r : 0;
}
