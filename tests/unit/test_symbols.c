// SPDX-License-Identifier: GPL-2.0-or-later
/* Symbol look-up by name and by address, and what counts as kernel text. */
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

struct fixture {
	struct guest_image image;
	struct guest *g;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	*state = f;
	guest_image_build(&f->image, &(struct guest_image_options){ 0 });
	return guest_probe(&f->image.mem, f->image.regs, IMAGE_CPUS, &f->g, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	guest_free(f->g);
	free(f);
	return 0;
}

static void test_find(void **state)
{
	const struct fixture *f = *state;
	uint64_t addr = 1;
	size_t count = 9;
	char type;

	assert_int_equal(guest_symbol_find(f->g, "do_nothing", &addr, &type, &count), 0);
	assert_true(addr == IMAGE_FUNC);
	assert_int_equal(type, 'T');
	assert_int_equal(count, 1);
	assert_int_equal(guest_symbol_find(f->g, "runqueues", &addr, &type, NULL), 0);
	assert_true(addr == PCPU_RQ);
	assert_int_equal(guest_symbol_find(f->g, "do_nothin", NULL, NULL, &count), -ENOENT);
	assert_int_equal(count, 0);
	assert_int_equal(guest_symbol_find(f->g, "do_nothing2", NULL, NULL, NULL), -ENOENT);
	assert_int_equal(guest_symbol_find(f->g, "", NULL, NULL, NULL), -ENOENT);
	assert_int_equal(guest_symbol_find(f->g, "twin", NULL, NULL, &count), -ENOTUNIQ);
	assert_int_equal(count, 2);
}

/* The same answers with an index of the names. */
static void test_find_indexed(void **state)
{
	const struct fixture *f = *state;

	guest_names_index(f->g);
	test_find(state);
	guest_names_index(f->g); /* twice is fine */
	test_find(state);
	guest_names_forget(f->g);
	guest_names_forget(f->g);
	test_find(state);
}

/* Every symbol, by its name and by its address, with and without what makes it fast. */
static void test_fast_is_the_same(void **state)
{
	const struct fixture *f = *state;
	struct guest_symbol_cursor c = { 0 };
	struct guest_symbol s, at, slow;

	while (guest_symbol_next(f->g, &c, &s) > 0) {
		uint64_t addr[2] = { 0 }, size[2] = { 0 };
		size_t count[2], sorted_end = f->g->syms.sorted_end;
		int r[2], covers[2];

		r[0] = guest_symbol_find(f->g, s.name, &addr[0], NULL, &count[0]);
		guest_names_index(f->g);
		r[1] = guest_symbol_find(f->g, s.name, &addr[1], NULL, &count[1]);
		guest_names_forget(f->g);
		assert_int_equal(r[0], r[1]);
		assert_true(addr[0] == addr[1] && count[0] == count[1]);
		assert_true(sorted_end > 0);
		for (int i = 0; i < 3; i++) {
			covers[0] = guest_symbol_at(f->g, s.addr + (uint64_t)i - 1, &at, &size[0]);
			f->g->syms.sorted_end = 0;
			covers[1] = guest_symbol_at(f->g, s.addr + (uint64_t)i - 1, &slow, &size[1]);
			f->g->syms.sorted_end = sorted_end;
			assert_int_equal(covers[0], covers[1]);
			assert_true(size[0] == size[1] && (covers[0] < 0 || strcmp(slow.name, at.name) == 0));
		}
	}
}

/* The table's order is the guest's word: out of order nothing is searched in halves. */
static void test_unsorted(void **state)
{
	const struct fixture *f = *state;
	struct kallsyms *k = &f->g->syms;
	struct guest_symbol s;
	int32_t first = k->offsets[k->sorted];

	k->offsets[k->sorted] = k->offsets[k->sorted_end - 1];
	k->offsets[k->sorted_end - 1] = first;
	kallsyms_order(k);
	assert_int_equal(k->sorted_end, 0);
	assert_int_equal(guest_symbol_at(f->g, IMAGE_FUNC, &s, NULL), 0);
	assert_string_equal(s.name, "do_nothing");
}

static void test_at(void **state)
{
	const struct fixture *f = *state;
	struct guest_symbol s;
	uint64_t size;

	assert_int_equal(guest_symbol_at(f->g, IMAGE_FUNC, &s, &size), 0);
	assert_string_equal(s.name, "do_nothing"); /* the first of two names */
	assert_int_equal(size, IMAGE_FUNC_END - IMAGE_FUNC);
	assert_int_equal(guest_symbol_at(f->g, IMAGE_FUNC_END - 1, &s, &size), 0);
	assert_string_equal(s.name, "do_nothing");
	assert_int_equal(guest_symbol_at(f->g, IMAGE_FUNC_END, &s, NULL), 0);
	assert_string_equal(s.name, "do_something");
	assert_int_equal(guest_symbol_at(f->g, PCPU_RQ + 1, &s, NULL), -ENOENT); /* per-cpu offsets are no addresses */
	assert_int_equal(guest_symbol_at(f->g, IMAGE_BASE - 1, &s, NULL), -ENOENT);
	assert_int_equal(guest_symbol_at(f->g, UINT64_MAX, &s, NULL), -ENOENT);		   /* behind the last one */
	assert_int_equal(guest_symbol_at(f->g, 0xffffffffc0001000ull, &s, NULL), -ENOENT); /* a module */
}

static void test_format(void **state)
{
	const struct fixture *f = *state;
	char buf[64];

	guest_format_addr(f->g, IMAGE_FUNC + 0x3c, buf, sizeof(buf));
	assert_string_equal(buf, "do_nothing+0x3c");
	guest_format_addr(f->g, IMAGE_FUNC, buf, sizeof(buf));
	assert_string_equal(buf, "do_nothing");
	guest_format_addr(f->g, 0x1234, buf, sizeof(buf));
	assert_string_equal(buf, "0x1234");
	guest_format_addr(f->g, IMAGE_FUNC + 0x3c, buf, 8);
	assert_string_equal(buf, "do_noth");
}

static void test_is_text(void **state)
{
	const struct fixture *f = *state;

	assert_true(guest_is_text(f->g, IMAGE_BASE, 1));
	assert_true(guest_is_text(f->g, IMAGE_BASE, 0x1000));
	assert_false(guest_is_text(f->g, IMAGE_BASE, 0x1001));
	assert_false(guest_is_text(f->g, IMAGE_BASE - 1, 1));
	assert_true(guest_is_text(f->g, IMAGE_ETEXT - 1, 1));
	assert_false(guest_is_text(f->g, IMAGE_ETEXT, 1));
	assert_false(guest_is_text(f->g, IMAGE_FUNC, SIZE_MAX));
	assert_false(guest_is_text(f->g, 0, SIZE_MAX));
	assert_false(guest_is_text(f->g, f->image.banner, 4));
}

static void test_memory(void **state)
{
	const struct fixture *f = *state;
	uint64_t gpa, left;
	char text[6] = "";
	struct err e = { 0 };

	assert_int_equal(guest_translate(f->g, f->image.banner + 1, &gpa, &left, NULL), 0);
	assert_true(gpa == f->image.banner + 1 - IMAGE_BASE + IMAGE_PA);
	assert_int_equal(left, 4095);
	assert_int_equal(guest_read(f->g, f->image.banner, text, 5, NULL), 0);
	assert_string_equal(text, "Linux");
	assert_int_equal(guest_read(f->g, IMAGE_BASE - 8, text, 5, &e), -EFAULT);
	assert_true(e.has_addr);
	assert_int_equal(guest_translate(f->g, IMAGE_BASE - 8, &gpa, &left, NULL), -EFAULT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_find, setup, teardown),
		cmocka_unit_test_setup_teardown(test_find_indexed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fast_is_the_same, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unsorted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_at, setup, teardown),
		cmocka_unit_test_setup_teardown(test_format, setup, teardown),
		cmocka_unit_test_setup_teardown(test_is_text, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
