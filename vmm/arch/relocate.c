// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One x86-64 instruction made to run at another address: the displacement of a
 * RIP-relative operand is corrected, everything else stays. Must never accept an
 * instruction that leaves its own address behind (calls, branches, SYSCALL) or
 * that a single step would not bring to its end (HLT).
 */
#include <Zydis/Zydis.h>
#include <errno.h>
#include <string.h>

#include "vmm/arch/x86_64.h"

/* MOV to and from control registers ignores mod: the same ModRM, but no displacement. */
static bool near_rip(const ZydisDecodedInstruction *in)
{
	return (in->attributes & ZYDIS_ATTRIB_HAS_MODRM) && in->raw.modrm.mod == 0 && in->raw.modrm.rm == 5 &&
	       in->raw.disp.size == 32;
}

/* With a 67 prefix the address is EIP-relative and cut to 32 bits: it has no equal elsewhere. */
static bool stays_where_it_is(const ZydisDecodedInstruction *in)
{
	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_SYSCALL:
	case ZYDIS_MNEMONIC_SYSENTER:
	case ZYDIS_MNEMONIC_VMCALL:
	case ZYDIS_MNEMONIC_VMMCALL:
	case ZYDIS_MNEMONIC_HLT:
	case ZYDIS_MNEMONIC_MWAIT:
		return true;
	default:
		return near_rip(in) && in->address_width != 64;
	}
}

static int displace(const ZydisDecodedInstruction *in, uint64_t from, uint64_t to, uint8_t *out)
{
	if (from - to + 0x80000000u > UINT32_MAX)
		return -ERANGE;
	int64_t distance = in->raw.disp.value + (int64_t)(from - to);
	if (distance < INT32_MIN || distance > INT32_MAX)
		return -ERANGE;
	for (int i = 0; i < 4; i++)
		out[in->raw.disp.offset + i] = (uint8_t)((uint64_t)distance >> (8 * i));
	return 0;
}

ssize_t x86_relocate(const uint8_t *code, size_t len, uint64_t from, uint64_t to, uint8_t *out, size_t cap)
{
	ZydisDecodedInstruction in;
	ZydisDecoder decoder;
	struct arch_insn insn;
	uint8_t copy[ARCH_INSN_MAX];
	int r = arch_x86_64.decode(code, len, from, &insn);

	if (r < 0)
		return r;
	if (ZYAN_FAILED(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)) ||
	    ZYAN_FAILED(ZydisDecoderDecodeInstruction(&decoder, NULL, code, insn.len, &in)))
		return -EILSEQ;
	if (insn.flow != ARCH_FLOW_NONE || stays_where_it_is(&in))
		return -EOPNOTSUPP;
	if (cap < insn.len)
		return -ENOSPC;
	memcpy(copy, code, insn.len);
	if (near_rip(&in))
		r = displace(&in, from, to, copy);
	if (r < 0)
		return r;
	memcpy(out, copy, insn.len);
	return insn.len;
}
