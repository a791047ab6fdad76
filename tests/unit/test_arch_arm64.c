// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * arm64: words as GNU as assembles them, the flow and target of each; what is encoded decodes
 * to what was meant; pads and landing pads of a kernel; ranges that are not whole words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "protocol/util.h"
#include "vmm/arch/arch.h"
#include "vmm/poke/plan.h"

static const struct arch_ops *const arch = &arch_arm64;
static const uint64_t here = 0xffffc55216010000;

static void words(uint8_t *out, const uint32_t *w, size_t n)
{
	for (size_t i = 0; i < 4 * n; i++)
		out[i] = (uint8_t)(w[i / 4] >> (8 * (i % 4)));
}

static struct arch_insn decode(uint32_t word)
{
	struct arch_insn insn = { 0 };
	uint8_t code[4];

	words(code, &word, 1);
	assert_int_equal(arch->decode(code, sizeof(code), here, &insn), 0);
	assert_int_equal(insn.len, 4);
	return insn;
}

static void test_flow(void **state)
{
	static const struct {
		uint32_t word;
		enum arch_flow flow;
		int64_t target; /* from here */
	} rows[] = {
		{ 0x14000000, ARCH_FLOW_JUMP, 0 }, /* b . */
		{ 0x17ffffff, ARCH_FLOW_JUMP, -4 },	    { 0x15ffffff, ARCH_FLOW_JUMP, 0x7fffffc },
		{ 0x16000000, ARCH_FLOW_JUMP, -0x8000000 }, { 0x94000002, ARCH_FLOW_CALL, 8 }, /* bl .+8 */
		{ 0x54000040, ARCH_FLOW_BRANCH, 8 },					       /* b.eq .+8 */
		{ 0x54ffffe1, ARCH_FLOW_BRANCH, -4 },					       /* b.ne .-4 */
		{ 0x54000050, ARCH_FLOW_BRANCH, 8 },					       /* bc.eq .+8 */
		{ 0xb4000060, ARCH_FLOW_BRANCH, 12 },					       /* cbz x0, .+12 */
		{ 0x35ffffc3, ARCH_FLOW_BRANCH, -8 },					       /* cbnz w3, .-8 */
		{ 0x36080041, ARCH_FLOW_BRANCH, 8 },					       /* tbz w1, #1, .+8 */
		{ 0xb7ffffe2, ARCH_FLOW_BRANCH, -4 },					       /* tbnz x2, #63, .-4 */
		{ 0xd61f0220, ARCH_FLOW_INDIRECT, 0 },					       /* br x17 */
		{ 0xd71f0a11, ARCH_FLOW_INDIRECT, 0 },					       /* braa x16, x17 */
		{ 0xd63f0100, ARCH_FLOW_ICALL, 0 },					       /* blr x8 */
		{ 0xd63f091f, ARCH_FLOW_ICALL, 0 },					       /* blraaz x8 */
		{ 0xd65f03c0, ARCH_FLOW_RETURN, 0 },					       /* ret */
		{ 0xd65f0bff, ARCH_FLOW_RETURN, 0 },					       /* retaa */
		{ 0xd69f03e0, ARCH_FLOW_RETURN, 0 },					       /* eret */
		{ 0xd4000001, ARCH_FLOW_NONE, 0 },					       /* svc #0 */
		{ 0xd4000002, ARCH_FLOW_NONE, 0 },					       /* hvc #0 */
		{ 0xd4000003, ARCH_FLOW_NONE, 0 },					       /* smc #0 */
		{ 0xd4210000, ARCH_FLOW_TRAP, 0 },					       /* brk #0x800: BUG() */
		{ 0xd4400000, ARCH_FLOW_TRAP, 0 },					       /* hlt #0 */
		{ 0x00000000, ARCH_FLOW_TRAP, 0 },					       /* udf #0 */
		{ 0xd503201f, ARCH_FLOW_NONE, 0 },					       /* nop */
		{ 0xd5033fdf, ARCH_FLOW_NONE, 0 },					       /* isb */
		{ 0xa9bf7bfd, ARCH_FLOW_NONE, 0 }, /* stp x29, x30, [sp, #-16]! */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct arch_insn insn = decode(rows[i].word);
		bool direct =
			insn.flow == ARCH_FLOW_JUMP || insn.flow == ARCH_FLOW_CALL || insn.flow == ARCH_FLOW_BRANCH;

		assert_int_equal(insn.flow, rows[i].flow);
		assert_int_equal(insn.target, direct ? here + (uint64_t)rows[i].target : 0);
		assert_int_equal(insn.nop, rows[i].word == 0xd503201f);
		assert_false(insn.trap);
	}
	assert_true(decode(0xd4200080).trap);		   /* brk #4: a kprobe */
	assert_true(decode(0x10000000).pc_relative_data);  /* adr */
	assert_true(decode(0xf0001aa0).pc_relative_data);  /* adrp */
	assert_true(decode(0x58000040).pc_relative_data);  /* ldr x0, .+8 */
	assert_false(decode(0xf9400000).pc_relative_data); /* ldr x0, [x0] */
}

static void test_no_instruction(void **state)
{
	static const uint32_t rows[] = { 0x00010000, 0x42000000, 0x86123456, 0x07ffffff, 0x03000000 };
	struct arch_insn insn;
	uint8_t code[8] = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		words(code, &rows[i], 1);
		assert_int_equal(arch->decode(code, 4, here, &insn), -EILSEQ);
	}
	words(code, &(uint32_t){ 0xd503201f }, 1);
	assert_int_equal(arch->decode(code, 3, here, &insn), -EILSEQ);
	for (unsigned i = 1; i < 4; i++)
		assert_int_equal(arch->decode(code, 4, here + i, &insn), -EILSEQ);
}

static void test_boundaries(void **state)
{
	uint8_t code[16];
	uint64_t mask;
	size_t end, bad;

	(void)state;
	words(code, (uint32_t[]){ 0x52800020, 0xd65f03c0, 0x42000000, 0 }, 4);
	assert_int_equal(arch_boundaries(arch, code, 16, here, 8, &mask, &end, &bad), 0);
	assert_int_equal(mask, 0x11);
	assert_int_equal(end, 8);
	assert_int_equal(arch_boundaries(arch, code, 16, here, 5, &mask, &end, &bad), 0);
	assert_int_equal(end, 8); /* cut */
	assert_int_equal(arch_boundaries(arch, code, 16, here, 12, &mask, &end, &bad), -EILSEQ);
	assert_int_equal(bad, 8);
}

static void test_jump(void **state)
{
	static const int64_t distances[] = { 0, 4, -4, 0x7fffffc, -0x8000000 };
	uint8_t out[8];
	struct arch_insn insn;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(distances); i++) {
		uint64_t to = here + (uint64_t)distances[i];
		assert_int_equal(arch->encode_jump(out, sizeof(out), here, to), 4);
		assert_int_equal(arch->decode(out, 4, here, &insn), 0);
		assert_int_equal(insn.flow, ARCH_FLOW_JUMP);
		assert_int_equal(insn.target, to);
		assert_int_equal(arch->encode_call(out, sizeof(out), here, to), 4);
		assert_int_equal(arch->decode(out, 4, here, &insn), 0);
		assert_int_equal(insn.flow, ARCH_FLOW_CALL);
		assert_int_equal(insn.target, to);
	}
	assert_int_equal(arch->encode_branch(out, 4, here, here + 8), 4);
	assert_memory_equal(out, ((uint8_t[]){ 2, 0, 0, 0x14 }), 4);
	assert_int_equal(arch->encode_branch(out, 5, here, here + 8), -EINVAL);
	assert_int_equal(arch->encode_jump(out, 8, here, here + 0x8000000), -ERANGE);
	assert_int_equal(arch->encode_jump(out, 8, here, here - 0x8000004), -ERANGE);
	assert_int_equal(arch->encode_jump(out, 8, here, here + 2), -ERANGE);
	assert_int_equal(arch->encode_jump(out, 3, here, here), -ENOSPC);
}

/* What X0 holds after MOVZ, MOVN and MOVK as the Arm ARM describes them; RET ends it. */
static int64_t executed(const uint8_t *code, size_t len)
{
	uint64_t x0 = 0xdeadbeefdeadbeef;

	for (size_t at = 0; at + 4 <= len; at += 4) {
		uint32_t w = (uint32_t)code[at] | (uint32_t)code[at + 1] << 8 | (uint32_t)code[at + 2] << 16 |
			     (uint32_t)code[at + 3] << 24;
		unsigned shift = 16 * (w >> 21 & 3);
		uint64_t imm = (uint64_t)(w >> 5 & 0xffff) << shift;

		if (w == 0xd65f03c0) {
			assert_int_equal(at + 4, len);
			return (int64_t)x0;
		}
		assert_int_equal(w & 0x1f800000, 0x12800000);
		assert_int_equal(w & 0x1f, 0);
		switch (w >> 29 & 3) {
		case 0:
			x0 = ~imm;
			break;
		case 2:
			x0 = imm;
			break;
		case 3:
			x0 = (x0 & ~(UINT64_C(0xffff) << shift)) | imm;
			break;
		default:
			fail();
		}
		if (!(w >> 31))
			x0 = (uint32_t)x0;
	}
	fail();
	return 0;
}

static void test_return(void **state)
{
	static const struct {
		int64_t value;
		ssize_t len;
	} rows[] = {
		{ 0, 8 },	    { 1, 8 },	       { 4242, 8 },	   { 0xffff, 8 },	{ 0x10000, 12 },
		{ 0x12345678, 12 }, { INT32_MAX, 12 }, { UINT32_MAX, 12 }, { -1, 8 },		{ -22, 8 },
		{ -65536, 8 },	    { -65537, 12 },    { INT32_MIN, 12 },  { -0x12345678, 12 },
	};
	uint8_t out[16];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		ssize_t n = arch->encode_return(out, sizeof(out), rows[i].value, here, 0);
		assert_int_equal(n, rows[i].len);
		assert_true(executed(out, (size_t)n) == rows[i].value);
		assert_int_equal(arch->encode_return(out, (size_t)n - 1, rows[i].value, here, 0), -ENOSPC);
	}
	assert_int_equal(arch->encode_return(out, 16, INT64_C(1) << 32, here, 0), -ERANGE);
	assert_int_equal(arch->encode_return(out, 16, INT32_MIN - INT64_C(1), here, 0), -ERANGE);
}

static void test_entry(void **state)
{
	enum { NOP = 0xd503201f, MOV = 0xaa1e03e9, BL = 0x94000010, BTI_C = 0xd503245f, PACIASP = 0xd503233f };
	static const struct {
		uint32_t word[3];
		size_t skip;
		ssize_t pad;
	} rows[] = {
		{ { NOP, NOP, PACIASP }, 0, 8 },
		{ { MOV, NOP, PACIASP }, 0, 8 },
		{ { MOV, BL, PACIASP }, 0, -EBUSY },
		{ { NOP, BL, PACIASP }, 0, -EBUSY },
		{ { BTI_C, MOV, NOP }, 4, 8 },
		{ { BTI_C, NOP, NOP }, 4, 8 },
		{ { 0xd50324df, MOV, BL }, 4, -EBUSY }, /* bti jc */
		{ { PACIASP, NOP, NOP }, 0, 0 },
		{ { NOP, MOV, NOP }, 0, 0 },
		{ { BL, NOP, NOP }, 0, 0 },
	};
	uint8_t code[12];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		words(code, rows[i].word, 3);
		assert_int_equal(arch->entry_skip(code, 12), rows[i].skip);
		assert_int_equal(arch->trace_pad(code + rows[i].skip, 12 - rows[i].skip), rows[i].pad);
	}
	assert_int_equal(arch->entry_skip(code, 3), 0);
	words(code, (uint32_t[]){ NOP, NOP }, 2);
	assert_int_equal(arch->trace_pad(code, 7), 0);
	assert_int_equal(arch->encode_nop(code, 12), 12);
	assert_memory_equal(code + 4, code + 8, 4);
	assert_int_equal(arch->encode_nop(code, 6), -EINVAL);
}

static int planned(const struct plan_want *w, size_t n, struct err *e)
{
	_cleanup_(plan_free) struct poke_plan *p = NULL;

	return plan_build(arch, BACKEND_STEP, w, n, &p, e);
}

/* One site that is whole and one that is not: none of them gets into a plan. */
static void test_alignment(void **state)
{
	struct plan_want w[2] = { 0 };
	struct err e = { 0 };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		w[i] = (struct plan_want){
			.gva = here + 64 * i, .len = 8, .split = 8, .present_len = 16, .new_is_code = true
		};
		words(w[i].present, (uint32_t[]){ 0xd503201f, 0xd503201f, 0xd503201f, 0xd503201f }, 4);
		words(w[i].new_bytes, (uint32_t[]){ 0x52800020, 0xd65f03c0 }, 2);
	}
	assert_int_equal(planned(w, 2, &e), 0);
	w[1].gva += 2;
	assert_int_equal(planned(w, 2, &e), -EINVAL);
	assert_string_equal(e.rule, "alignment");
	assert_int_equal(e.kind, ERR_REFUSED);
	w[1].gva -= 2;
	w[1].len = w[1].split = 6;
	assert_int_equal(planned(w, 2, &e), -EINVAL);
	assert_string_equal(e.rule, "alignment");
}

/* A kprobe at an old boundary; a BUG() is none. */
static void test_kprobe(void **state)
{
	struct plan_want w = { .gva = here, .len = 8, .split = 8, .present_len = 16, .new_is_code = true };
	struct err e = { 0 };

	(void)state;
	words(w.present, (uint32_t[]){ 0xd503201f, 0xd4200080, 0xd503201f, 0xd503201f }, 4);
	words(w.new_bytes, (uint32_t[]){ 0x52800020, 0xd65f03c0 }, 2);
	assert_int_equal(planned(&w, 1, &e), -EBUSY);
	assert_string_equal(e.rule, "kprobe");
	words(w.present + 4, (uint32_t[]){ 0xd4210000 }, 1);
	assert_int_equal(planned(&w, 1, &e), 0);
	words(w.new_bytes, (uint32_t[]){ 0xd4200080 }, 1);
	assert_int_equal(planned(&w, 1, &e), -EINVAL);
	assert_string_equal(e.rule, "trap");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flow),	   cmocka_unit_test(test_no_instruction),
		cmocka_unit_test(test_boundaries), cmocka_unit_test(test_jump),
		cmocka_unit_test(test_return),	   cmocka_unit_test(test_entry),
		cmocka_unit_test(test_alignment),  cmocka_unit_test(test_kprobe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
