// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a crash left in the slots goes back to padding. The copies are made from the
 * plan once more, so that what lies there can be told from what somebody else wrote.
 * Must never take a copy away from under a vCPU: who stands at one is moved first.
 */
#include <errno.h>
#include <string.h>

#include "vmm/fault.h"
#include "vmm/poke/trap.h"

static bool slot_is_ours(const struct poke_copy *c, const uint8_t *found)
{
	for (size_t i = 0; i < POKE_SLOT_LEN; i++)
		if (found[i] != POKE_SLOT_PADDING && (i >= c->len || found[i] != c->bytes[i]))
			return false;
	return true;
}

/* The copy is one instruction: it has been executed, or it has not. */
static int regs_settle(const struct poke_traps *traps, struct vcpu_regs *regs, bool *ret_moved, struct err *e)
{
	*ret_moved = false;
	for (size_t i = 0; i < traps->n_copies; i++) {
		const struct poke_copy *c = &traps->copies[i];
		uint64_t at = regs->rip - c->slot.gva;

		if (at >= POKE_SLOT_LEN)
			continue;
		if (at != 0 && at != c->len)
			return err_set_addr(e, ERR_ATTENTION, EUCLEAN, "slot", regs->rip,
					    "a vCPU stands at 0x%llx, in the middle of a copied instruction",
					    (unsigned long long)regs->rip);
		regs->rip = traps->plan->sites[c->site].gva + c->offset + at;
		*ret_moved = true;
		return 0;
	}
	return 0;
}

static int vcpus_settle(struct backend *b, const struct poke_traps *traps, struct err *e)
{
	struct backend_info info;
	struct vcpu_regs regs;
	int r = b->ops->info(b, &info, e);

	for (size_t i = 0; r >= 0 && i < info.vcpus; i++) {
		bool moved = false;

		r = b->ops->regs_get(b, i, &regs, e);
		if (r >= 0)
			r = regs_settle(traps, &regs, &moved, e);
		if (r >= 0 && moved)
			r = b->ops->regs_set(b, i, &regs, e);
	}
	return r;
}

/* Not RAM any more is another boot, as for a site. */
static int slot_settle(struct backend *b, const struct poke_copy *c, struct err *e)
{
	uint8_t padding[POKE_SLOT_LEN], found[POKE_SLOT_LEN];
	int r = b->ops->read(b, c->slot.gpa, found, sizeof(found), e);

	memset(padding, POKE_SLOT_PADDING, sizeof(padding));
	if (r < 0)
		return r == -EFAULT ? 0 : r;
	if (memcmp(found, padding, sizeof(found)) == 0 || !slot_is_ours(c, found))
		return 0;
	r = b->ops->write(b, c->slot.gpa, padding, sizeof(padding), e);
	if (r >= 0)
		fault_point("poke-slot-settled");
	return r;
}

int poke_settle_slots(struct backend *b, const struct poke_plan *plan, struct err *e)
{
	struct poke_traps *traps = NULL;
	int r;

	if (!plan->n_slots)
		return 0;
	r = poke_traps_new(&arch_x86_64, plan, 1, &traps, e);
	if (r >= 0)
		r = vcpus_settle(b, traps, e);
	for (size_t i = 0; r >= 0 && i < traps->n_copies; i++)
		r = slot_settle(b, &traps->copies[i], e);
	poke_traps_free(traps);
	return r < 0 ? r : 0;
}
