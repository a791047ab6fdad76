// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The way back from a transaction that wrote something and cannot go on, with the VM
 * paused: still, as it was for the first write, so that no vCPU has seen a new byte
 * and the ranges are clear; or again, and then cleared for the opposite change.
 * Must never report all-old without having read it.
 */
#include <errno.h>
#include <string.h>

#include "vmm/fault.h"
#include "vmm/poke/tx.h"

#define UNDO_ROUNDS 3 /* a monitor that failed once may answer again */

/*
 * A site that reads as old is left alone: where the very first write was refused
 * nothing has to go back, and another write would be refused again.
 */
static int undo_site(struct poke_tx *t, const struct poke_site *site, struct err *e)
{
	uint8_t found[POKE_SITE_LEN_MAX];
	int r = poke_site_read(t->backend, site, found, e);

	if (r >= 0 && memcmp(found, site->old_bytes, site->len) == 0)
		return 0;
	r = poke_site_write(t->backend, site, site->old_bytes, e);
	if (r >= 0)
		r = poke_site_read(t->backend, site, found, e);
	if (r >= 0 && memcmp(found, site->old_bytes, site->len) != 0)
		r = err_set(e, ERR_FAILED, EIO, "read-back", "it does not hold what was written to it");
	return r;
}

/* One site that fails does not keep the others from going back. */
static int undo_round(struct poke_tx *t, struct err *e)
{
	int result = 0;

	for (size_t i = t->touched; i-- > 0;) {
		int r = undo_site(t, &t->plan->sites[i], e);

		if (r < 0)
			result = r;
		fault_point("poke-site-undone");
	}
	return result;
}

/* Names the first site that is not old, for the operator who has to look at the guest. */
static int undo_failed(struct poke_tx *t, const struct err *why, struct err *e)
{
	static const char *const holds_name[] = { "the old bytes", "the new bytes", "a mixture of old and new bytes",
						  "foreign bytes" };
	const struct poke_site *site = &t->plan->sites[0];
	const char *state = "bytes that cannot be read";

	for (size_t i = 0; i < t->touched; i++) {
		enum poke_holds holds;
		struct err ignored;

		site = &t->plan->sites[i];
		int r = poke_site_holds(t->backend, site, &holds, NULL, &ignored);
		if (r < 0 || holds != POKE_HOLDS_OLD) {
			state = r < 0 ? state : holds_name[holds];
			break;
		}
		state = holds_name[POKE_HOLDS_OLD];
	}
	return err_set_addr(e, ERR_ATTENTION, EUCLEAN, "undo", site->gva,
			    "the change could not be taken back: %.95s holds %s: %.250s", site->label, state,
			    why->text);
}

int poke_tx_undo(struct poke_tx *t, struct err *e)
{
	struct err why = { 0 };

	fault_point("poke-undo");
	for (int i = 0; i < UNDO_ROUNDS; i++)
		if (undo_round(t, &why) == 0)
			return 0;
	return undo_failed(t, &why, e);
}

#define BACK_US UINT64_C(1000000) /* a transaction that timed out gets that much more to find its way back */

static int pause_cleared(struct poke_tx *t, struct err *e)
{
	const struct poke_plan *plan = t->plan;
	uint64_t deadline = t->deadline, soon = now_us() + BACK_US;

	if (!t->inverse.sites)
		return poke_tx_pause(t, e);
	if (deadline < soon)
		t->deadline = soon;
	t->plan = &t->inverse;
	int r = poke_stopped_pause(t, e);
	t->plan = plan;
	t->deadline = deadline;
	return r;
}

/*
 * The new instructions are the old ones of the way back: whoever stands inside one is
 * walked out of it. Without an inverse no site has more than one of them. A pause in
 * which that could not be shown is given up: who stands inside has to move on.
 */
int poke_tx_pause_back(struct poke_tx *t, struct err *e)
{
	int r = t->paused ? poke_tx_resume(t, e) : 0;

	t->quiet = true;
	if (r >= 0)
		r = pause_cleared(t, e);
	if (r >= 0)
		t->fetched = false; /* nobody is in the new code, and nobody gets there */
	return r;
}

int poke_tx_undo_paused(struct poke_tx *t, struct err *e)
{
	struct err why = { 0 };
	int r = -EIO;

	for (int i = 0; i < UNDO_ROUNDS && r < 0 && r != -ETIMEDOUT && !t->stuck; i++) {
		why = (struct err){ 0 };
		r = t->fetched ? poke_tx_pause_back(t, &why) : t->paused ? 0 : poke_tx_pause(t, &why);
	}
	if (r >= 0)
		return poke_tx_undo(t, e);
	return err_set(e, ERR_ATTENTION, EUCLEAN, "undo", "the change could not be taken back: %.350s", why.text);
}
