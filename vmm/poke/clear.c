// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Is any context inside a range that is about to change? A vCPU whose RIP is
 * there is walked out of it, one instruction at a time; saved contexts are asked
 * for. Works on a paused VM only and must never wait: who stays inside is named,
 * and the caller lets the VM run on before it asks again.
 */
#include <errno.h>
#include <inttypes.h>

#include "vmm/fault.h"
#include "vmm/poke/tx.h"

/* More instructions than any range holds; a loop inside a range would go on for ever. */
#define STEPS_MAX 64

/* The site whose inside (not its first byte) holds rip, or NULL. Sites are sorted. */
static const struct poke_site *site_around(const struct poke_plan *plan, uint64_t rip)
{
	size_t lo = 0, hi = plan->n_sites;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct poke_site *site = &plan->sites[mid];

		if (rip <= site->gva)
			hi = mid;
		else if (rip - site->gva >= site->len)
			lo = mid + 1;
		else
			return site;
	}
	return NULL;
}

static int by_gva(const void *key, const void *site)
{
	uint64_t gva = *(const uint64_t *)key, at = ((const struct poke_site *)site)->gva;

	return gva < at ? -1 : gva > at;
}

/* The site whose first byte is at rip, or NULL. */
static const struct poke_site *site_at(const struct poke_plan *plan, uint64_t rip)
{
	return bsearch(&rip, plan->sites, plan->n_sites, sizeof(*plan->sites), by_gva);
}

static int vcpu_busy(size_t vcpu, const struct poke_site *site, uint64_t rip, const char *why, struct err *e)
{
	err_set_addr(e, ERR_TIMEOUT, EBUSY, "busy", rip, "vCPU %zu is inside %.95s (at 0x%" PRIx64 ") and %s", vcpu,
		     site->label, rip, why);
	return 1;
}

/* Traps of ours stand on the old boundaries. */
static bool is_trapped(const struct poke_tx *t)
{
	return t->armed && t->plan->trap == BACKEND_TRAP_KIND_INT3 && t->plan != &t->inverse;
}

/*
 * Where traps of ours stand on the old boundaries the old bytes are put back for the
 * step: no other vCPU runs, and the instruction is where it belongs, so that a fault
 * of it leaves the right address behind.
 */
static int vcpu_step(struct poke_tx *t, size_t vcpu, const struct poke_site *site, struct err *e)
{
	struct backend *b = t->backend;
	bool trapped = is_trapped(t);
	struct err trap_error = { 0 };
	int r = trapped ? poke_site_write(b, site, site->old_bytes, e) : 0;

	if (r >= 0)
		r = b->ops->step(b, vcpu, e);
	int again = trapped ? poke_site_trap(b, t->arch, site, &trap_error) : 0;
	if (r >= 0 && again < 0) {
		*e = trap_error;
		r = again;
	}
	return r;
}

/*
 * A halted vCPU is not stepped: the step would end its HLT, which only an
 * interrupt may. It leaves by itself once the VM runs.
 */
static int vcpu_walk_out(struct poke_tx *t, size_t vcpu, struct err *e)
{
	struct backend *b = t->backend;
	struct vcpu_regs *regs = &t->regs[vcpu];
	const struct poke_site *site = site_around(t->plan, regs->rip);

	for (int i = 0; site && i < STEPS_MAX; i++) {
		if (regs->halted)
			return vcpu_busy(vcpu, site, regs->rip, "halted there", e);
		if (!(t->caps & BACKEND_STEP))
			return vcpu_busy(vcpu, site, regs->rip, "cannot be stepped", e);
		int r = vcpu_step(t, vcpu, site, e);
		if (r == -EBUSY)
			return vcpu_busy(vcpu, site, regs->rip, "about to take an interrupt", e);
		if (r >= 0)
			r = b->ops->regs_get(b, vcpu, regs, e);
		if (r < 0)
			return r;
		t->stats.steps++;
		site = site_around(t->plan, regs->rip);
	}
	return site ? vcpu_busy(vcpu, site, regs->rip, "does not leave when stepped", e) : 0;
}

/* Every vCPU is read first: the scan of saved contexts needs all of them, whoever is inside. */
static int vcpus_clear(struct poke_tx *t, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < t->n_vcpus && r >= 0; i++)
		r = t->backend->ops->regs_get(t->backend, i, &t->regs[i], e);
	if (r < 0)
		return r;
	fault_point("poke-registers-read");
	for (size_t i = 0; i < t->n_vcpus && r == 0; i++)
		r = vcpu_walk_out(t, i, e);
	return r;
}

/*
 * After the vCPUs: a step out of a range may be a call, which leaves its return
 * address on a stack. -EBADMSG is a list seen in mid-change: as good as busy,
 * it passes once the guest has run on.
 */
static int stacks_clear(struct poke_tx *t, struct err *e)
{
	if (!t->plan->needs_quiescence)
		return 0;
	err_set(e, ERR_TIMEOUT, EBUSY, "busy", "a saved context is inside a range");
	bool tasks_left = t->tasks_left && t->plan != &t->inverse;
	int r = t->quiesce->scan(t->quiesce, t->regs, t->n_vcpus, t->plan, tasks_left, e);
	if (r == 0)
		t->stats.tasks_left = tasks_left;
	return r == -EBADMSG ? 1 : r;
}

static int exclusions_clear(struct poke_tx *t, struct err *e)
{
	for (size_t i = 0; i < t->n_vcpus; i++)
		for (size_t j = 0; j < t->plan->n_exclusions; j++) {
			const struct poke_exclusion *x = &t->plan->exclusions[j];
			uint64_t rip = t->regs[i].rip;

			if (rip < x->start || rip >= x->end)
				continue;
			err_set_addr(e, ERR_TIMEOUT, EBUSY, "busy", rip,
				     "vCPU %zu is at 0x%" PRIx64 ", inside the excluded range from 0x%" PRIx64, i, rip,
				     x->start);
			return 1;
		}
	return 0;
}

/*
 * Somebody is inside, and a vCPU that waits at a trap may be what it waits for: an
 * interrupt handler held at one site, with the interrupted context inside another.
 * Nobody has seen a new byte yet, so it may go on with the old code.
 */
static int vcpu_pass_entry(struct poke_tx *t, size_t vcpu, struct err *e)
{
	struct vcpu_regs *regs = &t->regs[vcpu];
	const struct poke_site *site = site_at(t->plan, regs->rip);
	int r = 0;

	for (int i = 0; site && i < STEPS_MAX && r >= 0 && !regs->halted; i++) {
		r = vcpu_step(t, vcpu, site, e);
		if (r >= 0)
			r = t->backend->ops->regs_get(t->backend, vcpu, regs, e);
		t->stats.steps += r >= 0;
		site = site_around(t->plan, regs->rip);
	}
	return r == -EBUSY ? 0 : r; /* it takes an event first: that may be what is needed */
}

static int entries_pass(struct poke_tx *t)
{
	struct err e;
	int r = 0;

	for (size_t i = 0; i < t->n_vcpus && r >= 0; i++)
		r = vcpu_pass_entry(t, i, &e);
	return r;
}

static int patching_clear(struct poke_tx *t, struct err *e)
{
	return poke_plan_has_data(t->plan) ? t->quiesce->patching(t->quiesce, e) : 0;
}

/* On the way back bytes of ours go out, wanted or not. */
static int copies_clear(struct poke_tx *t, struct err *e)
{
	return t->quiesce && t->quiesce->copied && t->plan != &t->inverse ? t->quiesce->copied(t->quiesce, e) : 0;
}

int poke_tx_clear(struct poke_tx *t, struct err *e)
{
	int r = vcpus_clear(t, e);

	if (r == 0)
		r = patching_clear(t, e);
	if (r == 0)
		r = copies_clear(t, e);
	if (r == 0)
		r = exclusions_clear(t, e);
	if (r == 0)
		r = stacks_clear(t, e);
	if (r == 0)
		fault_point("poke-cleared");
	if (r == 1 && is_trapped(t) && (t->caps & BACKEND_STEP) && t->was_running && entries_pass(t) < 0)
		return err_set(e, ERR_FAILED, EIO, "", "a vCPU could not be stepped past a breakpoint");
	return r;
}
