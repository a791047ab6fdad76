// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * arm64 (A64): decoding and encoding by hand, as every instruction is one little-endian
 * word of which flow control takes a few dense groups (Arm ARM DDI 0487, C4.1). The groups
 * that are unallocated as a whole do not decode; an unallocated word inside an allocated
 * group is not told apart. Must never call two instructions one: a `return` is two or three
 * of them, and the caller's search for saved contexts rests on that.
 */
#include <errno.h>
#include <string.h>

#include "protocol/util.h"
#include "vmm/arch/arch.h"

#define WORD 4u

#define A64_NOP	      0xd503201fu
#define A64_RET	      0xd65f03c0u
#define A64_MOV_X9_LR 0xaa1e03e9u /* what Linux makes of a tracing pad's first NOP (arch/arm64/kernel/ftrace.c) */
#define A64_B	      0x14000000u
#define A64_BL	      0x94000000u
#define BRANCH_MASK   0xfc000000u

/*
 * BRK #4, a kprobe (KPROBES_BRK_IMM, arch/arm64/include/asm/brk-imm.h). Others stand in the
 * text for good: BUG() and WARN() are BRK #0x800.
 */
static const uint8_t trap_opcode[] = { 0x80, 0x00, 0x20, 0xd4 };

static uint32_t get_word(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put_word(uint8_t *out, uint32_t word)
{
	for (int i = 0; i < 4; i++)
		out[i] = (uint8_t)(word >> (8 * i));
}

/* The signed field of `bits` bits at `shift`, in bytes. */
static uint64_t distance(uint32_t word, unsigned shift, unsigned bits)
{
	return (uint64_t)((int64_t)((uint64_t)word << (64 - shift - bits)) >> (64 - bits)) * WORD;
}

/* Direct branches; false: the word is none. */
static bool decode_branch(uint32_t word, uint64_t gva, struct arch_insn *ret)
{
	if ((word & 0x7c000000u) == A64_B) { /* B, BL: bit 31 links */
		ret->flow = word >> 31 ? ARCH_FLOW_CALL : ARCH_FLOW_JUMP;
		ret->target = gva + distance(word, 0, 26);
		return true;
	}
	bool conditional = (word & 0xff000000u) == 0x54000000u; /* B.cond, BC.cond */
	bool compare = (word & 0x7e000000u) == 0x34000000u;	/* CBZ, CBNZ */
	bool test = (word & 0x7e000000u) == 0x36000000u;	/* TBZ, TBNZ */
	if (!conditional && !compare && !test)
		return false;
	ret->flow = ARCH_FLOW_BRANCH;
	ret->target = gva + distance(word, 5, test ? 14 : 19);
	return true;
}

/* Branches through a register, plain and with pointer authentication: bits 24:21. */
static enum arch_flow flow_register(uint32_t word)
{
	switch (word >> 21 & 0xf) {
	case 0: /* BR */
	case 8: /* BRAA, BRAB */
		return ARCH_FLOW_INDIRECT;
	case 1: /* BLR */
	case 9:
		return ARCH_FLOW_ICALL;
	case 2: /* RET, RETAA */
	case 4: /* ERET */
	case 5: /* DRPS */
		return ARCH_FLOW_RETURN;
	default:
		return ARCH_FLOW_TRAP;
	}
}

/* SVC, HVC and SMC come back to the next instruction; BRK, HLT and DCPS are for debuggers. */
static enum arch_flow flow_other(uint32_t word)
{
	if ((word & 0xfe000000u) == 0xd6000000u)
		return flow_register(word);
	if ((word & 0xff000000u) == 0xd4000000u)
		return (word >> 21 & 7) == 0 ? ARCH_FLOW_NONE : ARCH_FLOW_TRAP;
	return word >> 16 == 0 ? ARCH_FLOW_TRAP : ARCH_FLOW_NONE; /* UDF */
}

/* ADR, ADRP; LDR and PRFM of a literal. */
static bool reads_near_pc(uint32_t word)
{
	return (word & 0x1f000000u) == 0x10000000u || (word & 0x3b000000u) == 0x18000000u;
}

/* C4.1: bits 28:25. 0000 is reserved but for UDF, and for SME where bit 31 is set. */
static bool is_allocated(uint32_t word)
{
	switch (word >> 25 & 0xf) {
	case 0:
		return word >> 16 == 0 || word >> 31;
	case 1:
	case 3:
		return false;
	default:
		return true;
	}
}

static int arm64_decode(const uint8_t *code, size_t len, uint64_t gva, struct arch_insn *ret)
{
	if (len < WORD || gva % WORD)
		return -EILSEQ;
	uint32_t word = get_word(code);
	if (!is_allocated(word))
		return -EILSEQ;
	struct arch_insn insn = {
		.len = WORD,
		.pc_relative_data = reads_near_pc(word),
		.nop = word == A64_NOP,
		.trap = memcmp(code, trap_opcode, sizeof(trap_opcode)) == 0,
	};
	if (!decode_branch(word, gva, &insn))
		insn.flow = flow_other(word);
	*ret = insn;
	return 0;
}

/*
 * BTI: where the kernel's own text is guarded an indirect call must land on one. PACIASP
 * lands, too, but is not skipped: it signs the return address, which a bare RET after it
 * would jump to as it is.
 */
static size_t arm64_entry_skip(const uint8_t *code, size_t len)
{
	return len >= WORD && (get_word(code) & ~0xc0u) == 0xd503241fu ? WORD : 0;
}

/*
 * -fpatchable-function-entry=2: two NOPs, of which Linux makes MOV X9, LR and NOP at boot,
 * and MOV X9, LR and a BL while the function is traced.
 */
static ssize_t arm64_trace_pad(const uint8_t *code, size_t len)
{
	if (len < 2 * WORD)
		return 0;
	uint32_t first = get_word(code), second = get_word(code + WORD);
	if (first != A64_NOP && first != A64_MOV_X9_LR)
		return 0;
	if (second == A64_NOP)
		return 2 * WORD;
	return (second & BRANCH_MASK) == A64_BL ? -EBUSY : 0;
}

static ssize_t arm64_encode_nop(uint8_t *out, size_t len)
{
	if (len % WORD)
		return -EINVAL;
	for (size_t at = 0; at < len; at += WORD)
		put_word(out + at, A64_NOP);
	return (ssize_t)len;
}

/* 26 bits of words: 128 MiB either way. */
static ssize_t encode_branch(uint32_t opcode, uint8_t *out, size_t cap, uint64_t from, uint64_t to)
{
	int64_t bytes = (int64_t)(to - from);

	if (cap < WORD)
		return -ENOSPC;
	if (bytes % WORD || bytes < -(INT64_C(1) << 27) || bytes >= INT64_C(1) << 27)
		return -ERANGE;
	put_word(out, opcode | ((uint32_t)(bytes / (int64_t)WORD) & ~BRANCH_MASK));
	return WORD;
}

static ssize_t arm64_encode_jump(uint8_t *out, size_t cap, uint64_t from, uint64_t to)
{
	return encode_branch(A64_B, out, cap, from, to);
}

static ssize_t arm64_encode_call(uint8_t *out, size_t cap, uint64_t from, uint64_t to)
{
	return encode_branch(A64_BL, out, cap, from, to);
}

static ssize_t arm64_encode_branch(uint8_t *out, size_t len, uint64_t from, uint64_t to)
{
	return len == WORD ? encode_branch(A64_B, out, len, from, to) : -EINVAL;
}

/*
 * X0 := value in one or two words. A value from 0 on goes through W0, which clears the upper half; a
 * negative one begins with MOVN X0, whose upper bits are all set.
 */
static size_t load_x0(uint32_t ret[static 2], int64_t value)
{
	uint32_t low = (uint32_t)value & 0xffff, high = (uint32_t)value >> 16;

	if (value < 0) {
		ret[0] = 0x92800000u | (~low & 0xffff) << 5; /* MOVN X0, #~low */
		ret[1] = 0xf2a00000u | high << 5;	     /* MOVK X0, #high, LSL 16 */
		return high == 0xffff ? 1 : 2;
	}
	ret[0] = 0x52800000u | low << 5;  /* MOVZ W0, #low */
	ret[1] = 0x72a00000u | high << 5; /* MOVK W0, #high, LSL 16 */
	return high == 0 ? 1 : 2;
}

static ssize_t arm64_encode_return(uint8_t *out, size_t cap, int64_t value, uint64_t from, uint64_t thunk)
{
	uint32_t load[2];
	size_t n, at = 0;

	if (value < INT32_MIN || value > UINT32_MAX)
		return -ERANGE;
	n = load_x0(load, value);
	if (cap < (n + 1) * WORD)
		return -ENOSPC;
	for (size_t i = 0; i < n; i++, at += WORD)
		put_word(out + at, load[i]);
	if (thunk) {
		ssize_t jump = arm64_encode_jump(out + at, cap - at, from + at, thunk);
		return jump < 0 ? jump : (ssize_t)at + jump;
	}
	put_word(out + at, A64_RET);
	return (ssize_t)(at + WORD);
}

/* Nothing traps arm64 vCPUs while others run, so nothing is ever executed by hand or as a copy. */
static bool arm64_emulates(const uint8_t *code, size_t len)
{
	(void)code;
	(void)len;
	return false;
}

static int arm64_emulate(const uint8_t *code, size_t len, struct vcpu_regs *regs, struct arch_access *memory,
			 struct arch_fault *fault)
{
	(void)code;
	(void)len;
	(void)regs;
	(void)memory;
	(void)fault;
	return -EOPNOTSUPP;
}

static ssize_t arm64_relocate(const uint8_t *code, size_t len, uint64_t from, uint64_t to, uint8_t *out, size_t cap)
{
	(void)code;
	(void)len;
	(void)from;
	(void)to;
	(void)out;
	(void)cap;
	return -EOPNOTSUPP;
}

const struct arch_ops arch_arm64 = {
	.name = "arm64",
	.trap = trap_opcode,
	.trap_len = sizeof(trap_opcode),
	.align = WORD,
	.reach = "128 MiB",
	.decode = arm64_decode,
	.entry_skip = arm64_entry_skip,
	.trace_pad = arm64_trace_pad,
	.encode_nop = arm64_encode_nop,
	.encode_jump = arm64_encode_jump,
	.encode_call = arm64_encode_call,
	.encode_return = arm64_encode_return,
	.encode_branch = arm64_encode_branch,
	.emulates = arm64_emulates,
	.emulate = arm64_emulate,
	.relocate = arm64_relocate,
	.steps = arm64_emulates,
};
