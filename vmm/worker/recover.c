// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Finishing or undoing what a dead predecessor began; see recover.h. The journal
 * says what was meant, guest memory says how far it came. Must never write over
 * bytes it does not know, and must leave a VM running that ran before.
 */
#include "vmm/worker/recover.h"

#include <errno.h>
#include <string.h>

#include "vmm/fault.h"
#include "vmm/worker/txlog.h"

static bool paused_by_predecessor(const struct session *s)
{
	switch (s->open_state) {
	case POKE_PLANNED:
	case POKE_DONE:
	case POKE_UNDONE:
		return false;
	default:
		return s->open_running;
	}
}

/* data_gone: data sites that the guest has changed since; they are not among the others. */
struct holdings {
	size_t old_sites, new_sites, foreign_sites, sites, data_gone;
};

static int take_stock(struct session *s, const struct poke_plan *plan, struct holdings *ret, struct err *e)
{
	struct holdings h = { .sites = plan->n_sites };

	for (size_t i = 0; i < plan->n_sites; i++) {
		enum poke_holds holds;
		int r = poke_plan_holds(s->backend, plan, i, &holds, NULL, e);

		if (r < 0 && r != -EFAULT)
			return r;
		if (r == 0 && plan->sites[i].data && holds == POKE_HOLDS_FOREIGN) {
			h.data_gone++;
			h.sites--;
			continue;
		}
		/* Not RAM any more: another boot with less memory; certainly not our text. */
		h.foreign_sites += r == -EFAULT || holds == POKE_HOLDS_FOREIGN;
		h.old_sites += r == 0 && holds == POKE_HOLDS_OLD;
		h.new_sites += r == 0 && holds == POKE_HOLDS_NEW;
	}
	*ret = h;
	return 0;
}

static int probe_guest(struct session *s, struct guest **ret, struct err *e)
{
	_cleanup_free_ struct vcpu_regs *regs = calloc(VCPU_MAX, sizeof(*regs));

	if (!regs)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	int n = session_regs(s, regs, e);
	return n < 0 ? n : guest_probe(&s->memory.ops, regs, (size_t)n, ret, e);
}

/* Foreign bytes: a reboot (another kernel, another place, or none yet), or did the guest itself change them? */
static int judge_foreign(struct session *s, enum result *ret, struct err *e)
{
	_cleanup_(guest_free) struct guest *g = NULL;
	int r = probe_guest(s, &g, e);

	/* No kernel there says something; a monitor that went away in the middle does not. */
	if (r < 0 && (e->kind == ERR_INACTIVE || r == -ENOMEM))
		return r;
	*ret = r < 0 || session_other_kernel(s->open, guest_facts(g)) ? RESULT_LOST : RESULT_ATTENTION;
	return 0;
}

/*
 * Forward or back? Where the VM stood still all the time, only a whole change counts as
 * made. A staged one is different from the first head on: vCPUs may have executed new
 * code and none is in the middle of an old range, so that forward is the safe way
 * (poke_settle()). Before that none has seen a new byte.
 */
static bool goes_forward(const struct session *s, const struct holdings *h)
{
	enum poke_mode mode = s->open->plan->mode;
	bool staged = mode == POKE_MODE_STAGED || mode == POKE_MODE_HELD;

	if (h->new_sites == h->sites || h->old_sites == h->sites)
		return h->new_sites == h->sites;
	return staged && (s->open_state == POKE_HEADED || s->open_state == POKE_VERIFIED);
}

/*
 * Data that is neither old nor new was changed by a guest that ran: before the first write or
 * after the last, as between them it stands still. Its text says which; with that in two
 * minds somebody else was at work.
 */
static bool data_tells(const struct holdings *h)
{
	return !h->data_gone || h->new_sites == h->sites || h->old_sites == h->sites;
}

static int settle_sites(struct session *s, enum result *ret, struct err *e)
{
	struct transaction *t = s->open;
	enum result done = t->operation == OPERATION_REVERT ? RESULT_REVERTED : RESULT_APPLIED;
	struct holdings h;
	int r = take_stock(s, t->plan, &h, e);

	if (r < 0)
		return r;
	if (h.foreign_sites || h.sites == 0 || !data_tells(&h))
		return judge_foreign(s, ret, e);
	bool to_new = goes_forward(s, &h);
	if (h.new_sites != h.sites && h.old_sites != h.sites)
		r = poke_settle(s->backend, t->plan, to_new, e);
	if (r < 0)
		return r;
	*ret = to_new ? done : RESULT_UNDONE;
	return 0;
}

/* The slots of another boot are its own text. */
static int settle(struct session *s, enum result *ret, struct err *e)
{
	int r = settle_sites(s, ret, e);

	return r < 0 || *ret == RESULT_LOST ? r : poke_settle_slots(s->backend, s->open->plan, e);
}

struct announcement {
	struct backend_pause_hook hook;
	struct session *s;
	bool orphan;
};

/* Between its first trap and its last head: where a staged transaction stands decides which way it is settled. */
static bool under_way(const struct session *s)
{
	return s->open_state == POKE_TRAPPED || s->open_state == POKE_TAILED || s->open_state == POKE_HEADED ||
	       s->open_state == POKE_VERIFIED;
}

/*
 * Whoever has to recover after us must know that this pause is not the operator's, and
 * still how far the transaction had come: those states say the first as well.
 */
static int announce_pause(struct backend_pause_hook *hook, bool was_running, struct err *e)
{
	struct announcement *a = container_of(hook, struct announcement, hook);
	struct session *s = a->s;

	s->open_running = was_running || a->orphan;
	if (!under_way(s))
		s->open_state = POKE_PAUSED;
	return txlog_state(s, s->open->number, s->open_state, s->open_running, e);
}

/* The predecessor may be dead with the VM stopped: look and write while it is stopped by us, then let it go. */
static int settle_paused(struct session *s, enum result *ret, struct err *e)
{
	const struct backend_ops *ops = s->backend->ops;
	bool was_running, orphan = paused_by_predecessor(s);
	struct announcement a = { .hook.before = announce_pause, .s = s, .orphan = orphan };
	struct err resume_error = { 0 };
	int r, resumed;

	r = ops->pause(s->backend, &a.hook, &was_running, e);
	if (r < 0)
		return r;
	fault_point("recover-paused");
	r = settle(s, ret, e);
	fault_point("recover-settled");
	resumed = ops->resume(s->backend, &resume_error);
	if (resumed == 0 && r == 0 && orphan && !was_running)
		resumed = ops->resume_orphan(s->backend, &resume_error);
	if (r == 0 && resumed < 0) {
		*e = resume_error;
		r = resumed;
	}
	return r;
}

static const char *const sentences[] = {
	[RESULT_APPLIED] = "the worker ended; recovery found the patch complete",
	[RESULT_REVERTED] = "the worker ended; recovery found the revert complete",
	[RESULT_UNDONE] = "the worker ended; recovery put the text back as it was",
	[RESULT_LOST] = "the guest rebooted before recovery; its text is new",
	[RESULT_ATTENTION] = "the text holds bytes vmpoke did not write; they were left alone",
};

static int recover_open(struct session *s, struct err *e)
{
	enum result result = RESULT_UNDONE;
	struct err why = { 0 };
	int r = 0;

	if (session_other_process(s, &s->open->boot))
		result = RESULT_LOST;
	else if (s->open_state != POKE_PLANNED)
		r = settle_paused(s, &result, e);
	if (r < 0)
		return r;
	err_set(&why, ERR_FAILED, EOWNERDEAD, NULL, "%s", sentences[result]);
	s->recovered++;
	r = txlog_end(s, TAKE_PTR(s->open), result, NULL, &why, e);
	if (result == RESULT_LOST)
		session_lose_patches(s);
	return r;
}

/* A trap that is left would stop the VM the next time a vCPU comes there: letting go of a held VM takes them all away. */
static int remove_traps(struct session *s, struct err *e)
{
	const struct backend_ops *ops = s->backend->ops;
	bool ignored;
	int r = ops->pause(s->backend, NULL, &ignored, e);

	if (r == 0)
		r = ops->resume(s->backend, e);
	return r < 0 ? r : ops->info(s->backend, &s->info, e);
}

static int recover_hold(struct session *s, struct err *e)
{
	int r = s->backend->ops->info(s->backend, &s->info, e);

	if (r == 0 && s->orphan_traps && s->info.state == BACKEND_RUNNING)
		r = remove_traps(s, e);
	if (r == 0 && s->info.state == BACKEND_PAUSED)
		r = s->backend->ops->resume_orphan(s->backend, e);
	if (r < 0)
		return r;
	s->orphan_hold = false;
	s->orphan_traps = false;
	s->held = true; /* so that release writes the record */
	session_release(s);
	return 0;
}

int recover_session(struct session *s, struct err *e)
{
	int r = 0;

	if (!s->open && !s->orphan_hold)
		return 0;
	if (s->open)
		r = recover_open(s, e);
	if (r == 0 && s->orphan_hold)
		r = recover_hold(s, e);
	if (r == 0)
		r = s->backend->ops->info(s->backend, &s->info, e);
	return r;
}
