/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All tasks of a paused guest that have a kernel stack. */
#ifndef VMPOKE_VMM_GUEST_TASKS_H
#define VMPOKE_VMM_GUEST_TASKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/err.h"

#define TASKS_MAX (1u << 20)

struct guest;

/* How much of a stack may hold live contexts; the greater one wins when several are found. */
enum stack_live {
	STACK_SLEEPING, /* from thread.sp up */
	STACK_USER,	/* nothing: its task runs in user mode */
	STACK_RUNNING,	/* from the RSP of its vCPU up */
	STACK_WHOLE,
};

struct task {
	uint64_t addr, stack, sp; /* sp: where live contexts begin */
	enum stack_live live;
	bool placed; /* some vCPU told what is live */
	int pid;
	char comm[16]; /* as the guest has it, maybe without a NUL */
};

struct tasks {
	struct task *task;
	size_t n, cap;
	uint64_t *cpu_offset; /* __per_cpu_offset of each possible CPU */
	size_t n_cpus;
	uint8_t *span; /* buffer of layout.task_span bytes */
};

/*
 * Lists of processes, their threads, idle tasks and runnable tasks. -EBADMSG when
 * a list never comes back to its head or is longer than TASKS_MAX.
 */
int tasks_collect(struct guest *g, struct tasks *t, struct err *e);
void tasks_done(struct tasks *t);

/* The task at that address, or NULL. */
struct task *tasks_find(const struct tasks *t, uint64_t addr);

#endif
