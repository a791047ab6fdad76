// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Executing a range by hand, from one of its boundaries to where it is left. Which
 * ranges that is possible for is decided from the bytes alone before the first
 * trap is set. Must never stop half-way: a vCPU that was moved into a range has
 * nowhere to go on. Only the last instruction of a walk may touch memory (a call or
 * a return leaves the range), so one that does not work out is simply dropped.
 */
#include <errno.h>

#include "vmm/poke/trap.h"
#include "vmm/vcpu.h"

/* A branch to the first byte starts over; one to a place between is a way in nobody looks after. */
static bool leads_inside(const struct poke_site *site, uint64_t target)
{
	return target > site->gva && target - site->gva < site->len;
}

/* returns_inside: a call may leave a return address into the range behind. */
static bool insn_walkable(const struct arch_ops *arch, const struct poke_site *site, const uint8_t *bytes, size_t at,
			  bool returns_inside, size_t *ret_len)
{
	struct arch_insn insn;
	size_t left = site->len - at;

	if (arch->decode(bytes + at, left, site->gva + at, &insn) < 0 || !arch->emulates(bytes + at, left))
		return false;
	*ret_len = insn.len;
	switch (insn.flow) {
	case ARCH_FLOW_CALL:
		if (!returns_inside && leads_inside(site, site->gva + at + insn.len))
			return false;
		return !leads_inside(site, insn.target);
	case ARCH_FLOW_JUMP:
	case ARCH_FLOW_BRANCH:
		return !leads_inside(site, insn.target);
	default:
		return true;
	}
}

/*
 * From offset at by falling through to the end: all that a walk can meet, as no branch
 * leads inside. Code after a jump or a return is looked at too, which refuses more
 * than it must and never less.
 */
static bool range_walkable(const struct arch_ops *arch, const struct poke_site *site, const uint8_t *bytes, size_t at,
			   bool returns_inside)
{
	size_t len = 0;

	for (; at < site->len; at += len)
		if (!insn_walkable(arch, site, bytes, at, returns_inside, &len))
			return false;
	return true;
}

bool poke_walk_old_whole(const struct arch_ops *arch, const struct poke_site *site)
{
	return !site->operand && range_walkable(arch, site, site->old_bytes, 0, false);
}

static bool insn_sleepless(const struct arch_ops *arch, const struct poke_site *site, size_t at, size_t *ret_len)
{
	const uint8_t *code = site->old_bytes + at;
	size_t left = site->len - at;
	struct arch_insn insn;

	if (arch->decode(code, left, site->gva + at, &insn) < 0)
		return false;
	*ret_len = insn.len;
	bool last = at + insn.len >= site->len;
	if (!last && (insn.flow == ARCH_FLOW_CALL || insn.flow == ARCH_FLOW_ICALL || insn.flow == ARCH_FLOW_TRAP))
		return false;
	return at == 0 || arch->emulates(code, left) || arch->steps(code, left);
}

bool poke_walk_sleepless(const struct arch_ops *arch, const struct poke_site *site)
{
	size_t len = 0;

	for (size_t at = 0; at < site->len; at += len)
		if (!insn_sleepless(arch, site, at, &len))
			return false;
	return !site->operand;
}

void poke_walk_prepare(const struct arch_ops *arch, const struct poke_site *site, struct poke_walk *ret)
{
	*ret = (struct poke_walk){
		.old_whole = poke_walk_old_whole(arch, site),
		.new_whole = !site->operand && range_walkable(arch, site, site->new_bytes, 0, false),
	};
	for (size_t i = 0; i < site->len; i++)
		if ((site->boundaries >> i & 1) && range_walkable(arch, site, site->old_bytes, i, true))
			ret->old_from |= UINT64_C(1) << i;
}

/* Ends at the first instruction that does not fall through into the next one. */
int poke_walk(const struct arch_ops *arch, const struct poke_site *site, const uint8_t *bytes, struct vcpu_regs *regs,
	      struct arch_access *memory, struct arch_fault *fault)
{
	struct vcpu_regs now = *regs;
	uint64_t at = now.rip - site->gva, next = at;

	for (; next == at && at < site->len; at = now.rip - site->gva) {
		struct arch_insn insn;
		int r = arch->decode(bytes + at, site->len - at, now.rip, &insn);

		if (r >= 0)
			r = arch->emulate(bytes + at, site->len - at, &now, memory, fault);
		if (r < 0)
			return r == -EFAULT && now.rip == regs->rip ? r : -EOPNOTSUPP;
		next = at + insn.len;
	}
	*regs = now;
	return 0;
}
