/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A whole arm64 guest in 2.5 MiB, as far as vmm/guest looks at it, and with a symbol table of functions
 * only: page tables, kallsyms, banner, notes, BTF, the tables that functions refer to, tasks, stacks
 * with holes behind them, per-cpu areas. Unit tests damage it in one place, the fuzzer in any.
 */
#ifndef VMPOKE_TESTS_FAKE_GUEST_ARM64_H
#define VMPOKE_TESTS_FAKE_GUEST_ARM64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/guest/guest.h"

#define ARM_RAM	   0x280000u
#define ARM_TEXT   0xffffc55216200000ull /* _stext; a block of 2 MiB at 0 */
#define ARM_DATA   (ARM_TEXT + 0x200000) /* pages, at 2 MiB */
#define ARM_TABLES 0x270000ull		 /* levels 0, 1, 2, 3; the kernel's own top table first */
#define ARM_CPUS   2
#define ARM_STACK  8192u

#define ARM_FUNC     (ARM_TEXT + 0x2000) /* do_nothing */
#define ARM_FUNC_END (ARM_TEXT + 0x2040)
#define ARM_ETEXT    (ARM_TEXT + 0x180000)

/* init_task; 1 sleeps; 2 runs on CPU 0; 3 runs on CPU 1, in user mode; the idle task of CPU 1. */
enum arm_task { ARM_INIT, ARM_SLEEPER, ARM_KERNEL, ARM_USER, ARM_IDLE, ARM_TASKS };

struct guest_arm64 {
	struct guest_memory mem;
	struct vcpu_regs regs[ARM_CPUS];
	/* guest-virtual addresses */
	uint64_t banner, notes, btf, num_syms, token_table, jump_table, jump_table_end,
		mutex;
	uint64_t task[ARM_TASKS], stack[ARM_TASKS], per_cpu[ARM_CPUS];
	uint8_t ram[ARM_RAM];
};

/* Offsets in the image's structures, as its BTF says. */
enum {
	ARM_TASK_STACK = 0,
	ARM_TASK_ON_CPU = 8,
	ARM_TASK_PID = 12,
	ARM_TASK_COMM = 16,
	ARM_TASK_LIST = 32,
	ARM_TASK_NODE = 48,
	ARM_TASK_SIGNAL = 64,
	ARM_TASK_GROUP = 80,
	ARM_TASK_CONTEXT = 96, /* x19 to x28, fp, sp, pc */
	ARM_TASK_SP = ARM_TASK_CONTEXT + 88,
	ARM_TASK_BYTES = 256,
	ARM_RQ = 64, /* in a per-cpu area */
	ARM_RQ_CPU = 0,
	ARM_RQ_IDLE = 8,
	ARM_RQ_CFS = 16,
	ARM_IRQ_STACK_PTR = 8,
	ARM_PER_CPU_BYTES = 0x3000, /* with the IRQ stack behind the variables */
};

void guest_arm64_build(struct guest_arm64 *g);

/* Where an address of text or data is in ram[]. */
static inline uint8_t *guest_arm64_at(struct guest_arm64 *g, uint64_t gva)
{
	return g->ram + (gva - ARM_TEXT);
}

void guest_arm64_put64(struct guest_arm64 *g, uint64_t gva, uint64_t value);
/* The entry of the bottom table that maps an address of data. */
uint64_t *guest_arm64_pte(struct guest_arm64 *g, uint64_t gva);

#endif
