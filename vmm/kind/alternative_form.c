// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The forms of an alternative: the compiler's own code, and each replacement as it reads
 * when the kernel has put it there. Like the kernel (apply_alternatives() in
 * arch/x86/kernel/alternative.c): branches out of the replacement lead where they led,
 * what is left of the place is NOPs, and single NOPs become long ones. Must never copy an
 * instruction that would do something else at the new place.
 */
#include <errno.h>
#include <string.h>

#include "vmm/kind/row.h"

#define NOP 0x90

static int form_refuse(const struct guest_alternative *a, const char *what, struct err *e)
{
	return err_set_addr(e, ERR_REFUSED, EOPNOTSUPP, "alternative", a->at, "the alternative's code %s", what);
}

/* Ends in rel32 (JMP, CALL, Jcc); the short forms reach nothing outside of a replacement. */
static int branch_move(const struct arch_insn *insn, uint64_t to, uint8_t *code)
{
	int64_t distance = (int64_t)(insn->target - (to + insn->len));
	int32_t rel = (int32_t)distance;

	if (insn->len < 5 || distance != rel)
		return -ERANGE;
	memcpy(code + insn->len - sizeof(rel), &rel, sizeof(rel));
	return 0;
}

/* One instruction of the replacement, already copied to code, which will be at `to`. */
static int insn_move(const struct kind_context *ctx, const struct guest_alternative *a, const struct arch_insn *insn,
		     uint64_t from, uint64_t to, uint8_t *code)
{
	uint8_t moved[ARCH_INSN_MAX];
	bool branch = insn->flow == ARCH_FLOW_JUMP || insn->flow == ARCH_FLOW_BRANCH || insn->flow == ARCH_FLOW_CALL;

	if (branch && insn->target - a->replacement_at <= a->replacement_len)
		return 0; /* inside, or to its end: goes along */
	if (branch)
		return branch_move(insn, to, code);
	if (!insn->pc_relative_data)
		return 0;
	ssize_t n = ctx->arch->relocate(code, insn->len, from, to, moved, sizeof(moved));
	if (n != insn->len)
		return -EOPNOTSUPP;
	memcpy(code, moved, insn->len);
	return 0;
}

static int replacement_move(const struct kind_context *ctx, const struct guest_alternative *a, uint8_t *out, struct err *e)
{
	struct arch_insn insn;

	memcpy(out, a->replacement, a->replacement_len);
	for (size_t i = 0; i < a->replacement_len; i += insn.len) {
		uint64_t from = a->replacement_at + i;

		if (ctx->arch->decode(out + i, a->replacement_len - i, from, &insn) < 0)
			return form_refuse(a, "does not decode", e);
		if (insn_move(ctx, a, &insn, from, a->at + i, out + i) < 0)
			return form_refuse(a, "cannot be moved to its place", e);
	}
	return 0;
}

/* Runs of one-byte NOPs become long ones. */
static int nops_merge(const struct kind_context *ctx, const struct guest_alternative *a, uint8_t *code, struct err *e)
{
	struct arch_insn insn;
	size_t run;

	for (size_t i = 0; i < a->len; i += run ? run : insn.len) {
		for (run = 0; i + run < a->len && code[i + run] == NOP;)
			run++;
		if (run && ctx->arch->encode_nop(code + i, run) < 0)
			return form_refuse(a, "cannot be filled up", e);
		if (!run && ctx->arch->decode(code + i, a->len - i, a->at + i, &insn) < 0)
			return form_refuse(a, "does not decode", e);
	}
	return 0;
}

int alternative_form(const struct kind_context *ctx, const struct guest_alternative *a, bool original, uint8_t *out,
		     struct err *e)
{
	int r = 0;

	if (a->len > POKE_SITE_LEN_MAX)
		return form_refuse(a, "is longer than 64 bytes", e);
	if (original) {
		memcpy(out, a->original, a->len);
	} else {
		memset(out, NOP, a->len);
		r = replacement_move(ctx, a, out, e);
	}
	return r < 0 ? r : nops_merge(ctx, a, out, e);
}

struct reader {
	const struct kind_context *ctx;
	const uint8_t *code;
	size_t at, len;
	uint64_t gva;
	struct arch_insn insn;
};

/* The next instruction that does something: 1, 0 at the end, negative when it does not decode. */
static int reader_next(struct reader *r)
{
	for (; r->at < r->len; r->at += r->insn.len) {
		int error = r->ctx->arch->decode(r->code + r->at, r->len - r->at, r->gva + r->at, &r->insn);

		if (error < 0)
			return error;
		if (!r->insn.nop)
			return 1;
	}
	return 0;
}

static bool is_direct(enum arch_flow flow)
{
	return flow == ARCH_FLOW_JUMP || flow == ARCH_FLOW_CALL || flow == ARCH_FLOW_BRANCH;
}

/* Jcc rel8 is 70+cc, Jcc rel32 is 0f 80+cc: the last opcode byte's low half is the condition. */
static unsigned condition(const struct reader *r)
{
	return r->code[r->at + (r->insn.len >= 6 ? 1 : 0)] & 0xfu;
}

static bool insn_same(const struct reader *a, const struct reader *b)
{
	if (a->insn.flow != b->insn.flow)
		return false;
	if (is_direct(a->insn.flow))
		return a->insn.target == b->insn.target &&
		       (a->insn.flow != ARCH_FLOW_BRANCH || condition(a) == condition(b));
	if (a->insn.pc_relative_data && a->at != b->at)
		return false;
	return a->insn.len == b->insn.len && memcmp(a->code + a->at, b->code + b->at, a->insn.len) == 0;
}

/* Nothing behind a jump is executed: the kernel fills it with what it likes. */
bool alternative_same(const struct kind_context *ctx, const uint8_t *x, const uint8_t *y, size_t len, uint64_t gva)
{
	struct reader a = { .ctx = ctx, .code = x, .len = len, .gva = gva };
	struct reader b = { .ctx = ctx, .code = y, .len = len, .gva = gva };

	for (;;) {
		int more_a = reader_next(&a), more_b = reader_next(&b);

		if (more_a <= 0 || more_b <= 0)
			return more_a == 0 && more_b == 0;
		if (!insn_same(&a, &b))
			return false;
		if (a.insn.flow == ARCH_FLOW_JUMP)
			return true;
		a.at += a.insn.len;
		b.at += b.insn.len;
	}
}
