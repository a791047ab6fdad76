/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A whole guest in 256 KiB: page tables, kernel image with kallsyms, notes, banner
 * and BTF, tasks, stacks and per-cpu areas, as far as vmm/guest looks at them. Unit
 * tests damage it in one place, the fuzzer in any.
 */
#ifndef VMPOKE_TESTS_FAKE_GUEST_IMAGE_H
#define VMPOKE_TESTS_FAKE_GUEST_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/guest/guest.h"

#define IMAGE_RAM   (256u << 10)
#define IMAGE_BASE  0xffffffff9a200000ull
#define IMAGE_PA    0x10000ull /* of IMAGE_BASE */
#define IMAGE_PGD   0x2000ull
#define IMAGE_STACK 4096u
#define IMAGE_CPUS  2

enum image_layout { IMAGE_61, IMAGE_61_NO_SEQS, IMAGE_64 };

struct guest_image_symbol {
	uint64_t addr;
	const char *name;
};

struct guest_image_options {
	enum image_layout layout;
	bool five_levels, kpti;
	bool hot;	/* current_task in pcpu_hot, as 6.2 to 6.14 have it */
	size_t fillers; /* further symbols, "filler_N" */
	const struct guest_image_symbol *extra; /* functions, in the image's text or elsewhere */
	size_t n_extra;
};

/* Tasks of the image: init_task; 1 with a thread 3; 2, which runs on CPU 0; the idle task of CPU 1. */
enum image_task { TASK_INIT, TASK_ONE, TASK_TWO, TASK_THREAD, TASK_IDLE, TASK_COUNT };

struct guest_image {
	struct guest_memory mem;
	struct vcpu_regs regs[IMAGE_CPUS];
	uint64_t reads;
	/* guest-virtual addresses */
	uint64_t num_syms, names, markers, token_table, offsets, relative_base, notes, btf, banner, phys_base;
	uint64_t task[TASK_COUNT], stack[TASK_COUNT], signal[2], per_cpu[IMAGE_CPUS], end;
	uint8_t ram[IMAGE_RAM];
};

void guest_image_build(struct guest_image *g, const struct guest_image_options *options);

/* Where a guest-virtual address of the image is in ram[]. */
static inline uint8_t *guest_image_at(struct guest_image *g, uint64_t gva)
{
	return g->ram + (gva - IMAGE_BASE) + IMAGE_PA;
}

void guest_image_put64(struct guest_image *g, uint64_t gva, uint64_t value);
void guest_image_put32(struct guest_image *g, uint64_t gva, uint32_t value);

/* Offsets in the image's structures, as its BTF says. */
enum {
	TASK_STACK = 0,
	TASK_ON_CPU = 8,
	TASK_PID = 12,
	TASK_COMM = 16,
	TASK_TASKS = 32,
	TASK_NODE = 48,
	TASK_SIGNAL = 64,
	TASK_THREAD_SP = 80,
	TASK_GROUP = 96,
	TASK_BYTES = 128,
	KPROBE_LINK = 0,
	KPROBE_ADDR = 40,
	KPROBE_BYTES = 48,
	MODULE_STATE = 0,
	MODULE_LIST = 8,
	MODULE_KEYS = 24,
	MODULE_N_KEYS = 32,
	MODULE_CALLS = 40,
	MODULE_N_CALLS = 48,
	MODULE_MEM = 56,
	MODULE_BYTES = 72,
	FTRACE_BYTES = 16,
	PCPU_IRQ = 0,
	PCPU_EXCEPTION = 0x1000,
	PCPU_ENTRY = 0x2000,
	PCPU_CURRENT = 0x3000,
	PCPU_HARDIRQ = 0x3010,
	PCPU_IDLE = 0x3020,
	PCPU_RQ = 0x3040,
	PCPU_CFS = 0x3050,
	PCPU_BYTES = 0x4000,
};

/* Symbols of the image that tests name. */
#define IMAGE_FUNC     (IMAGE_BASE + 0x200) /* do_nothing */
#define IMAGE_FUNC_END (IMAGE_BASE + 0x240) /* do_something */
#define IMAGE_HANDLER  (IMAGE_BASE + 0x800) /* asm_exc_page_fault */
#define IMAGE_ETEXT    (IMAGE_BASE + 0x1000)

#endif
