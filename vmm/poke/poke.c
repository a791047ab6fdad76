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
 * One arrow. A mode's road is the chain of its rows from POKE_PLANNED to
 * POKE_DONE; a mode without rows is refused. precheck still writes nothing.
 */
struct transition {
	unsigned modes;
	enum poke_state from, to;
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
		.modes = MODE(POKE_MODE_STOPPED),
		.from = POKE_WRITTEN,
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
};

static const struct transition *transition_find(enum poke_mode mode, enum poke_state from)
{
	for (size_t i = 0; i < ARRAY_SIZE(transitions); i++)
		if ((transitions[i].modes & MODE(mode)) && transitions[i].from == from)
			return &transitions[i];
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
		const struct transition *row = transition_find(t->plan->mode, state);

		if (!row)
			return err_set(e, ERR_REFUSED, EOPNOTSUPP, "mode", "mode %s is not available",
				       poke_mode_name(t->plan->mode));
		int r = transition_take(row, t, e);
		if (r < 0)
			return explain(r, row->name, e);
		state = row->to;
	}
	return 0;
}

/*
 * Back to all-old and to the run state found. e holds why and keeps it unless
 * going back fails too. A failed undo still resumes: the contract is that a VM
 * found running runs, and the error says what it runs with.
 */
static int go_back(struct poke_tx *t, int cause, struct err *e)
{
	struct err why = { 0 }, late = { 0 };
	int r = 0, resumed = 0;

	if (t->stuck)
		return -EUCLEAN;
	if (t->touched)
		r = poke_tx_undo(t, &why);
	if (t->paused)
		resumed = poke_tx_resume(t, r < 0 ? &late : &why);
	if (r < 0 || resumed < 0) {
		err_prefix(&why, "%.200s", e->text);
		*e = why;
		return -EUCLEAN;
	}
	if (poke_tx_record(t, POKE_UNDONE, &late) >= 0)
		fault_point("poke-undone");
	return cause == -EUCLEAN ? -EIO : cause; /* -EUCLEAN means attention, and only that */
}

static int plan_check(const struct poke_plan *plan, const struct poke_quiesce *quiesce, struct err *e)
{
	if (plan->needs_quiescence && !quiesce)
		return err_set(
			e, ERR_REFUSED, EOPNOTSUPP, "quiescence",
			"a site replaces several instructions, and nobody can tell whether a sleeping task stands between them");
	for (size_t i = 0; i < plan->n_sites; i++)
		if (!poke_site_valid(&plan->sites[i]) ||
		    (i && plan->sites[i].gva - plan->sites[i - 1].gva < plan->sites[i - 1].len) ||
		    (i && plan->sites[i].gva < plan->sites[i - 1].gva))
			return err_set_addr(e, ERR_FAILED, EINVAL, "", plan->sites[i].gva, "%.95s: the plan is damaged",
					    plan->sites[i].label);
	return 0;
}

/* The count is taken before the pause: a round trip that the guest does not feel. */
static int poke_tx_prepare(struct poke_tx *t, struct err *e)
{
	struct backend_info info = { 0 };
	int r = plan_check(t->plan, t->quiesce, e);

	if (r >= 0)
		r = t->backend->ops->info(t->backend, &info, e);
	if (r < 0)
		return r;
	if (info.vcpus < 1 || info.vcpus > VCPU_MAX)
		return err_set(e, ERR_FAILED, ERANGE, "", "the VM has %zu vCPUs; 1 to %d can be handled", info.vcpus,
			       VCPU_MAX);
	t->caps = info.caps;
	t->n_vcpus = info.vcpus;
	t->regs = calloc(info.vcpus, sizeof(*t->regs));
	return t->regs ? 0 : err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
}

int poke_run(struct backend *b, const struct arch_ops *arch, const struct poke_plan *plan, struct poke_quiesce *quiesce,
	     struct poke_log *log, uint64_t timeout_us, struct poke_stats *ret_stats, struct err *e)
{
	struct poke_tx t = { .backend = b, .arch = arch, .plan = plan, .quiesce = quiesce, .log = log };
	uint64_t began = now_us();
	struct err why = { 0 };
	int r = 0;

	t.deadline = timeout_us < UINT64_MAX - began ? began + timeout_us : UINT64_MAX;
	fault_point("poke-begin");
	if (plan->n_sites) {
		r = poke_tx_prepare(&t, &why);
		if (r >= 0)
			r = carry_out(&t, &why);
		if (r < 0)
			r = go_back(&t, explain(r, "prepare", &why), &why);
	}
	free(t.regs);
	t.stats.elapsed_us = now_us() - began;
	*ret_stats = t.stats;
	if (r < 0 && e)
		*e = why;
	return r < 0 ? r : 0;
}
