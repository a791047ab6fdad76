// SPDX-License-Identifier: GPL-2.0-or-later
/* x86-64: what we encode decodes to what was meant; decoding never reads past its bytes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "protocol/util.h"
#include "vmm/arch/arch.h"

static const struct arch_ops *const arch = &arch_x86_64;
static const uint64_t here = 0xffffffff81234560u;

static uint64_t next_random(void)
{
	static uint64_t seed = 88172645463325252u;

	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static struct arch_insn decode(const char *hex)
{
	uint8_t code[32];
	struct arch_insn insn = { 0 };
	ssize_t n = hex_decode(hex, code, sizeof(code));

	assert_true(n > 0);
	assert_int_equal(arch->decode(code, (size_t)n, here, &insn), 0);
	assert_int_equal(insn.len, n);
	return insn;
}

static void flows(void **state)
{
	static const struct {
		const char *hex;
		enum arch_flow flow;
		uint64_t target;
	} rows[] = {
		{ "90", ARCH_FLOW_NONE, 0 },
		{ "f4", ARCH_FLOW_NONE, 0 }, /* hlt: idle falls through */
		{ "e8 fb ff ff ff", ARCH_FLOW_CALL, here },
		{ "e9 00 01 00 00", ARCH_FLOW_JUMP, here + 0x105 },
		{ "eb fe", ARCH_FLOW_JUMP, here },
		{ "74 10", ARCH_FLOW_BRANCH, here + 0x12 },
		{ "0f 84 00 00 00 80", ARCH_FLOW_BRANCH, here + 6 - 0x80000000u },
		{ "e3 05", ARCH_FLOW_BRANCH, here + 7 },	   /* jrcxz */
		{ "2e e9 00 00 00 00", ARCH_FLOW_JUMP, here + 6 }, /* padded jump */
		{ "ff e0", ARCH_FLOW_INDIRECT, 0 },
		{ "ff 24 c5 00 00 00 82", ARCH_FLOW_INDIRECT, 0 }, /* jump table */
		{ "ff d0", ARCH_FLOW_ICALL, 0 },
		{ "ff 15 00 00 00 00", ARCH_FLOW_ICALL, 0 },
		{ "c3", ARCH_FLOW_RETURN, 0 },
		{ "f3 c3", ARCH_FLOW_RETURN, 0 },
		{ "c2 08 00", ARCH_FLOW_RETURN, 0 },
		{ "48 cf", ARCH_FLOW_RETURN, 0 },    /* iretq */
		{ "48 0f 07", ARCH_FLOW_RETURN, 0 }, /* sysretq */
		{ "cc", ARCH_FLOW_TRAP, 0 },
		{ "cd 80", ARCH_FLOW_TRAP, 0 },
		{ "f1", ARCH_FLOW_TRAP, 0 },
		{ "0f 0b", ARCH_FLOW_TRAP, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct arch_insn insn = decode(rows[i].hex);

		assert_int_equal(insn.flow, rows[i].flow);
		assert_int_equal(insn.target, rows[i].target);
		assert_int_equal(insn.trap, strcmp(rows[i].hex, "cc") == 0);
	}
}

static void properties(void **state)
{
	(void)state;
	assert_true(decode("48 8b 05 10 00 00 00").pc_relative_data);
	assert_true(decode("ff 25 10 00 00 00").pc_relative_data);
	assert_false(decode("48 8b 04 25 10 00 00 00").pc_relative_data); /* absolute */
	assert_false(decode("e9 00 01 00 00").pc_relative_data);
	assert_true(decode("66 66 66 66 90").nop);
	assert_true(decode("0f 1f 44 00 00").nop);
	assert_false(decode("f3 90").nop); /* pause */
	assert_false(decode("49 90").nop); /* xchg %rax,%r8 */
}

static void refused(void **state)
{
	static const char *const rows[] = { "e8 00 00",
					    "0f",
					    "48",
					    "06",
					    "66 e9 00 00 00 00",
					    "66 0f 84 00 00 00 00",
					    "66 66 66 66 66 66 66 66 66 66 66 66 66 66 66 90" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint8_t code[32];
		struct arch_insn insn;
		ssize_t n = hex_decode(rows[i], code, sizeof(code));

		assert_true(n > 0);
		assert_int_equal(arch->decode(code, (size_t)n, here, &insn), -EILSEQ);
	}
	assert_int_equal(arch->decode((const uint8_t *)"", 0, here, &(struct arch_insn){ 0 }), -EILSEQ);
}

static void nops(void **state)
{
	uint8_t out[256];

	(void)state;
	for (size_t len = 0; len <= 200; len++) {
		memset(out, 0xaa, sizeof(out));
		assert_int_equal(arch->encode_nop(out, len), len);
		assert_int_equal(out[len], 0xaa);
		size_t count = 0;
		for (size_t at = 0; at < len; count++) {
			struct arch_insn insn;
			assert_int_equal(arch->decode(out + at, len - at, here + at, &insn), 0);
			assert_true(insn.nop);
			assert_true(insn.len <= 8);
			at += insn.len;
		}
		assert_int_equal(count, (len + 7) / 8);
	}
}

static void jumps_and_calls(void **state)
{
	static const int64_t distances[] = { 0, 5, -5, 127, -128, 4096, INT32_MAX, INT32_MIN, 0x12345678 };
	uint8_t out[5];
	struct arch_insn insn;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(distances); i++) {
		uint64_t to = here + 5 + (uint64_t)distances[i];

		assert_int_equal(arch->encode_jump(out, sizeof(out), here, to), 5);
		assert_int_equal(arch->decode(out, 5, here, &insn), 0);
		assert_int_equal(insn.flow, ARCH_FLOW_JUMP);
		assert_true(insn.target == to);
		assert_int_equal(arch->encode_call(out, sizeof(out), here, to), 5);
		assert_int_equal(arch->decode(out, 5, here, &insn), 0);
		assert_int_equal(insn.flow, ARCH_FLOW_CALL);
		assert_true(insn.target == to);
	}
	assert_int_equal(arch->encode_jump(out, 5, here, here + 5 + INT32_MAX + UINT64_C(1)), -ERANGE);
	assert_int_equal(arch->encode_jump(out, 5, here, here + 5 - UINT64_C(0x80000001)), -ERANGE);
	assert_int_equal(arch->encode_call(out, 5, here, here + (UINT64_C(1) << 40)), -ERANGE);
	assert_int_equal(arch->encode_jump(out, 4, here, here), -ENOSPC);
}

/* The machine itself says what the bytes do. */
/* The kernel's jump labels come in two lengths. */
static void branches_of_a_length(void **state)
{
	struct arch_insn insn;
	uint8_t out[8];

	(void)state;
	for (int distance = -140; distance <= 140; distance++) {
		uint64_t to = here + (uint64_t)(int64_t)distance;
		ssize_t n = arch->encode_branch(out, 2, here, to);

		assert_int_equal(n, distance < -126 || distance > 129 ? -ERANGE : 2);
		if (n == 2)
			assert_true(arch->decode(out, 2, here, &insn) == 0 && insn.flow == ARCH_FLOW_JUMP && insn.target == to);
		assert_int_equal(arch->encode_branch(out, 5, here, to), 5);
		assert_true(arch->decode(out, 5, here, &insn) == 0 && insn.target == to && insn.len == 5);
	}
	assert_int_equal(arch->encode_branch(out, 3, here, here), -EINVAL);
}

static void returns_run(void **state)
{
	static const int64_t values[] = { 0, 1, -1, 4242, -22, INT32_MAX, INT32_MIN, UINT32_MAX, 0x80000000 };
	uint8_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_ptr_not_equal(page, MAP_FAILED);
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		long (*function)(void);
		ssize_t n = arch->encode_return(page, 4096, values[i], 0, 0);

		assert_int_equal(n, values[i] < 0 ? 8 : 6);
		memcpy(&function, &page, sizeof(function));
		assert_true(function() == values[i]);
	}
	munmap(page, 4096);
	uint8_t out[16];
	assert_int_equal(arch->encode_return(out, 8, INT64_C(0x100000000), 0, 0), -ERANGE);
	assert_int_equal(arch->encode_return(out, 8, INT64_C(-0x80000001), 0, 0), -ERANGE);
	assert_int_equal(arch->encode_return(out, 5, 1, 0, 0), -ENOSPC);
	assert_int_equal(arch->encode_return(out, 7, -1, 0, 0), -ENOSPC);
	assert_int_equal(arch->encode_return(out, 9, 1, 0x1000, 0x2000), -ENOSPC);
	assert_int_equal(arch->encode_return(out, sizeof(out), 1, 0x1000, 0x100000000), -ERANGE);
	assert_int_equal(arch->encode_return(out, sizeof(out), 1, 0x1000, 0x2000), 10);
	assert_memory_equal(out, "\xb8\x01\0\0\0\xe9\xf6\x0f\0\0", 10);
}

static void entries(void **state)
{
	static const uint8_t endbr[] = { 0xf3, 0x0f, 0x1e, 0xfa, 0x0f, 0x1f, 0x44, 0x00, 0x00 };
	static const uint8_t call[] = { 0xe8, 1, 2, 3, 4 }, push[] = { 0x55, 0x48, 0x89, 0xe5, 0x53 };
	static const uint8_t sealed[] = { 0x66, 0x0f, 0x1f, 0x00 }, sealed_later[] = { 0x0f, 0x1f, 0x40, 0xd6 };
	static const uint8_t old_nop[] = { 0x66, 0x66, 0x66, 0x66, 0x90 };

	(void)state;
	assert_int_equal(arch->entry_skip(endbr, sizeof(endbr)), 4);
	assert_int_equal(arch->entry_skip(endbr, 3), 0);
	assert_int_equal(arch->entry_skip(sealed, sizeof(sealed)), 4);
	assert_int_equal(arch->entry_skip(sealed_later, sizeof(sealed_later)), 4);
	assert_int_equal(arch->entry_skip(push, sizeof(push)), 0);
	assert_int_equal(arch->trace_pad(endbr + 4, 5), 5);
	assert_int_equal(arch->trace_pad(endbr + 4, 4), 0);
	assert_int_equal(arch->trace_pad(old_nop, 5), 5);
	assert_int_equal(arch->trace_pad(call, 5), -EBUSY);
	assert_int_equal(arch->trace_pad(push, 5), 0);
}

static void boundaries(void **state)
{
	/* push %rbp; mov %rsp,%rbp; nopl 0(%rax,%rax,1); ret */
	static const uint8_t code[] = { 0x55, 0x48, 0x89, 0xe5, 0x0f, 0x1f, 0x44, 0x00, 0x00, 0xc3 };
	uint64_t mask = 0;
	size_t end = 0, bad = 99;

	(void)state;
	assert_int_equal(arch_boundaries(arch, code, 10, here, 10, &mask, &end, &bad), 0);
	assert_true(mask == (1u << 0 | 1u << 1 | 1u << 4 | 1u << 9));
	assert_int_equal(end, 10);
	assert_int_equal(arch_boundaries(arch, code, 10, here, 5, &mask, &end, &bad), 0);
	assert_int_equal(end, 9); /* cut */
	assert_int_equal(arch_boundaries(arch, code, 6, here, 6, &mask, &end, &bad), -EILSEQ);
	assert_int_equal(bad, 4);
	assert_int_equal(arch_boundaries(arch, code, 10, here, 0, &mask, &end, &bad), -EINVAL);
	assert_int_equal(arch_boundaries(arch, code, 10, here, 65, &mask, &end, &bad), -EINVAL);
	assert_int_equal(arch_boundaries(arch, code, 4, here, 5, &mask, &end, &bad), -EILSEQ);
	assert_int_equal(bad, 4);
}

/* Bytes end at an unmapped page: reading one more ends the test. */
static void never_reads_past_the_end(void **state)
{
	uint8_t *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned decoded = 0;

	(void)state;
	assert_ptr_not_equal(pages, MAP_FAILED);
	assert_int_equal(mprotect(pages + 4096, 4096, PROT_NONE), 0);
	for (int round = 0; round < 200000; round++) {
		size_t len = 1 + next_random() % 80, end = 0, bad = 0;
		uint8_t *code = pages + 4096 - len;
		uint64_t mask = 0;
		struct arch_insn insn;

		for (size_t i = 0; i < len; i++)
			code[i] = (uint8_t)next_random();
		if (arch->decode(code, len, here, &insn) == 0) {
			decoded++;
			assert_in_range(insn.len, 1, len < ARCH_INSN_MAX ? len : ARCH_INSN_MAX);
		}
		size_t need = 1 + next_random() % 64;
		if (arch_boundaries(arch, code, len, here, need, &mask, &end, &bad) == 0) {
			assert_true((mask & 1) && end >= need && end <= len);
			assert_true(need == 64 || mask >> need == 0);
		} else {
			assert_true(bad < need && bad <= len);
		}
		arch->trace_pad(code, len);
		arch->entry_skip(code, len);
	}
	assert_true(decoded > 50000);
	munmap(pages, 8192);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flows),
		cmocka_unit_test(properties),
		cmocka_unit_test(refused),
		cmocka_unit_test(nops),
		cmocka_unit_test(jumps_and_calls),
		cmocka_unit_test(branches_of_a_length),
		cmocka_unit_test(returns_run),
		cmocka_unit_test(entries),
		cmocka_unit_test(boundaries),
		cmocka_unit_test(never_reads_past_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
