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

#include "vmm/guest/guest_arch.h"
#include "vmm/guest/stacks.h"

int scan_blocked(struct scan *s, const struct place *at, uint64_t word, size_t range)
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

	for (size_t i = 0; i < len / 8 && r == 0; i++) {
		uint64_t word = s->word ? s->word(words[i]) : words[i];
		if (ranges_hit(&s->ranges, word, &range))
			r = scan_blocked(s, at, word, range);
	}
	return r;
}

int scan_words(struct scan *s, const struct place *at, uint64_t start, uint64_t end, struct err *e)
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
	if (task->live != STACK_RUNNING && s->g->layout.context_len) {
		uint64_t context = task->addr + s->g->layout.context;
		int r = scan_words(s, &at, context, context + s->g->layout.context_len, e);
		if (r != 0)
			return r;
	}
	return scan_words(s, &at, task->live == STACK_WHOLE ? task->stack : task->sp, stack_top(s, task), e);
}

/*
 * What a vCPU says of a task replaces what on_cpu alone made us assume. Two vCPUs
 * that claim one task cannot both be right: the wider claim counts.
 */
void scan_mark(struct task *task, enum stack_live live, uint64_t rsp)
{
	if (!task || (task->placed && live < task->live))
		return;
	if (live == STACK_RUNNING && !(task->placed && task->live == live && task->sp < rsp))
		task->sp = rsp;
	task->live = live;
	task->placed = true;
}

struct task *scan_task_of_stack(struct scan *s, uint64_t rsp)
{
	for (size_t i = 0; i < s->tasks.n; i++)
		if (rsp - s->tasks.task[i].stack < s->g->layout.thread_size)
			return &s->tasks.task[i];
	return NULL;
}

static int vcpus_scan(struct scan *s, const struct vcpu_regs *regs, size_t n, struct err *e)
{
	const struct guest_arch *arch = s->g->arch;
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		if (arch->counts(&regs[i]))
			r = arch->vcpu_scan(s, &regs[i], i);
	for (size_t i = 0; i < n && r == 0; i++)
		if (arch->counts(&regs[i]))
			r = arch->vcpu_place(s, &regs[i], i, e);
	for (size_t cpu = 0; cpu < s->tasks.n_cpus && s->anywhere && r == 0; cpu++)
		if (!s->cpu_known[cpu])
			r = x86_cpu_scan_all(s, cpu, e);
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
	struct scan s = { .g = g, .which = which, .ret = ret, .word = g->arch->word };
	if (g->arch->note)
		g->arch->note(g, regs, n_regs);
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
