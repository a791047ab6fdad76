// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Where the constant of a MOV stands in its bytes (SDM vol. 2, MOV: B0+r, B8+r, C6 /0,
 * C7 /0), and the unconditional jump of a given length. Looks at bytes only.
 */
#include <Zydis/Zydis.h>
#include <errno.h>

#include "vmm/arch/x86_64.h"

int x86_immediate(const uint8_t *code, size_t len, struct arch_immediate *ret)
{
	ZydisDecoder decoder;
	ZydisDecodedInstruction in;

	if (len == 0 || ZYAN_FAILED(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)) ||
	    ZYAN_FAILED(ZydisDecoderDecodeInstruction(&decoder, NULL, code, len, &in)))
		return -EILSEQ;
	const struct ZydisDecodedInstructionRawImm_ *imm = &in.raw.imm[0];
	if (in.mnemonic != ZYDIS_MNEMONIC_MOV || !imm->size || imm->is_relative)
		return -EOPNOTSUPP;
	*ret = (struct arch_immediate){
		.offset = imm->offset,
		.size = (uint8_t)(imm->size / 8),
		.extended = in.operand_width == 64 && imm->size == 32,
	};
	return 0;
}

/* EB rel8 counts from the end of its 2 bytes. */
ssize_t x86_encode_branch(uint8_t *out, size_t len, uint64_t from, uint64_t to)
{
	int64_t distance = (int64_t)(to - (from + 2));

	if (len == 5)
		return arch_x86_64.encode_jump(out, len, from, to);
	if (len != 2)
		return -EINVAL;
	if (distance < INT8_MIN || distance > INT8_MAX)
		return -ERANGE;
	out[0] = 0xeb;
	out[1] = (uint8_t)distance;
	return 2;
}
