// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Does any saved context of a paused guest lie inside a range? Looks at the words of
 * every kernel stack that may be live, never at frames: an unwinder can be wrong, a word
 * that is not there cannot be returned to. Where it is not certain which part of a
 * stack is live, all of it is looked at: a false "busy" costs a retry, a missed
 * context the guest.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/guest/internal.h"
#include "vmm/guest/ranges.h"
#include "vmm/guest/tasks.h"

#define NO_CPU SIZE_MAX

struct scan {
	struct guest *g;
	struct ranges ranges;
	struct tasks tasks;
	enum guest_stacks which;
	bool *cpu_known; /* per CPU: some vCPU is it */
	struct guest_blocker *ret;
};

/* Whose words are being looked at. */
struct place {
	const struct task *task; /* NULL: not a task's stack */
	const char *what;
	size_t number;
};

static int blocked(struct scan *s, const struct place *at, uint64_t word, size_t range)
{
	struct guest_blocker b = { .pid = -1, .address = word, .range = range };

	if (at->task) {
		b.pid = at->task->pid;
		memcpy(b.comm, at->task->comm, sizeof(at->task->comm));
		for (char *p = b.comm; *p; p++)
			if (*p < 0x20 || *p > 0x7e)
				*p = '?';
		snprintf(b.where, sizeof(b.where), "%s", at->what);
	} else {
		snprintf(b.where, sizeof(b.where), "%s %zu", at->what, at->number);
	}
	*s->ret = b;
	return 1;
}

static int page_scan(struct scan *s, const struct place *at, uint64_t start, size_t len, struct err *e)
{
	uint64_t words[512];
	size_t range;
	int r = walk_read(&s->g->walk, start, words, len, e);

	for (size_t i = 0; i < len / 8 && r == 0; i++)
		if (ranges_hit(&s->ranges, words[i], &range))
			r = blocked(s, at, words[i], range);
	return r;
}

/* 1 when a word of [start, end) is inside a range. Memory that is not mapped holds no context. */
static int words_scan(struct scan *s, const struct place *at, uint64_t start, uint64_t end, struct err *e)
{
	start &= ~7ull;
	if (start >= end || end - start > LAYOUT_STACK_MAX)
		return 0;
	while (start < end) {
		uint64_t left = 4096 - (start & 4095);
		size_t len = (size_t)(left < end - start ? left : end - start);
		int r = page_scan(s, at, start, len, e);
		if (r != 0 && r != -EFAULT)
			return r;
		start += len;
	}
	return 0;
}

static uint64_t stack_top(const struct scan *s, const struct task *task)
{
	return task->stack + s->g->layout.thread_size;
}

static int task_scan(struct scan *s, const struct task *task, struct err *e)
{
	struct place at = { .task = task, .what = "task stack" };

	if (task->live == STACK_USER || (s->which == GUEST_STACKS_NOT_TASKS && task->pid != 0))
		return 0;
	return words_scan(s, &at, task->live == STACK_WHOLE ? task->stack : task->sp, stack_top(s, task), e);
}

/*
 * What a vCPU says of a task replaces what on_cpu alone made us assume. Two vCPUs
 * that claim one task cannot both be right: the wider claim counts.
 */
static void task_mark(struct task *task, enum stack_live live, uint64_t rsp)
{
	if (!task || (task->placed && live < task->live))
		return;
	if (live == STACK_RUNNING && !(task->placed && task->live == live && task->sp < rsp))
		task->sp = rsp;
	task->live = live;
	task->placed = true;
}

static struct task *task_of_stack(struct scan *s, uint64_t rsp)
{
	for (size_t i = 0; i < s->tasks.n; i++)
		if (rsp - s->tasks.task[i].stack < s->g->layout.thread_size)
			return &s->tasks.task[i];
	return NULL;
}

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
static int cpu_scan_all(struct scan *s, size_t cpu, struct err *e)
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
		r = words_scan(s, &at, start, start + stacks[i].size, e);
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
		return words_scan(s, &at, rsp, top, e);
	return cpu_scan_all(s, cpu, e);
}

/* Which stacks a vCPU's task and CPU leave live. Scans those that are no task's. */
static int vcpu_place(struct scan *s, const struct vcpu_regs *r, struct err *e)
{
	size_t cpu = cpu_of(s, r);
	struct task *current = NULL, *on = NULL;
	uint64_t addr;

	if (cpu != NO_CPU) {
		int err = per_cpu_u64(s, cpu, s->g->layout.current_task, &addr, e);
		if (err < 0)
			return err;
		current = tasks_find(&s->tasks, addr);
		s->cpu_known[cpu] = true;
	}
	if (vcpu_cpl(r) == 3) {
		task_mark(current, STACK_USER, 0);
		return 0;
	}
	uint64_t rsp = r->gpr[VCPU_RSP];
	on = task_of_stack(s, rsp);
	/* Between two tasks, or on another stack with the task's below it. */
	if (current != on)
		task_mark(current, STACK_WHOLE, 0);
	if (on) {
		task_mark(on, STACK_RUNNING, rsp);
		return 0;
	}
	return cpu == NO_CPU ? 0 : cpu_scan(s, cpu, rsp, e);
}

/* Its own RIP and, in the kernel, its registers: a return address may be on its way through one. */
static int vcpu_scan(struct scan *s, const struct vcpu_regs *r, size_t i)
{
	struct place at = { .what = "vCPU", .number = i };
	size_t range;

	if (ranges_hit(&s->ranges, r->rip, &range))
		return blocked(s, &at, r->rip, range);
	at.what = "register of vCPU";
	for (int reg = 0; reg < VCPU_GPR_COUNT && vcpu_cpl(r) != 3; reg++)
		if (ranges_hit(&s->ranges, r->gpr[reg], &range))
			return blocked(s, &at, r->gpr[reg], range);
	return 0;
}

static bool in_long_mode(const struct vcpu_regs *r)
{
	return r->efer & (1u << 10);
}

/* A vCPU in the kernel that is no CPU we know, on a stack we do not know: any unclaimed one may be its. */
static bool anywhere(struct scan *s, const struct vcpu_regs *r)
{
	return in_long_mode(r) && vcpu_cpl(r) != 3 && cpu_of(s, r) == NO_CPU && !task_of_stack(s, r->gpr[VCPU_RSP]);
}

static int vcpus_scan(struct scan *s, const struct vcpu_regs *regs, size_t n, struct err *e)
{
	bool all = false;
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		if (in_long_mode(&regs[i]))
			r = vcpu_scan(s, &regs[i], i);
	for (size_t i = 0; i < n && r == 0; i++)
		if (in_long_mode(&regs[i])) {
			r = vcpu_place(s, &regs[i], e);
			all |= anywhere(s, &regs[i]);
		}
	for (size_t cpu = 0; cpu < s->tasks.n_cpus && all && r == 0; cpu++)
		if (!s->cpu_known[cpu])
			r = cpu_scan_all(s, cpu, e);
	return r == -EFAULT ? err_set(e, ERR_FAILED, EBADMSG, "per-cpu", "the guest's per-cpu areas make no sense") : r;
}

static int scan_run(struct scan *s, const struct vcpu_regs *regs, size_t n_regs, struct err *e)
{
	int r = tasks_collect(s->g, &s->tasks, e);

	if (r < 0)
		return r;
	s->cpu_known = calloc(s->tasks.n_cpus, sizeof(*s->cpu_known));
	if (!s->cpu_known)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	r = vcpus_scan(s, regs, n_regs, e);
	for (size_t i = 0; i < s->tasks.n && r == 0; i++)
		r = task_scan(s, &s->tasks.task[i], e);
	return r;
}

int guest_stacks_scan(struct guest *g, const struct vcpu_regs *regs, size_t n_regs, const struct guest_range *ranges,
		      size_t n_ranges, enum guest_stacks which, struct guest_blocker *ret, struct err *e)
{
	struct scan s = { .g = g, .which = which, .ret = ret };
	int r = guest_stacks_prepare(g, e);

	if (r == 0)
		r = ranges_build(&s.ranges, ranges, n_ranges, g->layout.hiders, g->layout.n_hiders, e);
	if (r == 0) {
		walk_flush(&g->walk); /* the guest ran since */
		r = scan_run(&s, regs, n_regs, e);
	}
	walk_flush(&g->walk);
	tasks_done(&s.tasks);
	ranges_done(&s.ranges);
	free(s.cpu_known);
	return r;
}
