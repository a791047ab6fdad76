// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Walks the guest's task lists; see tasks.h. The lists are the guest's: each walk
 * detects cycles (Brent's method) and all of them together are capped, so that a
 * paused VM is never held up by a list without end.
 */
#include "vmm/guest/tasks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/guest/internal.h"

/* Remembers an element now and then; meeting it again means the walk goes round. */
struct list_guard {
	uint64_t seen;
	size_t steps, power;
};

static bool list_loops(struct list_guard *l, uint64_t addr)
{
	if (l->steps && addr == l->seen)
		return true;
	if (l->steps++ == l->power) {
		l->seen = addr;
		l->power = l->power ? l->power * 2 : 1;
		l->steps = 1;
	}
	return false;
}

/* Links of one task_struct, besides what struct task keeps. */
struct task_links {
	uint64_t tasks, thread_node, signal;
};

static int lists_broken(struct err *e, uint64_t addr)
{
	return err_set_addr(e, ERR_FAILED, EBADMSG, "task-list", addr, "the guest's task lists make no sense at 0x%llx",
			    (unsigned long long)addr);
}

static uint64_t u64_at(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static int task_push(struct tasks *t, const struct task *task, struct err *e)
{
	if (t->n == TASKS_MAX)
		return lists_broken(e, task->addr);
	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 256;
		struct task *grown = realloc(t->task, cap * sizeof(*grown));
		if (!grown)
			return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
		t->task = grown;
		t->cap = cap;
	}
	t->task[t->n++] = *task;
	return 0;
}

/* Reads a task and keeps it, unless it is a zombie whose stack is already gone. */
static int task_add(struct guest *g, struct tasks *t, uint64_t addr, struct task_links *ret, struct err *e)
{
	const struct layout *l = &g->layout;
	uint8_t *p = t->span;
	struct task task = { .addr = addr };
	int32_t on_cpu;
	int r = walk_read(&g->walk, addr, p, l->task_span, e);

	if (r == -EFAULT)
		return lists_broken(e, addr);
	if (r < 0)
		return r;
	if (ret)
		*ret = (struct task_links){ .tasks = u64_at(p + l->tasks),
					    .thread_node = u64_at(p + l->thread_node),
					    .signal = u64_at(p + l->signal) };
	task.stack = u64_at(p + l->stack);
	task.sp = u64_at(p + l->sp);
	memcpy(&task.pid, p + l->pid, sizeof(task.pid));
	memcpy(&on_cpu, p + l->on_cpu, sizeof(on_cpu));
	memcpy(task.comm, p + l->comm, sizeof(task.comm));
	if (!task.stack)
		return 0;
	if (task.stack % 4096)
		return lists_broken(e, addr);
	/* On a CPU we cannot tell, or never switched away from: thread.sp means nothing. */
	if (on_cpu || task.sp - task.stack >= l->thread_size)
		task.live = STACK_WHOLE;
	return task_push(t, &task, e);
}

/*
 * The other threads of a process. They and the head in signal_struct form one ring;
 * after an exec by a thread the leader is not its first element.
 */
static int threads_add(struct guest *g, struct tasks *t, uint64_t leader, const struct task_links *links, struct err *e)
{
	const struct layout *l = &g->layout;
	uint64_t head = links->signal + l->thread_head, end = leader + l->thread_node;
	struct list_guard guard = { 0 };
	struct task_links next = { 0 };
	int r = 0;

	for (uint64_t node = links->thread_node; node != end && r == 0;) {
		if (list_loops(&guard, node))
			return lists_broken(e, node);
		if (node == head) {
			r = walk_read_u64(&g->walk, head, &node, e);
		} else {
			r = task_add(g, t, node - l->thread_node, &next, e);
			node = next.thread_node;
		}
	}
	return r == -EFAULT ? lists_broken(e, leader) : r;
}

static int processes_add(struct guest *g, struct tasks *t, struct err *e)
{
	const struct layout *l = &g->layout;
	struct list_guard guard = { 0 };
	uint64_t addr = l->init_task;

	do {
		struct task_links links = { 0 };
		if (list_loops(&guard, addr))
			return lists_broken(e, addr);
		int r = task_add(g, t, addr, &links, e);
		if (r == 0)
			r = threads_add(g, t, addr, &links, e);
		if (r < 0)
			return r;
		addr = links.tasks - l->tasks;
	} while (addr != l->init_task);
	return 0;
}

/*
 * A task that is exiting leaves the lists before it leaves its CPU, and may be
 * preempted in between: it is still among the runnable ones. (Runnable tasks of the
 * real-time classes are not looked at; those are in the lists unless they exit.)
 */
static int runnable_add(struct guest *g, struct tasks *t, uint64_t cpu_offset, struct err *e)
{
	const struct layout *l = &g->layout;
	uint64_t head = cpu_offset + l->runqueues + l->rq_cfs_tasks, node;
	struct list_guard guard = { 0 };
	int r = walk_read_u64(&g->walk, head, &node, e);

	while (r == 0 && node != head) {
		if (list_loops(&guard, node))
			return lists_broken(e, node);
		r = task_add(g, t, node - l->group_node, NULL, e);
		if (r == 0)
			r = walk_read_u64(&g->walk, node, &node, e);
	}
	return r == -EFAULT ? lists_broken(e, head) : r;
}

/* Idle tasks, except the boot CPU's, are in no list. A CPU that was never set up has no memory: skipped. */
static int cpu_add(struct guest *g, struct tasks *t, uint64_t cpu_offset, struct err *e)
{
	uint64_t idle = 0;
	int r = walk_read_u64(&g->walk, cpu_offset + g->layout.idle_threads, &idle, e);

	if (r == -EFAULT)
		return 0;
	if (r == 0 && idle)
		r = task_add(g, t, idle, NULL, e);
	return r < 0 ? r : runnable_add(g, t, cpu_offset, e);
}

/* Every CPU that can run is a vCPU, and holds its base in a register. */
static int cpus_of_vcpus(struct guest *g, struct tasks *t, struct err *e)
{
	if (!g->n_cpu_bases)
		return err_set(e, ERR_FAILED, EBADMSG, "per-cpu", "no vCPU has a per-cpu area");
	t->cpu_offset = malloc(g->n_cpu_bases * sizeof(*t->cpu_offset));
	t->span = malloc(g->layout.task_span);
	if (!t->cpu_offset || !t->span)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	memcpy(t->cpu_offset, g->cpu_base, g->n_cpu_bases * sizeof(*t->cpu_offset));
	t->n_cpus = g->n_cpu_bases;
	return 0;
}

static int cpus_load(struct guest *g, struct tasks *t, struct err *e)
{
	uint32_t n;

	if (!g->layout.per_cpu_offset)
		return cpus_of_vcpus(g, t, e);
	int r = walk_read_u32(&g->walk, g->layout.nr_cpu_ids, &n, e);
	if (r < 0)
		return r;
	if (n == 0 || n > LAYOUT_CPUS_MAX)
		return lists_broken(e, g->layout.nr_cpu_ids);
	t->cpu_offset = calloc(n, sizeof(*t->cpu_offset));
	t->span = malloc(g->layout.task_span);
	if (!t->cpu_offset || !t->span)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	t->n_cpus = n;
	return walk_read(&g->walk, g->layout.per_cpu_offset, t->cpu_offset, n * sizeof(*t->cpu_offset), e);
}

static int by_address(const void *a, const void *b)
{
	const struct task *x = a, *y = b;

	return (x->addr > y->addr) - (x->addr < y->addr);
}

/* Sorts, and drops tasks that were found in more than one list. */
static void tasks_sort(struct tasks *t)
{
	size_t kept = 0;

	if (t->n)
		qsort(t->task, t->n, sizeof(*t->task), by_address);
	for (size_t i = 0; i < t->n; i++)
		if (kept == 0 || t->task[kept - 1].addr != t->task[i].addr)
			t->task[kept++] = t->task[i];
	t->n = kept;
}

int tasks_collect(struct guest *g, struct tasks *t, struct err *e)
{
	*t = (struct tasks){ 0 };
	int r = cpus_load(g, t, e);

	if (r == 0)
		r = processes_add(g, t, e);
	for (size_t i = 0; i < t->n_cpus && r == 0; i++)
		r = cpu_add(g, t, t->cpu_offset[i], e);
	if (r == 0)
		tasks_sort(t);
	return r;
}

void tasks_done(struct tasks *t)
{
	free(t->task);
	free(t->cpu_offset);
	free(t->span);
	*t = (struct tasks){ 0 };
}

struct task *tasks_find(const struct tasks *t, uint64_t addr)
{
	struct task key = { .addr = addr };

	return t->n ? bsearch(&key, t->task, t->n, sizeof(*t->task), by_address) : NULL;
}
