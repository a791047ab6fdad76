// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The x86-64 instructions that kernel patches are made of, done by hand to a
 * vCPU's registers and stack: NOP, MOV of a constant, near direct CALL, JMP and
 * Jcc, near RET. A CPL 0 vCPU in 64-bit mode is assumed; the caller has looked.
 * Must never change anything when it refuses or faults, and must refuse what it
 * cannot do exactly: under the trap flag every instruction ends in a #DB, with
 * CET a call also writes a shadow stack.
 */
#include <Zydis/Zydis.h>
#include <errno.h>

#include "protocol/util.h"
#include "vmm/arch/x86_64.h"
#include "vmm/vcpu.h"

#define FLAG_CF	  (UINT64_C(1) << 0)
#define FLAG_PF	  (UINT64_C(1) << 2)
#define FLAG_ZF	  (UINT64_C(1) << 6)
#define FLAG_SF	  (UINT64_C(1) << 7)
#define FLAG_TF	  (UINT64_C(1) << 8)
#define FLAG_OF	  (UINT64_C(1) << 11)
#define FLAG_RF	  (UINT64_C(1) << 16)
#define CR4_LA57  (UINT64_C(1) << 12)
#define CR4_CET	  (UINT64_C(1) << 23)
#define VECTOR_SS 12
#define VECTOR_GP 13

enum op { OP_NOP, OP_MOV, OP_JUMP, OP_BRANCH, OP_CALL, OP_RETURN };

struct parsed {
	enum op op;
	uint8_t len;
	uint8_t condition; /* BRANCH: low four bits of the opcode */
	uint8_t width;	   /* MOV: bits written */
	uint8_t reg;	   /* MOV: index into gpr[] */
	bool high_byte;	   /* MOV: AH .. BH */
	uint64_t value;	   /* MOV: constant; branches: displacement; RETURN: bytes to drop */
};

static int parse_branch(const ZydisDecodedInstruction *in, struct parsed *p)
{
	bool two_byte = in->opcode_map == ZYDIS_OPCODE_MAP_0F;

	if (in->mnemonic == ZYDIS_MNEMONIC_CALL)
		p->op = OP_CALL;
	else if (in->mnemonic == ZYDIS_MNEMONIC_JMP)
		p->op = OP_JUMP;
	else if (two_byte ? (in->opcode & 0xf0) == 0x80 : (in->opcode & 0xf0) == 0x70)
		p->op = OP_BRANCH;
	else /* JRCXZ, LOOP, XBEGIN */
		return -EOPNOTSUPP;
	p->condition = in->opcode & 0xf;
	p->value = (uint64_t)in->raw.imm[0].value.s;
	return 0;
}

/* With an operand-size prefix vendors pop different things: no compiler emits it. */
static int parse_return(const ZydisDecodedInstruction *in, struct parsed *p)
{
	if (in->opcode != 0xc3 && in->opcode != 0xc2)
		return -EOPNOTSUPP;
	for (size_t i = 0; i < in->raw.prefix_count; i++)
		if (in->raw.prefixes[i].value == 0x66)
			return -EOPNOTSUPP;
	p->op = OP_RETURN;
	p->value = in->opcode == 0xc2 ? in->raw.imm[0].value.u : 0;
	return 0;
}

/* B0 .. BF: register in the opcode. C6 /0, C7 /0 with a register: in ModRM; a 64-bit one takes a signed 32-bit constant. */
static int parse_mov(const ZydisDecodedInstruction *in, struct parsed *p)
{
	unsigned reg;

	if (in->opcode_map != ZYDIS_OPCODE_MAP_DEFAULT)
		return -EOPNOTSUPP;
	if ((in->opcode & 0xf0) == 0xb0)
		reg = in->opcode & 7u;
	else if ((in->opcode & 0xfe) == 0xc6 && in->raw.modrm.mod == 3)
		reg = in->raw.modrm.rm;
	else
		return -EOPNOTSUPP;
	p->op = OP_MOV;
	p->width = in->operand_width;
	p->value = in->raw.imm[0].value.u;
	if (in->raw.imm[0].size == 32 && p->width == 64)
		p->value = (uint64_t)(int64_t)(int32_t)(uint32_t)p->value;
	p->high_byte = p->width == 8 && reg >= 4 && !(in->attributes & ZYDIS_ATTRIB_HAS_REX);
	p->reg = (uint8_t)(p->high_byte ? reg - 4 : reg | (unsigned)in->raw.rex.B << 3);
	return 0;
}

/* arch_x86_64.decode() has already refused encodings on which vendors disagree. */
static int parse(const uint8_t *code, size_t len, struct parsed *p)
{
	ZydisDecodedInstruction in;
	ZydisDecoder decoder;
	struct arch_insn insn;

	if (arch_x86_64.decode(code, len, 0, &insn) < 0 ||
	    ZYAN_FAILED(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)) ||
	    ZYAN_FAILED(ZydisDecoderDecodeInstruction(&decoder, NULL, code, insn.len, &in)))
		return -EOPNOTSUPP;
	*p = (struct parsed){ .op = OP_NOP, .len = insn.len };
	if (insn.nop)
		return 0;
	if (in.raw.imm[0].is_relative)
		return parse_branch(&in, p);
	if (in.mnemonic == ZYDIS_MNEMONIC_RET)
		return parse_return(&in, p);
	return in.mnemonic == ZYDIS_MNEMONIC_MOV ? parse_mov(&in, p) : -EOPNOTSUPP;
}

static bool condition_holds(uint8_t condition, uint64_t flags)
{
	bool sf = flags & FLAG_SF, of = flags & FLAG_OF, zf = flags & FLAG_ZF;
	bool holds[8] = {
		of,			 /* O */
		(flags & FLAG_CF) != 0,	 /* B */
		zf,			 /* E */
		zf || (flags & FLAG_CF), /* BE */
		sf,			 /* S */
		(flags & FLAG_PF) != 0,	 /* P */
		sf != of,		 /* L */
		zf || sf != of,		 /* LE */
	};

	return holds[condition >> 1 & 7] != (condition & 1);
}

static bool canonical(uint64_t address, const struct vcpu_regs *regs)
{
	unsigned unused = regs->cr4 & CR4_LA57 ? 7 : 16; /* 57 or 48 bits count */

	return (uint64_t)((int64_t)(address << unused) >> unused) == address;
}

static int faults(uint8_t vector, struct arch_fault *fault)
{
	*fault = (struct arch_fault){ .vector = vector, .has_error_code = true };
	return -EFAULT;
}

/* A stack word that is not canonical is #SS(0), a target that is not is #GP(0) (SDM vol. 2, CALL, JMP, RET). */
static bool stack_word_canonical(uint64_t at, const struct vcpu_regs *regs)
{
	return canonical(at, regs) && canonical(at + 7, regs);
}

static int do_call(const struct parsed *p, struct vcpu_regs *regs, struct arch_access *memory, struct arch_fault *fault)
{
	uint64_t back = regs->rip + p->len, sp = regs->gpr[VCPU_RSP] - 8;

	if (!canonical(back + p->value, regs))
		return faults(VECTOR_GP, fault);
	if (!stack_word_canonical(sp, regs))
		return faults(VECTOR_SS, fault);
	int r = memory->write(memory, sp, &back, sizeof(back), fault);
	if (r < 0)
		return r;
	regs->gpr[VCPU_RSP] = sp;
	regs->rip = back + p->value;
	return 0;
}

static int do_return(const struct parsed *p, struct vcpu_regs *regs, struct arch_access *memory,
		     struct arch_fault *fault)
{
	uint64_t sp = regs->gpr[VCPU_RSP], to;

	if (!stack_word_canonical(sp, regs))
		return faults(VECTOR_SS, fault);
	int r = memory->read(memory, sp, &to, sizeof(to), fault);
	if (r < 0)
		return r;
	if (!canonical(to, regs))
		return faults(VECTOR_GP, fault);
	regs->gpr[VCPU_RSP] = sp + 8 + p->value;
	regs->rip = to;
	return 0;
}

/* A 32-bit write clears the upper half, narrower ones keep what is around them. */
static void do_mov(const struct parsed *p, struct vcpu_regs *regs)
{
	unsigned shift = p->high_byte ? 8 : 0;
	uint64_t mask = p->width >= 32 ? UINT64_MAX : ((UINT64_C(1) << p->width) - 1) << shift;
	uint64_t value = p->width == 32 ? p->value & UINT32_MAX : p->value << shift;

	regs->gpr[p->reg] = (regs->gpr[p->reg] & ~mask) | (value & mask);
	regs->rip += p->len;
}

static int do_jump(const struct parsed *p, struct vcpu_regs *regs, struct arch_fault *fault)
{
	uint64_t next = regs->rip + p->len;

	if (p->op == OP_JUMP || (p->op == OP_BRANCH && condition_holds(p->condition, regs->rflags)))
		next += p->value;
	if (!canonical(next, regs))
		return faults(VECTOR_GP, fault);
	regs->rip = next;
	return 0;
}

static int do_op(const struct parsed *p, struct vcpu_regs *regs, struct arch_access *memory, struct arch_fault *fault)
{
	switch (p->op) {
	case OP_CALL:
		return do_call(p, regs, memory, fault);
	case OP_RETURN:
		return do_return(p, regs, memory, fault);
	case OP_MOV:
		do_mov(p, regs);
		return 0;
	default:
		return do_jump(p, regs, fault);
	}
}

bool x86_emulates(const uint8_t *code, size_t len)
{
	struct parsed p;

	return parse(code, len, &p) == 0;
}

/* An instruction that ended clears RF (SDM vol. 3, 17.3.1.1). */
int x86_emulate(const uint8_t *code, size_t len, struct vcpu_regs *regs, struct arch_access *memory,
		struct arch_fault *fault)
{
	struct parsed p;
	int r = parse(code, len, &p);

	if (r < 0 || (regs->rflags & FLAG_TF))
		return -EOPNOTSUPP;
	if ((p.op == OP_CALL || p.op == OP_RETURN) && (regs->cr4 & CR4_CET))
		return -EOPNOTSUPP;
	r = do_op(&p, regs, memory, fault);
	if (r == 0)
		regs->rflags &= ~FLAG_RF;
	return r;
}
