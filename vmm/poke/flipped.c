// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Mode flipped: the pages of all sites are replaced by changed copies in one remap,
 * so every byte of every site changes at the same instant for every vCPU; the undo is
 * a flip back. It says nothing about contexts inside a range of several
 * instructions: those are looked for in a short pause, and because nothing keeps a
 * vCPU out of the range afterwards the flip is made in that same pause. So is one of
 * an instruction on two pages: a CPU fetches it again after the remap, but where KVM
 * interprets it the two pages are read one after the other, and a flip in between was
 * seen to give half of each. And so is one with data of the guest's, which is written, not
 * flipped: a page that the guest writes to cannot be copied while it does. Must never flip
 * twice where once will do: a transaction is one flip.
 */
#include <errno.h>

#include "vmm/fault.h"
#include "vmm/poke/barrier.h"

#define FLIP_ROUNDS 3 /* as many as an undo by writing gets */

bool poke_flipped_pauses(const struct poke_tx *t)
{
	return poke_tx_crosses(t) || t->plan->needs_quiescence || t->plan->n_exclusions || poke_plan_has_data(t->plan);
}

/* One stretch of guest-physical memory, cut at page ends. */
static size_t pieces(struct backend_flip *out, uint64_t gpa, const uint8_t *bytes, size_t len)
{
	size_t n = 0;

	for (size_t at = 0, part; at < len; at += part) {
		size_t room = 4096 - ((gpa + at) & 4095);

		part = len - at < room ? len - at : room;
		out[n++] = (struct backend_flip){ .gpa = gpa + at, .len = (uint32_t)part, .bytes = bytes + at };
	}
	return n;
}

/* Paused: where there is data a flip is made in a pause, and its undo before that ends. */
static int data_all(struct poke_tx *t, bool to_new, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < t->plan->n_sites && r >= 0; i++) {
		const struct poke_site *site = &t->plan->sites[i];

		if (site->data)
			r = poke_site_write(t->backend, site, to_new ? site->new_bytes : site->old_bytes, e);
	}
	return r;
}

static int flip_all(struct poke_tx *t, bool to_new, struct err *e)
{
	struct backend_barrier done = { 0 };
	int r = data_all(t, to_new, e);
	uint64_t start;
	size_t n = 0;

	for (size_t i = 0; i < t->plan->n_sites; i++) {
		const struct poke_site *site = &t->plan->sites[i];
		const uint8_t *bytes = to_new ? site->new_bytes : site->old_bytes;

		if (site->data)
			continue;
		n += pieces(t->flips + n, site->gpa, bytes, site->split);
		n += pieces(t->flips + n, site->gpa_rest, bytes + site->split, (size_t)(site->len - site->split));
	}
	if (r < 0 || !n)
		return r < 0 ? r : 0;
	start = now_us();
	r = t->backend->ops->live->flip(t->backend, t->flips, n, &done, e);
	if (r >= 0)
		poke_barrier_count(t, &done, TIMELINE_FLIP, start, to_new ? "to new" : "back to old");
	return r < 0 ? r : 0;
}

int poke_flipped_flip(struct poke_tx *t, struct err *e)
{
	t->touched = t->plan->n_sites;
	t->fetched = !t->paused;
	int r = flip_all(t, true, e);
	if (r >= 0)
		fault_point("poke-flipped");
	return r;
}

int poke_flipped_finish(struct poke_tx *t, struct err *e)
{
	if (!t->paused)
		return 0;
	t->fetched = true;
	int r = poke_tx_resume(t, e);
	if (r < 0 && t->stuck)
		err_prefix(e, "all sites hold the new bytes");
	return r;
}

static int all_old(struct poke_tx *t, struct err *e)
{
	for (size_t i = 0; i < t->plan->n_sites; i++) {
		const struct poke_site *site = &t->plan->sites[i];
		enum poke_holds holds;
		int r = poke_site_holds(t->backend, site, &holds, NULL, e);

		if (r < 0)
			return r;
		if (holds != POKE_HOLDS_OLD)
			return err_set_addr(e, ERR_FAILED, EIO, "read-back", site->gva, "%.95s is not as it was",
					    site->label);
	}
	return 0;
}

static int flip_back(struct poke_tx *t, struct err *e)
{
	int r = -EIO;

	for (int i = 0; i < FLIP_ROUNDS && r < 0; i++) {
		r = flip_all(t, false, e);
		if (r >= 0)
			r = all_old(t, e);
	}
	return r;
}

/*
 * A flip that failed may have changed nothing. One that succeeded has let vCPUs into
 * the new code: where that has an inside, it has to be left first.
 */
int poke_flipped_undo(struct poke_tx *t, struct err *e)
{
	bool leave_first = t->fetched && t->inverse.sites;
	struct err why = { 0 };

	fault_point("poke-undo");
	if (all_old(t, &why) >= 0)
		return 0;
	int r = leave_first ? poke_tx_pause_back(t, &why) : 0;
	if (r >= 0)
		r = flip_back(t, &why);
	return r < 0 ? poke_tx_undo_paused(t, e) : 0;
}
