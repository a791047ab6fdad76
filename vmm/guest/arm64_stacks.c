// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which stacks an arm64 vCPU leaves live. At EL0 none: SP_EL1 stands at the top of the task's. At EL1
 * SP_EL0 names the task; SP is on its stack or on the IRQ stack of the CPU, else nobody knows what
 * is live, and the answer is busy (an EFI call, an overflow; for some instructions of an entry).
 */
#include <errno.h>

#include "vmm/guest/arm64.h"
#include "vmm/guest/stacks.h"

/*
 * Return addresses may be signed (PACIASP): the code is in bits 54:48 and 63:56 of a kernel address of
 * 48 bits, of which bit 55 stays. With those set again a word that was no address at all may look like one.
 */
uint64_t arm64_word(uint64_t word)
{
	return word >> 55 & 1 ? word | 0xffff000000000000ull : word;
}

static int word_scan(struct scan *s, const struct place *at, uint64_t word)
{
	size_t range;

	word = arm64_word(word);
	return ranges_hit(&s->ranges, word, &range) ? scan_blocked(s, at, word, range) : 0;
}

/* In the kernel its registers count: ELR_EL1 holds a PC until the handler has saved it, and again before ERET. */
int arm64_vcpu_scan(struct scan *s, const struct vcpu_regs *r, size_t i)
{
	struct place at = { .what = "vCPU", .number = i };
	int found = word_scan(s, &at, r->rip);

	if (found || vcpu_cpl(r) == 3)
		return found;
	at.what = "register of vCPU";
	for (size_t reg = 0; reg < ARRAY_SIZE(r->arm64.x) && !found; reg++)
		found = word_scan(s, &at, r->arm64.x[reg]);
	return found ? found : word_scan(s, &at, r->arm64.elr);
}

/* IRQ_STACK_SIZE is THREAD_SIZE (arch/arm64/include/asm/memory.h). */
static int irq_stack_scan(struct scan *s, const struct vcpu_regs *r, size_t i, struct err *e)
{
	const struct layout *l = &s->g->layout;
	struct place at = { .what = "irq stack of vCPU", .number = i };
	uint64_t stack, sp = r->arm64.sp;
	int found = walk_read_u64(&s->g->walk, r->arm64.tpidr + l->hardirq_stack_ptr, &stack, e);

	if (found < 0)
		return found;
	if (sp - 8 - stack < l->thread_size)
		return scan_words(s, &at, sp, stack + l->thread_size, e);
	at.what = "unknown stack of vCPU";
	return scan_blocked(s, &at, sp, 0);
}

int arm64_vcpu_place(struct scan *s, const struct vcpu_regs *r, size_t i, struct err *e)
{
	if (vcpu_cpl(r) == 3) {
		scan_mark(scan_task_of_stack(s, r->arm64.sp_el1 - 8), STACK_USER, 0);
		return 0;
	}
	struct task *current = tasks_find(&s->tasks, r->arm64.sp_el0);
	/* Down to SP: an empty stack, as an exception from user mode finds it, has it at its end. */
	struct task *on = scan_task_of_stack(s, r->arm64.sp - 8);
	if (current != on)
		scan_mark(current, STACK_WHOLE, 0);
	if (!on)
		return irq_stack_scan(s, r, i, e);
	scan_mark(on, STACK_RUNNING, r->arm64.sp);
	return 0;
}
