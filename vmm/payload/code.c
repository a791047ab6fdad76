// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Is this machine code fit for a kernel? A compiler that was not told makes code for user
 * mode: it keeps variables below the stack pointer, where interrupts write (the red zone),
 * reads its stack guard through %fs, which is the user's there, and moves structures
 * through vector registers, which hold the user's values. Each corrupts the guest without
 * a word, so what can be seen of it in the text is refused. What is decoded is a
 * straight sweep: compilers put no data into text. Must never pass what does not decode.
 */
#include <Zydis/Zydis.h>
#include <errno.h>
#include <stdlib.h>

#include "vmm/payload/private.h"

#define FLAGS "compile with the kernel's flags, at least -mno-red-zone -mgeneral-regs-only -fno-stack-protector"

struct sweep {
	ZydisDecoder decoder;
	ZydisDecodedInstruction in;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	bool framed;	/* %rbp is the frame's */
	uint64_t depth; /* bytes reserved below the frame; UINT64_MAX: who knows */
};

static bool sweep_init(struct sweep *s)
{
	*s = (struct sweep){ 0 };
	return ZYAN_SUCCESS(ZydisDecoderInit(&s->decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64));
}

static bool sweep_decode(struct sweep *s, const uint8_t *code, size_t len)
{
	return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&s->decoder, code, len, &s->in, s->op));
}

static bool is_vector(ZydisRegister reg)
{
	switch (ZydisRegisterGetClass(reg)) {
	case ZYDIS_REGCLASS_X87:
	case ZYDIS_REGCLASS_MMX:
	case ZYDIS_REGCLASS_XMM:
	case ZYDIS_REGCLASS_YMM:
	case ZYDIS_REGCLASS_ZMM:
	case ZYDIS_REGCLASS_TMM:
	case ZYDIS_REGCLASS_MASK:
		return true;
	default:
		return false;
	}
}

static bool is_reg(const ZydisDecodedOperand *op, ZydisRegister reg)
{
	return op->type == ZYDIS_OPERAND_TYPE_REGISTER && op->reg.value == reg;
}

/* What the frame has room for: functions without a frame pointer use %rsp, which is looked at by itself. */
static void frame_follow(struct sweep *s)
{
	const ZydisDecodedOperand *to = &s->op[0], *from = &s->op[1];

	if (s->in.mnemonic == ZYDIS_MNEMONIC_MOV && is_reg(to, ZYDIS_REGISTER_RBP) && is_reg(from, ZYDIS_REGISTER_RSP)) {
		s->framed = true;
		s->depth = 0;
	} else if (s->in.mnemonic == ZYDIS_MNEMONIC_PUSH && s->depth < UINT64_MAX - 8) {
		s->depth += 8;
	} else if (s->in.mnemonic == ZYDIS_MNEMONIC_SUB && is_reg(to, ZYDIS_REGISTER_RSP) && s->depth < INT64_MAX &&
		   from->type == ZYDIS_OPERAND_TYPE_IMMEDIATE && from->imm.value.s > 0) {
		s->depth += from->imm.value.u;
	} else if (s->in.operand_count_visible && is_reg(to, ZYDIS_REGISTER_RSP) &&
		   (to->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) && s->in.mnemonic != ZYDIS_MNEMONIC_ADD &&
		   s->in.mnemonic != ZYDIS_MNEMONIC_POP) {
		s->depth = UINT64_MAX;
	}
}

static bool below_stack(const struct sweep *s, const ZydisDecodedOperand *op)
{
	if (op->type != ZYDIS_OPERAND_TYPE_MEMORY || op->mem.type != ZYDIS_MEMOP_TYPE_MEM || op->mem.disp.value >= 0 ||
	    op->visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
		return false;
	if (op->mem.base == ZYDIS_REGISTER_RSP)
		return true;
	return s->framed && op->mem.base == ZYDIS_REGISTER_RBP && op->mem.index == ZYDIS_REGISTER_NONE &&
	       0 - (uint64_t)op->mem.disp.value > s->depth;
}

/* NULL: nothing against it. */
static const char *unfit(const struct sweep *s)
{
	for (size_t i = 0; i < s->in.operand_count; i++) {
		const ZydisDecodedOperand *op = &s->op[i];

		if (op->type == ZYDIS_OPERAND_TYPE_REGISTER && is_vector(op->reg.value))
			return "it uses vector or floating-point registers, which hold the user's values in a kernel";
		if (op->type == ZYDIS_OPERAND_TYPE_MEMORY && op->mem.segment == ZYDIS_REGISTER_FS)
			return "it uses %fs (a user-mode stack protector?), which is the user's in a kernel";
		if (below_stack(s, op))
			return "it keeps data below the stack pointer, where interrupts write";
	}
	return NULL;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Offsets at which functions of the section begin, ascending. NULL: out of memory. */
static uint64_t *starts_of(const struct payload *p, const struct payload_section *s, size_t *ret_n)
{
	uint64_t *starts = calloc(p->n_symbols, sizeof(*starts));
	size_t n = 0;

	for (size_t i = 1; starts && i < p->n_symbols; i++)
		if (ELF64_ST_TYPE(p->symbols[i].st_info) == STT_FUNC && payload_symbol_section(p, &p->symbols[i]) == s)
			starts[n++] = p->symbols[i].st_value;
	if (n)
		qsort(starts, n, sizeof(*starts), by_value);
	*ret_n = n;
	return starts;
}

static int refuse(const struct payload *p, const struct payload_section *s, size_t at, const char *why, struct err *e)
{
	return err_set(e, ERR_REFUSED, EOPNOTSUPP, "payload-code", "%s: %.64s+0x%zx: %s; " FLAGS, p->filename, s->name,
		       at, why);
}

int payload_check_code(const struct payload *p, const struct payload_section *s, struct err *e)
{
	size_t n = 0, next = 0;
	_cleanup_free_ uint64_t *starts = starts_of(p, s, &n);
	struct sweep sweep;

	if (!starts || !sweep_init(&sweep))
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	for (size_t at = 0; s->bytes && at < s->size; at += sweep.in.length) {
		for (; next < n && starts[next] <= at; next++)
			sweep.framed = false;
		if (!sweep_decode(&sweep, s->bytes + at, s->size - at))
			return refuse(p, s, at, "these bytes are not instructions", e);
		const char *why = sweep.in.mnemonic == ZYDIS_MNEMONIC_LEA ? NULL : unfit(&sweep);
		if (why)
			return refuse(p, s, at, why, e);
		frame_follow(&sweep);
	}
	return 0;
}

bool payload_code_shows(const uint8_t *text, size_t len)
{
	struct sweep s;
	uint64_t target;

	if (!sweep_init(&s))
		return true;
	for (size_t at = 0; at < len; at += s.in.length) {
		if (!sweep_decode(&s, text + at, len - at))
			return true;
		if (s.in.mnemonic == ZYDIS_MNEMONIC_LEA && s.op[1].mem.base == ZYDIS_REGISTER_RIP &&
		    ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(&s.in, &s.op[1], at, &target)) && target < len)
			return true;
	}
	return false;
}
