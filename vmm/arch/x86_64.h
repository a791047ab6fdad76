/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x86-64's row is filled from several files: private to vmm/arch. See arch.h for what each must do. */
#ifndef VMPOKE_VMM_ARCH_X86_64_H
#define VMPOKE_VMM_ARCH_X86_64_H

#include "vmm/arch/arch.h"

/* emulate.c */
bool x86_emulates(const uint8_t *code, size_t len);
int x86_emulate(const uint8_t *code, size_t len, struct vcpu_regs *regs, struct arch_access *memory,
		struct arch_fault *fault);

/* immediate.c */
int x86_immediate(const uint8_t *code, size_t len, struct arch_immediate *ret);
ssize_t x86_encode_branch(uint8_t *out, size_t len, uint64_t from, uint64_t to);

/* relocate.c */
ssize_t x86_relocate(const uint8_t *code, size_t len, uint64_t from, uint64_t to, uint8_t *out, size_t cap);

/* step.c */
bool x86_steps(const uint8_t *code, size_t len);

#endif
