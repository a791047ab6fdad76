/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One search for saved contexts, shared by stacks.c and the architectures' parts of it. Private to vmm/guest. */
#ifndef VMPOKE_VMM_GUEST_STACKS_H
#define VMPOKE_VMM_GUEST_STACKS_H

#include "vmm/guest/internal.h"
#include "vmm/guest/ranges.h"
#include "vmm/guest/tasks.h"

struct scan {
	struct guest *g;
	struct ranges ranges;
	struct tasks tasks;
	enum guest_stacks which;
	bool *cpu_known;		 /* per CPU: some vCPU is it */
	bool anywhere;			 /* some vCPU in the kernel is none of them: the others' stacks may be its */
	uint64_t (*word)(uint64_t word); /* guest_arch.word */
	struct guest_blocker *ret;
};

/* Whose words are being looked at. */
struct place {
	const struct task *task; /* NULL: not a task's stack */
	const char *what;
	size_t number;
};

/* Fills *s->ret; 1. */
int scan_blocked(struct scan *s, const struct place *at, uint64_t word, size_t range);

/* 1 when a word of [start, end) is inside a range. Memory that is not mapped holds no context. */
int scan_words(struct scan *s, const struct place *at, uint64_t start, uint64_t end, struct err *e);

/* What a vCPU says of a task (NULL allowed); sp where live is STACK_RUNNING. */
void scan_mark(struct task *task, enum stack_live live, uint64_t sp);

/* The task on whose stack an address is, or NULL. */
struct task *scan_task_of_stack(struct scan *s, uint64_t sp);

/* x86_stacks.c */
int x86_vcpu_scan(struct scan *s, const struct vcpu_regs *r, size_t i);
int x86_vcpu_place(struct scan *s, const struct vcpu_regs *r, size_t i, struct err *e);
int x86_cpu_scan_all(struct scan *s, size_t cpu, struct err *e);

/* arm64_stacks.c */
int arm64_vcpu_scan(struct scan *s, const struct vcpu_regs *r, size_t i);
int arm64_vcpu_place(struct scan *s, const struct vcpu_regs *r, size_t i, struct err *e);
uint64_t arm64_word(uint64_t word);

#endif
