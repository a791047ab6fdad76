/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the engine must know of an instruction set: where instructions begin,
 * what they do to control flow, how to write the few that patches are made of.
 * Each architecture is one file and one row; no state, no allocation. Code bytes
 * come from a guest and are untrusted: whatever does not decode is refused.
 */
#ifndef VMPOKE_VMM_ARCH_ARCH_H
#define VMPOKE_VMM_ARCH_ARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "protocol/err.h"
#include "vmm/vcpu.h"

#define ARCH_INSN_MAX 15 /* longest instruction, bytes (SDM vol. 2, 2.3.11) */

enum arch_flow {
	ARCH_FLOW_NONE,	    /* falls through */
	ARCH_FLOW_JUMP,	    /* always leaves, direct target */
	ARCH_FLOW_BRANCH,   /* conditional, direct target */
	ARCH_FLOW_CALL,	    /* direct call */
	ARCH_FLOW_INDIRECT, /* jump through register or memory */
	ARCH_FLOW_ICALL,    /* call through register or memory */
	ARCH_FLOW_RETURN,
	ARCH_FLOW_TRAP,	    /* int3, int1, int n, ud2, hlt in user code ... */
};

struct arch_insn {
	uint8_t len;
	enum arch_flow flow;
	uint64_t target; /* JUMP, BRANCH, CALL: absolute */
	bool pc_relative_data; /* reads memory, or makes an address, relative to itself */
	bool nop;	 /* architecturally a NOP */
	bool trap;	 /* the breakpoint opcode (arch_ops.trap) */
};

/* The constant in a MOV's bytes: size 1, 2, 4 or 8 at offset, little-endian. */
struct arch_immediate {
	uint8_t offset, size;
	bool extended; /* sign-extended to the register */
};

/* What an emulated instruction ends in when its memory access or its target is not allowed. */
struct arch_fault {
	uint8_t vector;
	bool has_error_code;
	uint32_t error_code;
	uint64_t cr2; /* vector 14 */
};

/* Guest-virtual memory for an emulated instruction. Embedded in the caller's object. */
struct arch_access {
	/* All of it or nothing: 0, or -EFAULT with *fault filled. */
	int (*read)(struct arch_access *a, uint64_t gva, void *buf, size_t len, struct arch_fault *fault);
	int (*write)(struct arch_access *a, uint64_t gva, const void *buf, size_t len, struct arch_fault *fault);
};

struct arch_ops {
	const char *name;	 /* "x86_64" */
	const uint8_t *trap;	 /* breakpoint opcode bytes */
	size_t trap_len;
	size_t align;		 /* instructions begin at multiples of it, and ranges are made of it */
	const char *reach;	 /* of encode_jump(), for sentences */

	/* Decodes one instruction at gva. -EILSEQ when it does not decode or is cut short. */
	int (*decode)(const uint8_t *code, size_t len, uint64_t gva, struct arch_insn *ret);

	/* Bytes to step over at a function's entry before anything may be put there (ENDBR64, also sealed: 4, else 0). */
	size_t (*entry_skip)(const uint8_t *code, size_t len);

	/*
	 * The compiler's tracing pad at (code), after entry_skip: its length when it is
	 * the idle NOP, 0 when there is none, -EBUSY when it is in use (CALL to a tracer).
	 */
	ssize_t (*trace_pad)(const uint8_t *code, size_t len);

	/* Encoders: length written, -ENOSPC when cap is short, -ERANGE when the target is out of reach. */
	ssize_t (*encode_nop)(uint8_t *out, size_t len); /* exactly len bytes of the recommended NOPs */
	ssize_t (*encode_jump)(uint8_t *out, size_t cap, uint64_t from, uint64_t to);
	ssize_t (*encode_call)(uint8_t *out, size_t cap, uint64_t from, uint64_t to);
	/* At `from`: return register := value; return, or a jump to thunk where it is not 0. */
	ssize_t (*encode_return)(uint8_t *out, size_t cap, int64_t value, uint64_t from, uint64_t thunk);

	/* An unconditional jump of exactly len bytes; -EINVAL when there is none of that length, -ERANGE. NULL: not known here. */
	ssize_t (*encode_branch)(uint8_t *out, size_t len, uint64_t from, uint64_t to);

	/* -EOPNOTSUPP when the instruction is no MOV of a constant; -EILSEQ. NULL: not known here. */
	int (*immediate)(const uint8_t *code, size_t len, struct arch_immediate *ret);

	/* Can emulate() do the instruction at code? Looks at bytes only. */
	bool (*emulates)(const uint8_t *code, size_t len);

	/*
	 * Does the instruction at regs->rip, whose bytes are code, to *regs and memory, as the CPU would
	 * at CPL 0. -EFAULT: it faults, *fault says how; -EOPNOTSUPP: not done here. Neither changes anything.
	 */
	int (*emulate)(const uint8_t *code, size_t len, struct vcpu_regs *regs, struct arch_access *memory,
		       struct arch_fault *fault);

	/*
	 * The one instruction at code, as it must read to do the same at another address. Returns its length,
	 * -EILSEQ, -EOPNOTSUPP (its own address is part of what it does), -ERANGE (what it reads is too far
	 * from there), -ENOSPC.
	 */
	ssize_t (*relocate)(const uint8_t *code, size_t len, uint64_t from, uint64_t to, uint8_t *out, size_t cap);

	/* May a relocated copy of it be single-stepped while other vCPUs run? Looks at bytes only; see step.c. */
	bool (*steps)(const uint8_t *code, size_t len);
};

extern const struct arch_ops arch_x86_64, arch_arm64;

const struct arch_ops *arch_of(enum vcpu_arch arch);

/*
 * Boundaries of the instructions in code[0..need): bit i of *ret_mask is set when
 * one begins at offset i. need must be 1..64. *ret_end is the end of the last
 * instruction that begins inside (>= need; > need: the range cuts it).
 * -EILSEQ when something does not decode; *ret_bad_offset says where.
 */
int arch_boundaries(const struct arch_ops *arch, const uint8_t *code, size_t len, uint64_t gva,
		    size_t need, uint64_t *ret_mask, size_t *ret_end, size_t *ret_bad_offset);

#endif
