/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The architectural state of one vCPU, as far as patching needs it: x86-64, or arm64 in a part of its own. */
#ifndef VMPOKE_VMM_VCPU_H
#define VMPOKE_VMM_VCPU_H

#include <stdbool.h>
#include <stdint.h>

#define VCPU_MAX 512 /* more vCPUs than any guest we accept */

/* Index into gpr[]: the x86 encoding order. */
enum vcpu_gpr {
	VCPU_RAX, VCPU_RCX, VCPU_RDX, VCPU_RBX, VCPU_RSP, VCPU_RBP, VCPU_RSI, VCPU_RDI,
	VCPU_R8, VCPU_R9, VCPU_R10, VCPU_R11, VCPU_R12, VCPU_R13, VCPU_R14, VCPU_R15,
	VCPU_GPR_COUNT,
};

enum vcpu_arch { VCPU_X86_64, VCPU_ARM64 };

/* What an arm64 vCPU has instead of gpr, rflags and all that follows them. */
struct vcpu_arm64 {
	uint64_t x[31]; /* x[30] is LR */
	uint64_t sp;	/* of the exception level it runs at */
	uint64_t pstate; /* M[3:0] in bits 3:0: 0 is EL0 */
	uint64_t sp_el0; /* valid at EL1: Linux keeps the task_struct there */
	uint64_t sp_el1; /* valid at EL0: where the next exception puts its frame */
	uint64_t elr;	 /* ELR_EL1 */
	uint64_t ttbr1, tcr, tpidr; /* of EL1 */
};

struct vcpu_regs {
	enum vcpu_arch arch;
	struct vcpu_arm64 arm64; /* VCPU_ARM64: this and rip, halted; all zero else */
	uint64_t gpr[VCPU_GPR_COUNT];
	uint64_t rip, rflags; /* rip: the program counter of any architecture */
	uint16_t cs, ss; /* selectors; CPL is cs & 3 in 64-bit mode */
	uint64_t fs_base, gs_base, kernel_gs_base;
	uint64_t cr0, cr3, cr4, efer;
	uint64_t idt_base; /* valid when has_idt: QEMU's gdbstub does not give it, its monitor does */
	uint64_t lstar;	   /* valid when has_lstar */
	bool has_idt, has_lstar;
	bool halted; /* in HLT, waiting for an interrupt; not told of arm64 (WFI) */
};

/* Of arm64: 3 at EL0, else 0. */
static inline unsigned vcpu_cpl(const struct vcpu_regs *r)
{
	if (r->arch == VCPU_ARM64)
		return (r->arm64.pstate & 0xc) == 0 ? 3u : 0u;
	return r->cs & 3u;
}

#endif
