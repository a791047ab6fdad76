// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * x86-64: decoding through Zydis, encoding by hand. Only the encodings patches
 * are made of exist here; each is one instruction of fixed length, so that a
 * patch's boundaries are known before it is written. Must never read past the
 * bytes it was given, and must never call something an instruction on which
 * Intel and AMD disagree.
 */
#include <Zydis/Zydis.h>
#include <errno.h>
#include <string.h>

#include "protocol/util.h"
#include "vmm/arch/x86_64.h"

static const uint8_t trap_opcode[] = { 0xcc };

/* RIP-relative memory operand: ModRM mod 0, r/m 5 (SDM vol. 2, 2.2.1.6). MOV CR ignores mod and has no displacement. */
static bool insn_reads_near_rip(const ZydisDecodedInstruction *in)
{
	return (in->attributes & ZYDIS_ATTRIB_HAS_MODRM) && in->raw.modrm.mod == 0 && in->raw.modrm.rm == 5 &&
	       in->raw.disp.size == 32;
}

/* The immediate that is a branch displacement, or NULL. */
static const struct ZydisDecodedInstructionRawImm_ *insn_displacement(const ZydisDecodedInstruction *in)
{
	for (size_t i = 0; i < ARRAY_SIZE(in->raw.imm); i++)
		if (in->raw.imm[i].is_relative)
			return &in->raw.imm[i];
	return NULL;
}

/*
 * With an operand-size prefix (and no REX.W) Intel keeps a near branch's 32-bit
 * displacement, AMD takes 16 bits of it and cuts RIP: another length and
 * another target. No compiler emits it.
 */
static bool insn_is_vendor_specific(const ZydisDecodedInstruction *in)
{
	bool operand_size = false;

	for (size_t i = 0; i < in->raw.prefix_count; i++)
		operand_size |= in->raw.prefixes[i].value == 0x66;
	return operand_size && !in->raw.rex.W && insn_displacement(in);
}

static enum arch_flow flow_direct(ZydisMnemonic mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_CALL:
		return ARCH_FLOW_CALL;
	case ZYDIS_MNEMONIC_JMP:
		return ARCH_FLOW_JUMP;
	default: /* Jcc, JRCXZ, LOOP, XBEGIN */
		return ARCH_FLOW_BRANCH;
	}
}

/* HLT is not a trap: the kernel's idle loop falls through it. */
static enum arch_flow flow_other(ZydisMnemonic mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_CALL:
		return ARCH_FLOW_ICALL;
	case ZYDIS_MNEMONIC_JMP:
		return ARCH_FLOW_INDIRECT;
	case ZYDIS_MNEMONIC_RET:
	case ZYDIS_MNEMONIC_IRET:
	case ZYDIS_MNEMONIC_IRETD:
	case ZYDIS_MNEMONIC_IRETQ:
	case ZYDIS_MNEMONIC_SYSRET:
	case ZYDIS_MNEMONIC_SYSEXIT:
		return ARCH_FLOW_RETURN;
	case ZYDIS_MNEMONIC_INT:
	case ZYDIS_MNEMONIC_INT1:
	case ZYDIS_MNEMONIC_INT3:
	case ZYDIS_MNEMONIC_UD0:
	case ZYDIS_MNEMONIC_UD1:
	case ZYDIS_MNEMONIC_UD2:
		return ARCH_FLOW_TRAP;
	default:
		return ARCH_FLOW_NONE;
	}
}

static int x86_decode(const uint8_t *code, size_t len, uint64_t gva, struct arch_insn *ret)
{
	ZydisDecoder decoder;
	ZydisDecodedInstruction in;

	if (len == 0 || ZYAN_FAILED(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)) ||
	    ZYAN_FAILED(ZydisDecoderDecodeInstruction(&decoder, NULL, code, len, &in)) || insn_is_vendor_specific(&in))
		return -EILSEQ;

	const struct ZydisDecodedInstructionRawImm_ *disp = insn_displacement(&in);
	*ret = (struct arch_insn){
		.len = in.length,
		.flow = disp ? flow_direct(in.mnemonic) : flow_other(in.mnemonic),
		.target = disp ? gva + in.length + (uint64_t)disp->value.s : 0,
		.pc_relative_data = insn_reads_near_rip(&in),
		.nop = in.mnemonic == ZYDIS_MNEMONIC_NOP,
		.trap = in.mnemonic == ZYDIS_MNEMONIC_INT3,
	};
	return 0;
}

/*
 * ENDBR64: a kernel with IBT faults on an indirect call that does not land on it.
 * At boot Linux overwrites those it never calls indirectly with a NOP of the same
 * length (gen_endbr_poison(), arch/x86/include/asm/ibt.h), on CPUs without IBT too;
 * the tracing pad still comes after it.
 */
static size_t x86_entry_skip(const uint8_t *code, size_t len)
{
	static const uint8_t landing[][4] = {
		{ 0xf3, 0x0f, 0x1e, 0xfa },
		{ 0x66, 0x0f, 0x1f, 0x00 }, /* sealed, Linux 5.18 .. */
		{ 0x0f, 0x1f, 0x40, 0xd6 }, /* sealed, later kernels */
	};

	for (size_t i = 0; len >= sizeof(landing[0]) && i < ARRAY_SIZE(landing); i++)
		if (memcmp(code, landing[i], sizeof(landing[i])) == 0)
			return sizeof(landing[i]);
	return 0;
}

/* Both are one instruction; two short NOPs would let a saved RIP stand between them. */
static ssize_t x86_trace_pad(const uint8_t *code, size_t len)
{
	static const uint8_t idle[][5] = {
		{ 0x0f, 0x1f, 0x44, 0x00, 0x00 }, /* BYTES_NOP5, arch/x86/include/asm/nops.h */
		{ 0x66, 0x66, 0x66, 0x66, 0x90 }, /* K8_NOP5_ATOMIC, kernels before 5.13 */
	};

	if (len < sizeof(idle[0]))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(idle); i++)
		if (memcmp(code, idle[i], sizeof(idle[i])) == 0)
			return sizeof(idle[i]);
	return code[0] == 0xe8 ? -EBUSY : 0;
}

/*
 * The table is the kernel's (arch/x86/include/asm/nops.h), which ends at 8
 * bytes; the SDM's (vol. 2, NOP) also has a 9-byte form, 66 before the 8-byte
 * one, which some cores decode slowly. Longer ranges are chained.
 */
static ssize_t x86_encode_nop(uint8_t *out, size_t len)
{
	static const uint8_t nops[][8] = {
		{ 0x90 },
		{ 0x66, 0x90 },
		{ 0x0f, 0x1f, 0x00 },
		{ 0x0f, 0x1f, 0x40, 0x00 },
		{ 0x0f, 0x1f, 0x44, 0x00, 0x00 },
		{ 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00 },
		{ 0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00 },
		{ 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00 },
	};

	for (size_t at = 0, n; at < len; at += n) {
		n = len - at < ARRAY_SIZE(nops) ? len - at : ARRAY_SIZE(nops);
		memcpy(out + at, nops[n - 1], n);
	}
	return (ssize_t)len;
}

static void put_le32(uint8_t *out, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		out[i] = (uint8_t)(value >> (8 * i));
}

/* opcode rel32; the displacement counts from the end of the 5 bytes. */
static ssize_t encode_rel32(uint8_t opcode, uint8_t *out, size_t cap, uint64_t from, uint64_t to)
{
	int64_t distance = (int64_t)(to - (from + 5));

	if (cap < 5)
		return -ENOSPC;
	if (distance < INT32_MIN || distance > INT32_MAX)
		return -ERANGE;
	out[0] = opcode;
	put_le32(out + 1, (uint32_t)distance);
	return 5;
}

static ssize_t x86_encode_jump(uint8_t *out, size_t cap, uint64_t from, uint64_t to)
{
	return encode_rel32(0xe9, out, cap, from, to);
}

static ssize_t x86_encode_call(uint8_t *out, size_t cap, uint64_t from, uint64_t to)
{
	return encode_rel32(0xe8, out, cap, from, to);
}

/*
 * `mov $imm32,%eax; ret` zero-extends into RAX, so a negative value needs the
 * sign-extending `mov $imm32,%rax` (REX.W C7 /0): a caller that looks at a long
 * must see -1, not 4294967295. The RET is a plain one: on CPUs where the kernel
 * sends its returns through a thunk (retbleed), this one return goes without.
 */
static ssize_t x86_encode_return(uint8_t *out, size_t cap, int64_t value, uint64_t from, uint64_t thunk)
{
	static const uint8_t mov_eax[] = { 0xb8 }, mov_rax[] = { 0x48, 0xc7, 0xc0 };
	size_t opcode_len = value < 0 ? sizeof(mov_rax) : sizeof(mov_eax), n = opcode_len + 4;

	if (value < INT32_MIN || value > UINT32_MAX)
		return -ERANGE;
	if (cap < opcode_len + 5)
		return -ENOSPC;
	memcpy(out, value < 0 ? mov_rax : mov_eax, opcode_len);
	put_le32(out + opcode_len, (uint32_t)(value & UINT32_MAX));
	if (thunk) {
		ssize_t jump = x86_encode_jump(out + n, cap - n, from + n, thunk);
		return jump < 0 ? jump : (ssize_t)n + jump;
	}
	out[n] = 0xc3;
	return (ssize_t)n + 1;
}

const struct arch_ops arch_x86_64 = {
	.name = "x86_64",
	.trap = trap_opcode,
	.trap_len = sizeof(trap_opcode),
	.align = 1,
	.reach = "2 GiB",
	.decode = x86_decode,
	.entry_skip = x86_entry_skip,
	.trace_pad = x86_trace_pad,
	.encode_nop = x86_encode_nop,
	.encode_jump = x86_encode_jump,
	.encode_call = x86_encode_call,
	.encode_return = x86_encode_return,
	.encode_branch = x86_encode_branch,
	.immediate = x86_immediate,
	.emulates = x86_emulates,
	.emulate = x86_emulate,
	.relocate = x86_relocate,
	.steps = x86_steps,
};
