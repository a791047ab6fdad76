// SPDX-License-Identifier: GPL-2.0-or-later
/* Which bytes of a kernel's text count as padding that nobody executes, and which do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake/guest_image.h"
#include "vmm/guest/internal.h"
#include "vmm/guest/padding.h"

#define MARKED (IMAGE_BASE + 0xd00)
#define TABLE  0x7000u /* where the image has its lowest page table */
#define NX     (UINT64_C(1) << 63)

struct fixture {
	struct guest_image image;
	struct guest *g;
};

static int setup(void **state)
{
	static const struct guest_image_symbol marker = { MARKED, "__some_text_end" };
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	*state = f;
	guest_image_build(&f->image, &(struct guest_image_options){ .extra = &marker, .n_extra = 1 });
	return guest_probe(&f->image.mem, f->image.regs, IMAGE_CPUS, &f->g, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	guest_free(f->g);
	free(f);
	return 0;
}

static void fill(struct fixture *f, uint64_t start, uint64_t end)
{
	memset(guest_image_at(&f->image, start), PADDING_BYTE, (size_t)(end - start));
}

static int find(struct fixture *f, size_t need, struct padding_run *runs, size_t cap)
{
	struct err e = { 0 };
	int n = guest_padding_find(f->g, need, runs, cap, &e);

	if (n < 0)
		fail_msg("%s", e.text);
	for (int i = 0; i < n; i++) {
		assert_true(runs[i].start % 16 == 0 && runs[i].end % 16 == 0 && runs[i].start < runs[i].end);
		for (uint64_t at = runs[i].start - PADDING_MARGIN; at < runs[i].end + PADDING_MARGIN; at++)
			assert_int_equal(*guest_image_at(&f->image, at), PADDING_BYTE);
	}
	return n;
}

static void assert_one(struct fixture *f, uint64_t start, uint64_t end)
{
	struct padding_run runs[4];

	assert_int_equal(find(f, 16384, runs, 4), 1);
	assert_true(runs[0].start == start && runs[0].end == end);
}

static void none(void **state)
{
	struct fixture *f = *state;
	struct padding_run runs[4];

	assert_int_equal(find(f, 16, runs, 4), 0);
	fill(f, IMAGE_BASE + 0xa00, IMAGE_BASE + 0xa00 + PADDING_RUN_MIN - 1);
	assert_int_equal(find(f, 16, runs, 4), 0);
	/* NOPs may be fallen into by what stands before them. */
	memset(guest_image_at(&f->image, IMAGE_BASE + 0xa00), 0x90, 512);
	assert_int_equal(find(f, 16, runs, 4), 0);
}

static void margins(void **state)
{
	struct fixture *f = *state;

	fill(f, IMAGE_BASE + 0xa00, IMAGE_BASE + 0xb00);
	assert_one(f, IMAGE_BASE + 0xa10, IMAGE_BASE + 0xaf0);
	*guest_image_at(&f->image, IMAGE_BASE + 0xa00) = 0xc3;
	fill(f, IMAGE_BASE + 0xb00, IMAGE_BASE + 0xb07);
	assert_one(f, IMAGE_BASE + 0xa20, IMAGE_BASE + 0xaf0);
}

/* A symbol on the padding may be a function: what is before it and on it stays alone. */
static void symbols_inside(void **state)
{
	struct fixture *f = *state;
	struct padding_run runs[4];

	fill(f, IMAGE_BASE + 0xc00, IMAGE_BASE + 0xf00);
	assert_one(f, MARKED + 0x20, IMAGE_BASE + 0xef0);
	*guest_image_at(&f->image, MARKED + 0x80) = 0x90;
	*guest_image_at(&f->image, MARKED + 0x100) = 0x90;
	assert_int_equal(find(f, 4096, runs, 4), 0);
}

static void to_the_end_of_text(void **state)
{
	struct fixture *f = *state;

	fill(f, IMAGE_BASE + 0xe00, IMAGE_ETEXT + 0x100);
	assert_one(f, IMAGE_BASE + 0xe10, IMAGE_ETEXT - 0x10);
}

static void no_more_than_needed(void **state)
{
	struct fixture *f = *state;
	struct padding_run runs[4];

	fill(f, IMAGE_BASE + 0x400, IMAGE_BASE + 0x600);
	fill(f, IMAGE_BASE + 0xa00, IMAGE_BASE + 0xc00);
	assert_int_equal(find(f, 4096, runs, 4), 2);
	assert_int_equal(find(f, 4096, runs, 1), 1);
	assert_true(runs[0].start == IMAGE_BASE + 0x410);
}

static void never(void **state)
{
	struct fixture *f = *state;
	struct padding_run runs[4];

	fill(f, IMAGE_BASE + 0xa00, IMAGE_BASE + 0xc00);
	f->g->facts.inittext_start = IMAGE_BASE + 0xb00; /* freed after boot */
	f->g->facts.inittext_end = IMAGE_BASE + 0xb10;
	assert_int_equal(find(f, 16, runs, 4), 0);
}

static void executable(struct fixture *f, uint64_t gva, bool yes)
{
	uint8_t *at = f->image.ram + TABLE + ((gva >> 12) & 511) * 8;
	uint64_t value;

	memcpy(&value, at, 8);
	assert_true(value & 1);
	value = yes ? value & ~NX : value | NX;
	memcpy(at, &value, 8);
}

/* Over pages; and only those that may be executed. */
static void pages(void **state)
{
	struct fixture *f = *state;
	struct padding_run runs[4];

	f->g->facts.text_end = IMAGE_BASE + 0x4000;
	fill(f, IMAGE_ETEXT + 0x800, IMAGE_ETEXT + 0x2400);
	assert_int_equal(find(f, 16384, runs, 4), 0);
	for (uint64_t at = IMAGE_ETEXT; at < IMAGE_BASE + 0x4000; at += 4096)
		executable(f, at, true);
	assert_one(f, IMAGE_ETEXT + 0x810, IMAGE_ETEXT + 0x23f0);
	executable(f, IMAGE_ETEXT + 0x1000, false);
	assert_int_equal(find(f, 16384, runs, 4), 2);
	assert_true(runs[0].end == IMAGE_ETEXT + 0x1000 - 16 && runs[1].start == IMAGE_ETEXT + 0x2000 + 16);
	executable(f, IMAGE_ETEXT + 0x1000, true);
	/* Not followed to its end where the first page is enough. */
	assert_int_equal(find(f, 256, runs, 4), 1);
	assert_true(runs[0].end == IMAGE_ETEXT + 0x1000 - 16);
}

static int gone(struct guest_memory *m, uint64_t gpa, void *buf, size_t len, struct err *e)
{
	(void)m;
	(void)gpa;
	(void)buf;
	(void)len;
	return err_set(e, ERR_INACTIVE, ENOTCONN, NULL, "the monitor is gone");
}

static void memory_fails(void **state)
{
	struct fixture *f = *state;
	struct padding_run runs[4];

	/* A page of the text that is no RAM: what is before it counts. */
	fill(f, IMAGE_BASE + 0xa00, IMAGE_ETEXT);
	f->g->facts.text_end = IMAGE_BASE + (1u << 20);
	assert_one(f, IMAGE_BASE + 0xd20, IMAGE_ETEXT - 0x10);
	assert_int_equal(guest_padding_find(f->g, 16, runs, 0, NULL), 0);
	f->image.mem.read = gone;
	struct err e = { 0 };
	assert_int_equal(guest_padding_find(f->g, 16, runs, 4, &e), -ENOTCONN);
	assert_int_equal(e.kind, ERR_INACTIVE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(none),  TEST(margins), TEST(symbols_inside), TEST(to_the_end_of_text), TEST(no_more_than_needed),
		TEST(never), TEST(pages),   TEST(memory_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
