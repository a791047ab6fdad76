// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a transaction needs before it begins, and what is left of it afterwards. All
 * memory is taken here: between the first trap and the last nothing may fail that
 * need not. Must never touch the guest.
 */
#include <errno.h>
#include <string.h>

#include "vmm/poke/barrier.h"
#include "vmm/poke/plan.h"

static int plan_check(const struct poke_tx *t, struct err *e)
{
	const struct poke_plan *plan = t->plan;

	if (plan->needs_quiescence && !t->quiesce)
		return err_set(
			e, ERR_REFUSED, EOPNOTSUPP, "quiescence",
			"a site replaces several instructions, and nobody can tell whether a sleeping task stands between them");
	if (poke_plan_has_data(plan) && (!t->quiesce || !t->quiesce->patching))
		return err_set(e, ERR_REFUSED, EOPNOTSUPP, "guest-poking",
			       "data that the guest changes together with its text is to be changed, and nobody can tell whether it is doing so");
	if (plan->n_exclusions > POKE_EXCLUSIONS_MAX)
		return err_set(e, ERR_FAILED, EINVAL, "", "the plan is damaged");
	for (size_t i = 0; i < plan->n_sites; i++)
		if (!poke_site_valid(&plan->sites[i]) ||
		    (i && plan->sites[i].gva - plan->sites[i - 1].gva < plan->sites[i - 1].len) ||
		    (i && plan->sites[i].gva < plan->sites[i - 1].gva))
			return err_set_addr(e, ERR_FAILED, EINVAL, "", plan->sites[i].gva, "%.95s: the plan is damaged",
					    plan->sites[i].label);
	return 0;
}

/* Asked again: a plan may come from a journal, and the backend may not be the one it was made for. */
static int mode_check(const struct poke_tx *t, struct err *e)
{
	struct poke_plan now = *t->plan;
	const char *why = NULL;

	now.caps = t->caps;
	if (!t->backend->ops->live)
		now.caps &= ~(unsigned)(BACKEND_NONSTOP | BACKEND_REMAP);
	why = plan_mode_unfit(&now, now.mode);
	if (!why && (now.mode == POKE_MODE_STAGED || now.mode == POKE_MODE_HELD))
		why = plan_trap_unfit(&now, now.trap);
	if (why)
		return err_set(e, ERR_REFUSED, EOPNOTSUPP, "mode", "mode %s is not available: %s",
			       poke_mode_name(now.mode), why);
	return 0;
}

/* Who may stand inside new instructions counts on the way back only: one cannot stand inside a single one. */
static int inverse_prepare(struct poke_tx *t, struct err *e)
{
	const struct poke_plan *plan = t->plan;
	bool several = false;

	for (size_t i = 0; i < plan->n_sites; i++)
		several |= (plan->sites[i].new_boundaries & (plan->sites[i].new_boundaries - 1)) != 0;
	if (!several || !t->quiesce)
		return 0;
	struct poke_site *sites = calloc(plan->n_sites, sizeof(*sites));
	if (!sites)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	for (size_t i = 0; i < plan->n_sites; i++) {
		const struct poke_site *from = &plan->sites[i];

		sites[i] = *from;
		memcpy(sites[i].old_bytes, from->new_bytes, sizeof(sites[i].old_bytes));
		memcpy(sites[i].new_bytes, from->old_bytes, sizeof(sites[i].new_bytes));
		sites[i].boundaries = from->new_boundaries;
		sites[i].new_boundaries = from->boundaries;
	}
	t->inverse = *plan;
	t->inverse.sites = sites;
	t->inverse.needs_quiescence = true;
	return 0;
}

static int traps_prepare(struct poke_tx *t, struct err *e)
{
	int r = poke_traps_new(t->arch, t->plan, t->n_vcpus, &t->traps, e);

	if (r >= 0)
		t->traps->timeline = t->log->timeline;
	return r;
}

static int live_prepare(struct poke_tx *t, struct err *e)
{
	int r = mode_check(t, e);

	if (r >= 0)
		r = poke_barrier_prepare(t, e);
	if (r >= 0)
		r = inverse_prepare(t, e);
	if (r < 0)
		return r;
	if (t->plan->n_slots && !(t->caps & BACKEND_STEP))
		return err_set(e, ERR_FAILED, EINVAL, "", "slots in the plan, and vCPUs cannot be stepped");
	if (t->plan->mode != POKE_MODE_FLIPPED)
		return traps_prepare(t, e);
	t->flips = calloc(4 * t->plan->n_sites, sizeof(*t->flips));
	return t->flips ? 0 : err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
}

/* The count is taken before the pause: a round trip that the guest does not feel. */
int poke_tx_prepare(struct poke_tx *t, struct err *e)
{
	struct backend_info info = { 0 };
	int r = plan_check(t, e);

	if (r >= 0)
		r = t->backend->ops->info(t->backend, &info, e);
	if (r < 0)
		return r;
	if (info.vcpus < 1 || info.vcpus > VCPU_MAX)
		return err_set(e, ERR_FAILED, ERANGE, "", "the VM has %zu vCPUs; 1 to %d can be handled", info.vcpus,
			       VCPU_MAX);
	t->caps = info.caps;
	t->n_vcpus = info.vcpus;
	t->was_running = info.state == BACKEND_RUNNING;
	t->regs = calloc(info.vcpus, sizeof(*t->regs));
	if (!t->regs)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	return t->plan->mode == POKE_MODE_STOPPED ? 0 : live_prepare(t, e);
}

void poke_tx_clear_up(struct poke_tx *t)
{
	if (t->traps)
		poke_traps_count(t->traps, &t->stats);
	if (t->armed)
		poke_traps_abandon(t->traps);
	else
		poke_traps_free(t->traps);
	free(t->regs);
	free(t->pages);
	free(t->flips);
	free(t->inverse.sites);
}
