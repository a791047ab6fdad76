/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The architectural state of one vCPU, as far as patching needs it. */
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

struct vcpu_regs {
	uint64_t gpr[VCPU_GPR_COUNT];
	uint64_t rip, rflags;
	uint16_t cs, ss; /* selectors; CPL is cs & 3 in 64-bit mode */
	uint64_t fs_base, gs_base, kernel_gs_base;
	uint64_t cr0, cr3, cr4, efer;
	uint64_t idt_base; /* valid when has_idt: QEMU's gdbstub does not give it, its monitor does */
	uint64_t lstar;	   /* valid when has_lstar */
	bool has_idt, has_lstar;
	bool halted; /* in HLT, waiting for an interrupt */
};

static inline unsigned vcpu_cpl(const struct vcpu_regs *r)
{
	return r->cs & 3u;
}

#endif
