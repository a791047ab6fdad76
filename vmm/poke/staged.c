// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Modes staged and held: text changes under running vCPUs behind traps.
 *
 *   TRAPPED  a trap on every old boundary; from the barrier on, old code is entered no more
 *   (quiet)  contexts that were inside a range have left it: shown in a pause, see below
 *   TAILED   every byte but the first is new; nobody can fetch them before the barrier
 *   HEADED   the first byte is new; from the barrier on no trap is fetched any more
 *
 * One barrier per stage, whatever the number of sites. The search for contexts needs
 * registers and stacks that hold still, so it is made in a pause that only reads; the
 * bytes change after it, because what it showed stays true: no answer to a hit puts
 * a vCPU or a return address inside a range (trap.c). With exclusion ranges it does not
 * stay true, and the bytes are changed in the pause. A site on two pages gets that pause as well: where
 * KVM interprets an instruction it reads the pages one after the other, out of guest mode, so no barrier waits
 * for it, and one that had read the first before the trap was seen to find new bytes on the second.
 *
 * With debug-register traps no byte changes while staging: they fire before the
 * instruction is fetched, so the whole change is one stage behind them.
 * Must never take a trap off before all vCPUs are past the stage before.
 */
#include <errno.h>
#include <string.h>

#include "vmm/fault.h"
#include "vmm/poke/barrier.h"

#define DISARM_ROUNDS 3

static bool int3(const struct poke_tx *t)
{
	return t->plan->trap == BACKEND_TRAP_KIND_INT3;
}

static bool site_has_tail(const struct poke_site *site)
{
	return site->boundaries != 1 || memcmp(site->old_bytes + 1, site->new_bytes + 1, site->len - 1u) != 0;
}

bool poke_staged_has_tail(const struct poke_tx *t)
{
	if (!int3(t) || t->plan->n_exclusions)
		return false;
	for (size_t i = 0; i < t->plan->n_sites; i++)
		if (site_has_tail(&t->plan->sites[i]))
			return true;
	return false;
}

static int traps_hw(struct poke_tx *t, struct err *e)
{
	uint64_t gvas[POKE_TRAPS_HW_MAX];
	struct backend_barrier done = { 0 };
	uint64_t start = now_us();
	size_t n = 0;

	for (size_t i = 0; i < t->plan->n_sites; i++)
		for (size_t at = 0; at < t->plan->sites[i].len; at++)
			if (t->plan->sites[i].boundaries >> at & 1) {
				if (n == POKE_TRAPS_HW_MAX)
					return err_set(e, ERR_REFUSED, EOPNOTSUPP, "trap", "too few debug registers");
				gvas[n++] = t->plan->sites[i].gva + at;
			}
	int r = t->backend->ops->live->trap_hw(t->backend, &t->traps->handler, gvas, n, &done, e);
	if (r >= 0)
		poke_barrier_count(t, &done, TIMELINE_BARRIER, start, "debug registers set");
	return r < 0 ? r : 0;
}

static int traps_int3(struct poke_tx *t, struct err *e)
{
	for (size_t i = 0; i < t->plan->n_sites; i++) {
		t->touched = i + 1;
		int r = poke_site_trap(t->backend, t->arch, &t->plan->sites[i], e);
		if (r < 0)
			return r;
		fault_point("poke-site-trapped");
	}
	return poke_barrier(t, e);
}

int poke_staged_trap(struct poke_tx *t, struct err *e)
{
	t->quiet = true;
	t->armed = true; /* also when it fails half-way */
	int r = t->backend->ops->live->arm(t->backend, &t->traps->handler, e);
	if (r >= 0)
		r = poke_copies_write(t, e);
	if (r >= 0)
		r = int3(t) ? traps_int3(t, e) : traps_hw(t, e);
	if (r >= 0)
		fault_point("poke-trapped");
	return r;
}

int poke_staged_quiesce(struct poke_tx *t, struct err *e)
{
	bool look = t->plan->needs_quiescence || t->plan->n_exclusions || (int3(t) && poke_tx_crosses(t));
	int r = poke_tx_cancelled(t, e);

	if (r >= 0 && look)
		r = poke_stopped_pause(t, e);
	if (r < 0)
		return r;
	poke_traps_phase(t->traps, POKE_PHASE_SWITCH);
	if (look && !t->plan->n_exclusions)
		r = poke_tx_resume(t, e);
	fault_point("poke-quiet");
	return r;
}

int poke_staged_tail(struct poke_tx *t, struct err *e)
{
	for (size_t i = 0; i < t->plan->n_sites; i++) {
		const struct poke_site *site = &t->plan->sites[i];
		int r = 0;

		if (site_has_tail(site))
			r = poke_site_store(t->backend, site, site->new_bytes, 1, site->len, e);
		if (r < 0)
			return r;
		fault_point("poke-site-tailed");
	}
	int r = poke_barrier(t, e);
	if (r >= 0)
		fault_point("poke-tailed");
	return r;
}

/* Where the tail had no stage of its own nobody can fetch it: debug-register traps, or the VM is paused. */
int poke_staged_head(struct poke_tx *t, struct err *e)
{
	bool whole = !int3(t) || t->paused;

	t->fetched = !t->paused;
	for (size_t i = 0; i < t->plan->n_sites; i++) {
		const struct poke_site *site = &t->plan->sites[i];
		int r = 0;

		t->touched = int3(t) ? t->touched : i + 1;
		if (whole)
			r = poke_site_store(t->backend, site, site->new_bytes, 1, site->len, e);
		if (r >= 0)
			r = poke_site_store(t->backend, site, site->new_bytes, 0, 1, e);
		if (r < 0)
			return r;
		fault_point("poke-site-headed");
	}
	int r = poke_barrier(t, e);
	if (r >= 0)
		fault_point("poke-headed");
	return r;
}

static int disarm_once(struct poke_tx *t, struct err *e)
{
	const struct backend_live_ops *live = t->backend->ops->live;
	struct backend_barrier done = { 0 };
	uint64_t start = now_us();
	int r = int3(t) ? 0 : live->trap_hw(t->backend, &t->traps->handler, NULL, 0, &done, e);

	if (r < 0)
		return r;
	if (!int3(t))
		poke_barrier_count(t, &done, TIMELINE_BARRIER, start, "debug registers cleared");
	poke_traps_phase(t->traps, POKE_PHASE_OVER);
	r = live->release(t->backend, e);
	uint64_t released = now_us();
	if (r >= 0)
		r = live->disarm(t->backend, &t->traps->handler, e);
	if (r >= 0)
		poke_traps_let_go(t->traps, released);
	return r < 0 ? r : poke_copies_remove(t, e);
}

/* Who is held asks again after the release and executes what is there; disarm() waits for all who were asking. */
int poke_staged_disarm(struct poke_tx *t, struct err *e)
{
	struct err why = { 0 };
	int r = -EIO;

	for (int i = 0; i < DISARM_ROUNDS && r < 0; i++)
		r = disarm_once(t, &why);
	if (r >= 0) {
		t->armed = false;
		return 0;
	}
	t->stuck = true;
	return err_set(e, ERR_ATTENTION, EUCLEAN, "disarm", "vCPUs could not be told that no traps are left: %.300s",
		       why.text);
}

int poke_staged_finish(struct poke_tx *t, struct err *e)
{
	int r = 0;

	t->fetched = true;
	if (t->paused)
		r = poke_tx_resume(t, e);
	if (r >= 0)
		r = poke_staged_disarm(t, e);
	if (r < 0 && t->stuck)
		err_prefix(e, "all sites hold the new bytes");
	if (r >= 0)
		fault_point("poke-released");
	return r;
}
