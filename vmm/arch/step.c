// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which instructions may be single-stepped as a copy at another address while other
 * vCPUs run. A list of what is known to be harmless, not of what is not: nothing that
 * can fault in a way the kernel expects (its exception tables know the original's
 * address only), nothing that shows or changes the trap flag, shadows interrupts,
 * serialises or leaves the guest. Memory is touched on the stack or relative to RIP
 * only, which in a kernel is its own image or the per-CPU area: always there.
 */
#include <Zydis/Zydis.h>

#include "protocol/util.h"
#include "vmm/arch/x86_64.h"

static const ZydisMnemonic harmless[] = {
	ZYDIS_MNEMONIC_MOV,   ZYDIS_MNEMONIC_MOVZX,  ZYDIS_MNEMONIC_MOVSX, ZYDIS_MNEMONIC_MOVSXD, ZYDIS_MNEMONIC_LEA,
	ZYDIS_MNEMONIC_ADD,   ZYDIS_MNEMONIC_SUB,    ZYDIS_MNEMONIC_AND,   ZYDIS_MNEMONIC_OR,	  ZYDIS_MNEMONIC_XOR,
	ZYDIS_MNEMONIC_CMP,   ZYDIS_MNEMONIC_TEST,   ZYDIS_MNEMONIC_INC,   ZYDIS_MNEMONIC_DEC,	  ZYDIS_MNEMONIC_NEG,
	ZYDIS_MNEMONIC_NOT,   ZYDIS_MNEMONIC_SHL,    ZYDIS_MNEMONIC_SHR,   ZYDIS_MNEMONIC_SAR,	  ZYDIS_MNEMONIC_BSWAP,
	ZYDIS_MNEMONIC_CMOVB, ZYDIS_MNEMONIC_CMOVNB, ZYDIS_MNEMONIC_CMOVZ, ZYDIS_MNEMONIC_CMOVNZ, ZYDIS_MNEMONIC_SETZ,
	ZYDIS_MNEMONIC_SETNZ, ZYDIS_MNEMONIC_PUSH,   ZYDIS_MNEMONIC_POP,   ZYDIS_MNEMONIC_LEAVE,  ZYDIS_MNEMONIC_NOP,
};

/* MOV to and from segment, control and debug registers goes by the same name. */
static bool is_plain_mov(const ZydisDecodedInstruction *in)
{
	return in->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && in->opcode != 0x8c && in->opcode != 0x8e &&
	       (in->opcode < 0xa0 || in->opcode > 0xa3); /* those have an absolute address */
}

/* PUSH and POP of a segment register: opcodes of their own. */
static bool is_plain_stack(const ZydisDecodedInstruction *in)
{
	return in->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT;
}

static bool memory_is_there(const ZydisDecodedInstruction *in)
{
	if (!(in->attributes & ZYDIS_ATTRIB_HAS_MODRM) || in->raw.modrm.mod == 3)
		return true;
	if (in->mnemonic == ZYDIS_MNEMONIC_LEA || in->mnemonic == ZYDIS_MNEMONIC_NOP) /* they only name it */
		return true;
	return in->raw.modrm.mod == 0 && in->raw.modrm.rm == 5 && in->address_width == 64;
}

static bool is_harmless(const ZydisDecodedInstruction *in)
{
	for (size_t i = 0; i < ARRAY_SIZE(harmless); i++) {
		if (in->mnemonic != harmless[i])
			continue;
		if (in->mnemonic == ZYDIS_MNEMONIC_MOV)
			return is_plain_mov(in);
		if (in->mnemonic == ZYDIS_MNEMONIC_PUSH || in->mnemonic == ZYDIS_MNEMONIC_POP)
			return is_plain_stack(in);
		return true;
	}
	return false;
}

bool x86_steps(const uint8_t *code, size_t len)
{
	ZydisDecodedInstruction in;
	ZydisDecoder decoder;
	struct arch_insn insn;

	if (arch_x86_64.decode(code, len, 0, &insn) < 0 || insn.flow != ARCH_FLOW_NONE ||
	    ZYAN_FAILED(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)) ||
	    ZYAN_FAILED(ZydisDecoderDecodeInstruction(&decoder, NULL, code, insn.len, &in)))
		return false;
	return is_harmless(&in) && memory_is_there(&in);
}
