// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The generated functions of the stress test, run on this CPU without a VM: both
 * versions of each must return what the guest will be told to expect, else the
 * stress test would blame the engine for its own mistake.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "tests/stress/text.h"
#include "vmm/arch/arch.h"

#define PAGE 4096u
#define LINE 64u

static int arena_setup(void **state)
{
	static struct text_arena arena;

	arena.cap = 4u << 20;
	arena.bytes = mmap(NULL, arena.cap, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (arena.bytes == MAP_FAILED)
		return -1;
	arena.gva = (uintptr_t)arena.bytes;
	text_begin(&arena);
	*state = &arena;
	return 0;
}

static int arena_teardown(void **state)
{
	struct text_arena *arena = *state;

	return munmap(arena->bytes, arena->cap);
}

/* Calls from this thread only: a jump to it and its return serialise nothing, but nobody else writes. */
__attribute__((no_sanitize("all"))) static uint64_t call(const struct text_site *site)
{
	return ((uint64_t(*)(void))(uintptr_t)site->entry)();
}

static void expect_place(const struct text_site *s)
{
	uint64_t last = s->gva + s->len - 1;

	switch (s->place) {
	case TEXT_INSIDE:
		assert_int_equal(s->gva / LINE, last / LINE);
		break;
	case TEXT_LINE:
		assert_int_equal(s->gva / LINE + 1, last / LINE);
		assert_int_equal(s->gva / PAGE, last / PAGE);
		break;
	case TEXT_PAGE_START:
		assert_int_equal(s->gva % PAGE, 0);
		break;
	case TEXT_PAGE_END:
		assert_int_equal(last % PAGE, PAGE - 1);
		break;
	default:
		assert_int_equal(s->gva / PAGE + 1, last / PAGE);
	}
}

static void expect_decodes(const struct text_site *s, int version)
{
	uint64_t mask;
	size_t end, bad;

	assert_int_equal(
		arch_boundaries(&arch_x86_64, s->versions[version], TEXT_SITE_MAX, s->gva, s->len, &mask, &end, &bad),
		0);
	assert_int_equal(end, s->len);
}

static void every_shape_returns_what_it_promises(void **state)
{
	struct text_arena *arena = *state;
	uint64_t end = 0;
	unsigned serial = 0;

	text_begin(arena);
	for (size_t i = 0; i < text_n_shapes; i++)
		for (enum text_place place = 0; place < TEXT_PLACES; place++)
			for (int n = 0; n < 8; n++) {
				struct text_site s;

				assert_int_equal(text_add(arena, &text_shapes[i], place, serial++, &s), 0);
				assert_true(s.entry >= end);
				end = arena->gva + arena->used;
				expect_place(&s);
				for (int turn = 0; turn < 4; turn++) {
					expect_decodes(&s, turn & 1);
					memcpy((uint8_t *)(uintptr_t)s.gva, s.versions[turn & 1], s.len);
					assert_int_equal(call(&s), s.results[turn & 1]);
				}
			}
}

static void every_byte_of_the_results_differs(void **state)
{
	struct text_arena *arena = *state;

	text_begin(arena);
	for (size_t i = 0; i < text_n_shapes; i++) {
		struct text_site s;

		assert_int_equal(text_add(arena, &text_shapes[i], TEXT_INSIDE, (unsigned)i, &s), 0);
		for (unsigned at = 0; at < text_shapes[i].result_bytes; at++)
			assert_int_not_equal((uint8_t)(s.results[0] >> 8 * at), (uint8_t)(s.results[1] >> 8 * at));
	}
}

static void a_full_arena_says_so(void **state)
{
	struct text_arena *whole = *state, arena = *whole;
	struct text_site s;
	unsigned n = 0;
	int r;

	arena.cap = 2 * PAGE;
	memset(arena.bytes + arena.cap, 0x5a, PAGE);
	text_begin(&arena);
	while ((r = text_add(&arena, &text_shapes[n % text_n_shapes], TEXT_INSIDE, n, &s)) == 0)
		n++;
	assert_int_equal(r, -ENOSPC);
	assert_true(n > 10);
	for (size_t i = 0; i < PAGE; i++)
		assert_int_equal(arena.bytes[arena.cap + i], 0x5a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_shape_returns_what_it_promises),
		cmocka_unit_test(every_byte_of_the_results_differs),
		cmocka_unit_test(a_full_arena_says_so),
	};

	return cmocka_run_group_tests(tests, arena_setup, arena_teardown);
}
