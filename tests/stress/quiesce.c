// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The test guest has no tasks: a context is saved on the stack of its vCPU, as an
 * interrupt frame or a return address, and nowhere else. Every word of the live
 * part of each stack is taken for an address; a word that is none delays the
 * change at worst. Must never skip a stack that it cannot make sense of.
 */
#include "tests/stress/quiesce.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* The site that changes several instructions and has address in it, not at its start. Sites are sorted. */
static const struct poke_site *range_around(const struct poke_plan *plan, uint64_t address)
{
	size_t lo = 0, hi = plan->n_sites;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct poke_site *s = &plan->sites[mid];

		if (address <= s->gva)
			hi = mid;
		else if (address - s->gva >= s->len)
			lo = mid + 1;
		else
			return s->boundaries & (s->boundaries - 1) ? s : NULL;
	}
	return NULL;
}

static int stack_scan_one(const struct guest *g, size_t vcpu, uint64_t rsp, const struct poke_plan *plan, struct err *e)
{
	uint64_t top = SMP_STACK_TOP(vcpu);

	if (rsp % 8 || rsp > top || rsp < top - SMP_STACK_SIZE)
		return err_set_addr(e, ERR_FAILED, EFAULT, "", rsp, "vCPU %zu is not on its stack", vcpu);
	const uint8_t *stack = machine_ram(g->machine, top - SMP_STACK_SIZE, SMP_STACK_SIZE);
	if (!stack)
		return err_set_addr(e, ERR_FAILED, EFAULT, "", rsp, "no stack in memory");
	for (; rsp < top; rsp += 8) {
		uint64_t word;

		memcpy(&word, stack + (rsp - (top - SMP_STACK_SIZE)), sizeof(word));
		const struct poke_site *s = range_around(plan, word);
		if (!s)
			continue;
		err_set_addr(e, ERR_TIMEOUT, EBUSY, "busy", word, "vCPU %zu has a context inside %.95s (0x%" PRIx64 ")",
			     vcpu, s->label, word);
		return 1;
	}
	return 0;
}

static int stack_scan(struct poke_quiesce *q, const struct vcpu_regs *regs, size_t n_regs, const struct poke_plan *plan,
		      bool tasks_left, struct err *e)
{
	const struct stack_scan *s = container_of(q, struct stack_scan, quiesce);
	int r = 0;

	(void)tasks_left; /* there are no tasks */
	for (size_t i = 0; r == 0 && i < n_regs; i++)
		r = stack_scan_one(s->guest, i, regs[i].gpr[VCPU_RSP], plan, e);
	return r;
}

void stack_scan_init(struct stack_scan *s, const struct guest *g)
{
	*s = (struct stack_scan){ .quiesce.scan = stack_scan, .guest = g };
}
