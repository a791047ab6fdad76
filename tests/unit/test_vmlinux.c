// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The file of a guest's kernel: every packing, every way to be cut short or lie, both
 * formats of the list of alternatives, and the forms they become.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "tests/fake/kernel_file.h"
#include "vmm/guest/vmlinux.h"
#include "vmm/kind/row.h"

#define SLIDE UINT64_C(0x1000000)
#define TEXT  (VMLINUX_LINK_BASE + SLIDE)

/* At 0x10: call +0x20 with two replacements, at 0x20 five NOPs or an lfence, at 0x30 a paravirt call. */
static const struct kernel_file kernel = {
	.build_id = { 1, 2, 3 },
	.text = { [0x10] = 0xe8, 0x1b, 0, 0, 0, [0x20] = 0x90, 0x90, 0x90, 0x90, 0x90, [0x30] = 0xff, 0x15, 4, 0, 0, 0,
		  [0x40] = 0xeb, 0x02, 0x90, 0x90, 0x90 },
	.replacement = { 0xe8, 0xfb, 0xff, 0xff, 0xfe, /* call -0x1000000, i.e. .text+0 */
			 0xe8, 0x00, 0x00, 0x00, 0x00, 0x0f, 0xae, 0xe8, 0xc6, 0x07, 0x00, 0xe9, 0x00, 0x00, 0x00, 0xff },
	.alternative = { { 0x10, 0, 112, 0, 5, 5 }, { 0x10, 5, 297, 0, 5, 5 }, { 0x20, 10, 99, 1, 5, 3 },
			 { 0x30, 13, 276, 1, 6, 3 }, { 0x40, 16, 117, 0, 5, 5 } },
	.n_alternatives = 5,
	.entry_size = 12,
	.pv_call = { { 0x30, 80, 6 } },
	.n_pv_calls = 1,
};

static uint8_t elf[KERNEL_FILE_MAX], file[KERNEL_FILE_MAX];

static struct vmlinux *open_ok(const uint8_t *bytes, size_t len)
{
	struct vmlinux *v = NULL;
	struct err e = { 0 };

	if (vmlinux_from_memory(bytes, len, &v, &e) < 0)
		fail_msg("%s", e.text);
	return v;
}

static void open_fails(const uint8_t *bytes, size_t len, int error)
{
	struct vmlinux *v = NULL;
	struct err e = { 0 };

	assert_int_equal(vmlinux_from_memory(bytes, len, &v, &e), error);
	assert_string_equal(e.rule, "kernel-image");
	assert_null(v);
}

static void check(const struct vmlinux *v)
{
	struct vmlinux_section s;
	struct err e = { 0 };

	assert_int_equal(vmlinux_check_build_id(v, kernel.build_id, sizeof(kernel.build_id), &e), 0);
	assert_int_equal(vmlinux_check_build_id(v, kernel.build_id, 19, &e), -ESTALE);
	assert_int_equal(vmlinux_check_build_id(v, kernel.text, sizeof(kernel.build_id), &e), -ESTALE);
	assert_string_equal(e.rule, "build-id");
	assert_int_equal(vmlinux_section(v, ".text", &s), 0);
	assert_int_equal(s.len, KERNEL_TEXT_SIZE);
	assert_memory_equal(s.bytes, kernel.text, s.len);
	assert_int_equal(vmlinux_section(v, ".shstrtab", &s), -ENOENT);
	assert_memory_equal(vmlinux_at(v, VMLINUX_LINK_BASE + 0x10, 5), kernel.text + 0x10, 5);
	assert_null(vmlinux_at(v, VMLINUX_LINK_BASE + KERNEL_TEXT_SIZE - 4, 5));
	assert_null(vmlinux_at(v, UINT64_MAX - 2, 5));
}

static void test_packings(void **state)
{
	size_t len = kernel_file_elf(&kernel, elf);
	struct vmlinux *v = open_ok(elf, len);

	(void)state;
	check(v);
	vmlinux_free(v);
	for (int how = 0; how < KERNEL_PACKINGS; how++) {
		size_t n = kernel_file_pack(elf, len, (enum kernel_packing)how, file);

		v = open_ok(file, n);
		check(v);
		vmlinux_free(v);
	}
}

static void test_from_a_descriptor(void **state)
{
	size_t len = kernel_file_elf(&kernel, elf);
	int fd = memfd_create("kernel", MFD_CLOEXEC), folder = memfd_create("none", MFD_CLOEXEC);
	struct vmlinux *v = NULL;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(write(fd, elf, len), len);
	assert_int_equal(vmlinux_open(fd, &v, &e), 0);
	check(v);
	vmlinux_free(v);
	assert_int_equal(ftruncate(fd, VMLINUX_FILE_MAX + 1ll), 0);
	assert_int_equal(vmlinux_open(fd, &v, &e), -EFBIG);
	assert_int_equal(vmlinux_open(folder, &v, &e), -ENOEXEC);
	close(fd);
	close(folder);
}

/* Cut at every byte: refused, or (where only padding is lost) the same. */
static void test_cut(void **state)
{
	size_t len = kernel_file_elf(&kernel, elf);

	(void)state;
	for (int how = -1; how < KERNEL_PACKINGS; how++) {
		size_t n = how < 0 ? len : kernel_file_pack(elf, len, (enum kernel_packing)how, file);
		const uint8_t *whole = how < 0 ? elf : file;

		for (size_t cut = 0; cut < n; cut += 7) {
			uint8_t *part = malloc(cut + 1);
			struct vmlinux *v = NULL;
			struct err e = { 0 };

			memcpy(part, whole, cut);
			assert_true(vmlinux_from_memory(part, cut, &v, &e) < 0);
			assert_int_equal(e.kind, ERR_FAILED);
			free(part);
		}
	}
}

static void test_lies(void **state)
{
	size_t len = kernel_file_elf(&kernel, elf), n;
	uint32_t huge = UINT32_MAX, large = 400u << 20;

	(void)state;
	n = kernel_file_pack(elf, len, KERNEL_ZSTD, file);
	memcpy(file + n - 4, &huge, 4);
	open_fails(file, n, -EBADMSG);
	memcpy(file + n - 4, &large, 4); /* no packing makes so much of so little */
	open_fails(file, n, -EBADMSG);
	n = kernel_file_pack(elf, len, KERNEL_LZ4, file);
	file[n - 4]++; /* one byte more than there is */
	open_fails(file, n, -EBADMSG);
	file[n - 4] -= 2;
	open_fails(file, n, -EBADMSG);
	file[2 * 512 + 16] = 'x';
	open_fails(file, n, -EOPNOTSUPP);
	elf[18] = 40; /* e_machine: ARM */
	open_fails(elf, len, -ENOEXEC);
	open_fails((const uint8_t *)"#!/bin/sh", 9, -ENOEXEC);
}

/* --- the lists --- */

static void test_alternatives(void **state)
{
	struct kernel_file k = kernel;

	(void)state;
	for (k.entry_size = 12; k.entry_size <= 14; k.entry_size += 2) {
		__attribute__((cleanup(guest_alternatives_clear))) struct guest_alternatives all = { 0 };
		__attribute__((cleanup(guest_pv_calls_clear))) struct guest_pv_calls calls = { 0 };
		struct vmlinux *v = open_ok(elf, kernel_file_elf(&k, elf));
		struct err e = { 0 };
		size_t count;

		if (k.entry_size == 14)
			k.alternative[0].flags = 2;
		vmlinux_free(v);
		v = open_ok(elf, kernel_file_elf(&k, elf));
		assert_int_equal(guest_alternatives_read(v, SLIDE, &all, &e), 0);
		assert_int_equal(all.n, 5);
		const struct guest_alternative *a = guest_alternatives_at(&all, TEXT + 0x10, &count);
		assert_int_equal(count, 2);
		assert_int_equal(a[0].feature, 112);
		assert_int_equal(a[1].feature, 297);
		assert_int_equal(a[0].call, k.entry_size == 14);
		assert_false(a[0].inverted || a[1].inverted || a[1].call);
		assert_true(a[1].replacement_at == UINT64_C(0xffffffff82000005) + SLIDE);
		a = guest_alternatives_at(&all, TEXT + 0x20, &count);
		assert_int_equal(count, 1);
		assert_true(a->inverted);
		assert_int_equal(a->replacement_len, 3);
		assert_null(guest_alternatives_at(&all, TEXT + 0x11, &count));
		assert_null(guest_alternatives_at(&all, UINT64_MAX, &count));
		assert_int_equal(guest_pv_calls_read(v, SLIDE, &calls, &e), 0);
		assert_int_equal(calls.n, 1);
		assert_true(calls.call[0].at == TEXT + 0x30 && calls.call[0].offset == 640 && calls.call[0].len == 6);
		vmlinux_free(v);
	}
}

/* A place is as long as the longest of its entries. */
static void test_nested(void **state)
{
	struct guest_alternatives nested = { 0 };
	struct kernel_file k = kernel;
	struct err e = { 0 };

	(void)state;
	k.alternative[1].len = 7;
	struct vmlinux *v = open_ok(elf, kernel_file_elf(&k, elf));
	assert_int_equal(guest_alternatives_read(v, SLIDE, &nested, &e), 0);
	assert_int_equal(nested.entry[0].len, 7);
	assert_int_equal(nested.entry[1].len, 7);
	assert_int_equal(nested.entry[2].len, 5);
	guest_alternatives_clear(&nested);
	vmlinux_free(v);
}

static void test_tables_that_lie(void **state)
{
	static const struct kernel_file_alternative bad[] = {
		{ KERNEL_TEXT_SIZE - 4, 0, 112, 0, 5, 5 }, /* its place reaches out of the file */
		{ 0x10, KERNEL_REPLACEMENT_SIZE - 4, 112, 0, 5, 5 },
		{ 0x10, 0, 112, 0, 4, 5 }, /* longer than its place */
		{ 0x10, 0, 2000, 0, 5, 5 },
		{ 0x10, 0, 112, 0, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct guest_alternatives all = { 0 };
		struct kernel_file k = kernel;
		struct err e = { 0 };

		k.alternative[1] = bad[i];
		struct vmlinux *v = open_ok(elf, kernel_file_elf(&k, elf));
		assert_int_equal(guest_alternatives_read(v, SLIDE, &all, &e), -EBADMSG);
		assert_string_equal(e.rule, "kernel-image");
		assert_int_equal(all.n, 0);
		vmlinux_free(v);
	}
}

/* --- forms --- */

static struct guest_alternatives all;

static void form(uint64_t at, size_t number, bool original, const uint8_t *want)
{
	const struct kind_context ctx = { .arch = &arch_x86_64 };
	uint8_t out[POKE_SITE_LEN_MAX];
	struct err e = { 0 };
	size_t count;
	const struct guest_alternative *a = guest_alternatives_at(&all, TEXT + at, &count);

	assert_true(number < count);
	if (alternative_form(&ctx, &a[number], original, out, &e) < 0)
		fail_msg("%s", e.text);
	assert_memory_equal(out, want, a->len);
	assert_true(alternative_same(&ctx, out, want, a->len, a->at));
}

static void test_forms(void **state)
{
	const struct kind_context ctx = { .arch = &arch_x86_64 };
	struct vmlinux *v = open_ok(elf, kernel_file_elf(&kernel, elf));
	struct err e = { 0 };

	(void)state;
	assert_int_equal(guest_alternatives_read(v, SLIDE, &all, &e), 0);
	form(0x10, 0, true, (const uint8_t[]){ 0xe8, 0x1b, 0, 0, 0 });
	/* The call in the replacement leads to .text + 0, from wherever it is: rebased to the place. */
	form(0x10, 0, false, (const uint8_t[]){ 0xe8, 0xeb, 0xff, 0xff, 0xff });
	/* One to its own end stays as it is. */
	form(0x10, 1, false, (const uint8_t[]){ 0xe8, 0x00, 0x00, 0x00, 0x00 });
	form(0x20, 0, true, (const uint8_t[]){ 0x0f, 0x1f, 0x44, 0x00, 0x00 });
	form(0x20, 0, false, (const uint8_t[]){ 0x0f, 0xae, 0xe8, 0x66, 0x90 });
	form(0x30, 0, false, (const uint8_t[]){ 0xc6, 0x07, 0x00, 0x0f, 0x1f, 0x00 });
	/* A jump that the kernel makes short, with anything behind it, is the same jump. */
	const uint8_t near_jump[5] = { 0xe9, 0x10, 0, 0, 0 }, short_jump[5] = { 0xeb, 0x13, 0xcc, 0xcc, 0xcc },
		      other_jump[5] = { 0xeb, 0x12, 0x90, 0x90, 0x90 };
	assert_true(alternative_same(&ctx, near_jump, short_jump, 5, TEXT));
	assert_false(alternative_same(&ctx, near_jump, other_jump, 5, TEXT));
	const uint8_t je_near[6] = { 0x0f, 0x84, 0x10, 0, 0, 0 }, je_short[6] = { 0x74, 0x14, 0x0f, 0x1f, 0x40, 0x00 },
		      jne_short[6] = { 0x75, 0x14, 0x0f, 0x1f, 0x40, 0x00 };
	assert_true(alternative_same(&ctx, je_near, je_short, 6, TEXT));
	assert_false(alternative_same(&ctx, je_near, jne_short, 6, TEXT));
	const uint8_t load[7] = { 0x8b, 0x05, 1, 0, 0, 0, 0x90 }, load_later[7] = { 0x90, 0x8b, 0x05, 1, 0, 0, 0 };
	assert_false(alternative_same(&ctx, load, load_later, 7, TEXT)); /* relative to where it stands */
	const uint8_t torn[5] = { 0xe8, 0x1b, 0, 0 };
	assert_false(alternative_same(&ctx, torn, torn, 4, TEXT));
	guest_alternatives_clear(&all);
	vmlinux_free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_packings),     cmocka_unit_test(test_from_a_descriptor),
		cmocka_unit_test(test_cut),	     cmocka_unit_test(test_lies),
		cmocka_unit_test(test_alternatives), cmocka_unit_test(test_nested), cmocka_unit_test(test_tables_that_lie),
		cmocka_unit_test(test_forms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
