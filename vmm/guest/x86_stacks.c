// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which stacks an x86-64 vCPU leaves live: its task's, the IRQ stack, the exception and entry
 * stacks of its CPU, which is told by the GS bases. What is not certain is looked at as a whole.
 */
#include "vmm/guest/internal.h"
#include "vmm/guest/stacks.h"

#define NO_CPU SIZE_MAX

static size_t cpu_of_base(const struct scan *s, uint64_t base)
{
	for (size_t i = 0; i < s->tasks.n_cpus; i++)
		if (base && s->tasks.cpu_offset[i] == base)
			return i;
	return NO_CPU;
}

/*
 * In the kernel GS holds the per-cpu base, except before swapgs of an entry and after that
 * of an exit. User mode may load any GS base it likes (FSGSBASE): there only the other
 * one counts, and in the kernel two that match different CPUs say nothing.
 */
static size_t cpu_of(const struct scan *s, const struct vcpu_regs *r)
{
	size_t kernel = cpu_of_base(s, r->kernel_gs_base), now;

	if (vcpu_cpl(r) == 3)
		return kernel;
	now = cpu_of_base(s, r->gs_base);
	if (now != NO_CPU && kernel != NO_CPU && now != kernel)
		return NO_CPU;
	return now != NO_CPU ? now : kernel;
}

static int per_cpu_u64(struct scan *s, size_t cpu, uint64_t offset, uint64_t *ret, struct err *e)
{
	return walk_read_u64(&s->g->walk, s->tasks.cpu_offset[cpu] + offset, ret, e);
}

/* All stacks of a CPU that belong to no task. */
int x86_cpu_scan_all(struct scan *s, size_t cpu, struct err *e)
{
	const struct layout *l = &s->g->layout;
	const struct {
		const char *what;
		uint64_t offset, size;
	} stacks[] = {
		{ "irq stack cpu", l->irq_stack, l->irq_size },
		{ "exception stacks cpu", l->exception_stacks, l->exception_size },
		{ "entry stack cpu", l->entry_stack, 4096 },
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(stacks) && r == 0; i++) {
		struct place at = { .what = stacks[i].what, .number = cpu };
		uint64_t start = s->tasks.cpu_offset[cpu] + stacks[i].offset;
		r = scan_words(s, &at, start, start + stacks[i].size, e);
	}
	return r;
}

/* RSP is not on a task's stack: IRQ, exception or entry stack of this CPU, or no stack at all. */
static int cpu_scan(struct scan *s, size_t cpu, uint64_t rsp, struct err *e)
{
	struct place at = { .what = "irq stack cpu", .number = cpu };
	uint64_t top;
	int r = per_cpu_u64(s, cpu, s->g->layout.hardirq_stack_ptr, &top, e);

	if (r < 0)
		return r;
	top += 8; /* it points at the uppermost word */
	if (top - rsp <= s->g->layout.irq_size && rsp < top)
		return scan_words(s, &at, rsp, top, e);
	return x86_cpu_scan_all(s, cpu, e);
}

/*
 * RSP is on the stack of a task that is not current. In the middle of a switch both agree; but right after
 * SYSCALL, RSP is still what user mode made it, and must not hide what that task has saved.
 */
static uint64_t lower_of(const struct scan *s, const struct task *on, uint64_t rsp)
{
	return on->sp < rsp && on->sp - on->stack < s->g->layout.thread_size ? on->sp : rsp;
}

/* A vCPU in the kernel that is no CPU we know, on a stack we do not know: any unclaimed one may be its. */
static bool anywhere(struct scan *s, const struct vcpu_regs *r)
{
	return vcpu_cpl(r) != 3 && cpu_of(s, r) == NO_CPU && !scan_task_of_stack(s, r->gpr[VCPU_RSP]);
}

/* Which stacks a vCPU's task and CPU leave live. Scans those that are no task's. */
int x86_vcpu_place(struct scan *s, const struct vcpu_regs *r, size_t i, struct err *e)
{
	size_t cpu = cpu_of(s, r);
	struct task *current = NULL, *on = NULL;
	uint64_t addr;

	(void)i;
	s->anywhere |= anywhere(s, r);
	if (cpu != NO_CPU) {
		int err = per_cpu_u64(s, cpu, s->g->layout.current_task, &addr, e);
		if (err < 0)
			return err;
		current = tasks_find(&s->tasks, addr);
		s->cpu_known[cpu] = true;
	}
	if (vcpu_cpl(r) == 3) {
		scan_mark(current, STACK_USER, 0);
		return 0;
	}
	uint64_t rsp = r->gpr[VCPU_RSP];
	on = scan_task_of_stack(s, rsp);
	/* Between two tasks, or on another stack with the task's below it. */
	if (current != on)
		scan_mark(current, STACK_WHOLE, 0);
	if (on) {
		scan_mark(on, STACK_RUNNING, on == current ? rsp : lower_of(s, on, rsp));
		return 0;
	}
	return cpu == NO_CPU ? 0 : cpu_scan(s, cpu, rsp, e);
}

/* Its own RIP and, in the kernel, its registers: a return address may be on its way through one. */
int x86_vcpu_scan(struct scan *s, const struct vcpu_regs *r, size_t i)
{
	struct place at = { .what = "vCPU", .number = i };
	size_t range;

	if (ranges_hit(&s->ranges, r->rip, &range))
		return scan_blocked(s, &at, r->rip, range);
	at.what = "register of vCPU";
	for (int reg = 0; reg < VCPU_GPR_COUNT && vcpu_cpl(r) != 3; reg++)
		if (ranges_hit(&s->ranges, r->gpr[reg], &range))
			return scan_blocked(s, &at, r->gpr[reg], range);
	return 0;
}
