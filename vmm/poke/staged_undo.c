// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The way back of modes staged and held. Up to the first head no vCPU has fetched a
 * new byte: the stages are taken in reverse, under running vCPUs, tail before head
 * as always. After it vCPUs may be anywhere in the new code, and going back is a change
 * like another, made the safest way there is: stopped. Must never let the VM run with
 * a trap in memory that nobody answers.
 */
#include <errno.h>
#include <string.h>

#include "vmm/fault.h"
#include "vmm/poke/barrier.h"

#define PAUSED_ROUNDS 3 /* a backend that failed once may answer again */

/*
 * Old instructions come back behind their traps: who stands inside a range executes
 * either a trap or a whole old instruction all the time, as only first bytes of
 * instructions differ there; and once a tail was new nobody stood inside any more.
 */
static int store_old(struct poke_tx *t, bool head, struct err *e)
{
	for (size_t i = 0; i < t->touched; i++) {
		const struct poke_site *site = &t->plan->sites[i];
		int r = poke_site_store(t->backend, site, site->old_bytes, head ? 0 : 1, head ? 1 : site->len, e);

		if (r < 0)
			return r;
		fault_point("poke-site-undone");
	}
	return poke_barrier(t, e);
}

static int is_old(struct poke_tx *t, struct err *e)
{
	for (size_t i = 0; i < t->touched; i++) {
		const struct poke_site *site = &t->plan->sites[i];
		uint8_t found[POKE_SITE_LEN_MAX];
		int r = poke_site_read(t->backend, site, found, e);

		if (r < 0)
			return r;
		if (memcmp(found, site->old_bytes, site->len) != 0)
			return err_set_addr(e, ERR_FAILED, EIO, "read-back", site->gva,
					    "%.95s does not hold what was written to it", site->label);
	}
	return 0;
}

static int withdraw(struct poke_tx *t, struct err *e)
{
	poke_traps_phase(t->traps, POKE_PHASE_BACK);
	int r = store_old(t, false, e);
	if (r >= 0)
		r = store_old(t, true, e);
	return r < 0 ? r : is_old(t, e);
}

/* The last resort: stand still rather than run into a trap that nobody answers. */
static int give_up(struct poke_tx *t, const struct err *why, struct err *e)
{
	struct err ignored;

	t->stuck = true;
	if (!t->paused)
		poke_tx_pause(t, &ignored);
	return err_set(e, ERR_ATTENTION, EUCLEAN, "undo", "%s, breakpoints of ours may be in its text: %.300s",
		       t->paused ? "the VM is left paused" : "the VM could not be paused", why->text);
}

int poke_staged_undo(struct poke_tx *t, struct err *e)
{
	struct err why = { 0 };
	int r = -EIO;

	fault_point("poke-undo");
	if (!t->fetched)
		r = withdraw(t, &why);
	for (int i = 0; i < PAUSED_ROUNDS && r < 0; i++) {
		r = poke_tx_undo_paused(t, &why);
		if (r >= 0)
			r = poke_barrier(t, &why);
	}
	if (r < 0)
		return give_up(t, &why, e);
	poke_traps_phase(t->traps, POKE_PHASE_OVER);
	return 0;
}
