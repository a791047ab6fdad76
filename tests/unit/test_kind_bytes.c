// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The kinds that change code where it is, bytes and nop, and what the guest's own tables forbid any kind, against a small
 * made-up kernel (kind_guest.h).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/kind_guest.h"

static struct patchfile_site bytes_site(const char *at, const char *old_hex, const char *new_hex)
{
	struct patchfile_site s = site_of(PATCH_KIND_BYTES, at);

	s.old_len = (uint8_t)hex_decode(old_hex, s.old_bytes, sizeof(s.old_bytes));
	s.new_len = (uint8_t)hex_decode(new_hex, s.new_bytes, sizeof(s.new_bytes));
	return s;
}

static void bytes(void **state)
{
	struct patchfile_site s = bytes_site("padded", PAD, "e900000000");
	struct poke_plan *p = NULL;
	struct err e = { 0 };

	(void)state;
	struct plan_want w = expands(&s, TEXT + 0x100, 5, "e900000000");
	assert_true(w.has_expected);
	plan_free(plans(&w));

	s = bytes_site("padded+0x6", "4889e5 53", "4889e5 90");
	w = expands(&s, TEXT + 0x106, 4, "4889e5 90");
	plan_free(plans(&w));

	s = bytes_site("edge+0xa", "48c7c302000000", "48c7c303000000");
	w = expands(&s, TEXT + 0xffa, 7, "48c7c303000000");
	assert_int_equal(w.split, 6);
	assert_true(w.gpa_rest == 0x1000000); /* page 1 lies where page 0 would */
	plan_free(plans(&w));

	/* A wrong guess at the old bytes is told as that, even where no instruction begins. */
	s = bytes_site("padded+0x7", "1234", "9090");
	w = expands(&s, TEXT + 0x107, 2, "9090");
	assert_int_equal(plan_build(&arch_x86_64, 0, &w, 1, &p, &e), -ESTALE);
	assert_string_equal(e.rule, "old-bytes");

	/* A loop may go on to the start of a new instruction, not into one. */
	s = bytes_site("loops+0x5", "55 ffc0 4889c1", "90 ffc1 4889c8");
	expands(&s, TEXT + 0x305, 6, "90 ffc1 4889c8");
	s = bytes_site("loops+0x5", "55 ffc0 4889c1", "b801000000 90");
	refuses(&s, EBUSY, "jump-into", "loops+0xd");
	s = bytes_site("loops+0x5", "55 ffc0 4889c1 ffc9 75f7", "48b80100000000000000"); /* the loop goes as a whole */
	expands(&s, TEXT + 0x305, 10, "48b80100000000000000");

	/* int3 after a return is padding, not a kprobe. */
	s = bytes_site("sls+0xb", "4889e5", "4889c5");
	expands(&s, TEXT + 0x4cb, 3, "4889c5");
}

static void bytes_refusals(void **state)
{
	struct patchfile_site s = bytes_site("padded+0x7", "89e5", "9090");
	struct kind_context ctx = { .arch = &arch_x86_64, .guest = &g };
	struct plan_want w;
	struct err e = { 0 };

	(void)state;
	refuses(&s, EINVAL, "mid-instruction", "middle");
	s = bytes_site("probed+0x9", "53", "90"); /* behind the kprobe nothing is sure */
	refuses(&s, EBUSY, "kprobe", "probed+0x6");
	s = bytes_site("broken+0x8", "4889e5", "4889c5");
	refuses(&s, EILSEQ, "decode", "broken+0x6");
	s = bytes_site("padded", PAD, "90");
	assert_int_equal(expand_one(&ctx, &s, &w, &e), -EINVAL);
	s = bytes_site("after_huge+0x5", "31c0", "31db");
	expands(&s, TEXT + 0x11205, 2, "31db");
	g.fail_reads = true;
	assert_int_equal(expand_one(&ctx, &s, &w, &e), -EFAULT);
}

static void nops(void **state)
{
	struct patchfile_site s = site_of(PATCH_KIND_NOP, "calls_first");

	(void)state;
	struct plan_want w = expands(&s, TEXT + 0x280, 5, PAD);
	assert_false(w.has_expected);
	s.old_len = 5;
	memcpy(s.old_bytes, "\xe8\x7b\xfe\xff\xff", 5);
	w = expands(&s, TEXT + 0x280, 5, PAD);
	assert_true(w.has_expected);
	plan_free(plans(&w));
	s = site_of(PATCH_KIND_NOP, "has_cold+0xe");
	expands(&s, TEXT + 0x3ce, 6, "660f1f440000");
}

static void nop_refusals(void **state)
{
	struct patchfile_site s = site_of(PATCH_KIND_NOP, "padded+0x7");

	(void)state;
	refuses(&s, EINVAL, "mid-instruction", "padded+0x9");
	s = site_of(PATCH_KIND_NOP, "probed+0x6");
	refuses(&s, EBUSY, "kprobe", "kprobe");
	s = site_of(PATCH_KIND_NOP, "calls_first");
	s.old_len = 1;
	s.old_bytes[0] = 0xe8;
	refuses(&s, EINVAL, "mid-instruction", "5 bytes long");
}

/* Places the guest jumps to, or rewrites, by its own tables. */
static void guest_tables(void **state)
{
	struct patchfile_site s = site_of(PATCH_KIND_RETURN, "key_site");

	(void)state;
	expands(&s, TEXT + 0x405, 8, "b800000000 c3 6690"); /* no tables in this kernel */
	table("__start___jump_table", "__stop___jump_table", 0x100, 32);
	table("__start_static_call_sites", "__stop_static_call_sites", 0x200, 16);
	table("__start___ex_table", "__stop___ex_table", 0x300, 24);
	for (size_t i = 0; i < 0x400; i += 4)
		table_entry(i, TEXT);
	expands(&s, TEXT + 0x405, 8, "b800000000 c3 6690");
	table_entry(0x110, TEXT + 0x405);
	refuses(&s, EBUSY, "self-patched", "static branch");
	table_entry(0x110, TEXT);
	table_entry(0x208, TEXT + 0x40a);
	refuses(&s, EBUSY, "self-patched", "static call");

	s = site_of(PATCH_KIND_RETURN, "fixup");
	expands(&s, TEXT + 0x445, 7, "b800000000 c3 90");
	table_entry(0x30c + 4, TEXT + 0x446);
	refuses(&s, EBUSY, "jump-into", "exception fixup");
	table_entry(0x30c + 4, TEXT + 0x445); /* to the start: gets the patch, as callers do */
	expands(&s, TEXT + 0x445, 7, "b800000000 c3 90");
	table_entry(0x100 + 4, TEXT + 0x449);
	refuses(&s, EBUSY, "jump-into", "static branch");
}

static void hostile_tables(void **state)
{
	struct patchfile_site s = site_of(PATCH_KIND_RETURN, "padded");

	(void)state;
	table("__start___jump_table", "__stop___jump_table", 0x100, 1u << 28);
	refuses(&s, EBADMSG, "self-patched", "cannot be trusted");
	g.n_symbols -= 2;
	table("__start___jump_table", "__stop___jump_table", 0x100, (size_t)-0x100);
	refuses(&s, EBADMSG, "self-patched", "cannot be trusted");
}

/* Any bytes as a function, any place in it: an answer, and a sound one. */
static void random_functions(void **state)
{
	struct kind_context ctx = { .arch = &arch_x86_64, .guest = &g };
	uint64_t seed = 12345;
	unsigned expanded = 0, refused = 0;

	(void)state;
	for (int round = 0; round < 30000; round++) {
		static const enum patch_kind kinds[] = { PATCH_KIND_BYTES, PATCH_KIND_RETURN, PATCH_KIND_JUMP,
							 PATCH_KIND_NOP };
		struct patchfile_site s = { .kind = kinds[round % 4], .line = 3, .value = round - 15000 };
		struct plan_want w = { 0 };
		struct err e = { 0 };

		for (int i = 0; i < 64; i++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			g.text[0x100 + i] = (uint8_t)(seed >> 56);
		}
		s.at.offset = TEXT + 0x100 + (round % 3 ? 0 : (seed >> 40) % 60);
		s.to.offset = TEXT + 0x180;
		if (s.kind == PATCH_KIND_BYTES) {
			s.old_len = s.new_len = (uint8_t)(1 + (seed >> 33) % 12);
			memcpy(s.old_bytes, g.text + (s.at.offset - TEXT), s.old_len);
			memset(s.new_bytes, 0x90, s.new_len);
		}
		if (expand_one(&ctx, &s, &w, &e) < 0) {
			assert_true(e.kind != ERR_NONE && e.text[0] && w.len == 0);
			refused++;
			continue;
		}
		assert_true(w.len >= 1 && w.len <= POKE_SITE_LEN_MAX && w.gva >= TEXT + 0x100 &&
			    w.gva + w.len <= TEXT + 0x140 + 16);
		expanded++;
	}
	assert_true(expanded > 500 && refused > 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(bytes, kind_guest_setup),
		cmocka_unit_test_setup(bytes_refusals, kind_guest_setup),
		cmocka_unit_test_setup(nops, kind_guest_setup),
		cmocka_unit_test_setup(nop_refusals, kind_guest_setup),
		cmocka_unit_test_setup(guest_tables, kind_guest_setup),
		cmocka_unit_test_setup(hostile_tables, kind_guest_setup),
		cmocka_unit_test_setup(random_functions, kind_guest_setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
