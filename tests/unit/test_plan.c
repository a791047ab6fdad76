// SPDX-License-Identifier: GPL-2.0-or-later
/* What becomes a transaction and what is refused, and that random requests never give a plan that is not sound. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/poke/plan.h"

static const uint64_t here = 0xffffffff81000100u;

/* present: bytes in the guest from gva on; the range is as long as new. */
static struct plan_want want(uint64_t gva, const char *present, const char *new_hex)
{
	struct plan_want w = { .gva = gva, .gpa = gva & 0xffffff, .new_is_code = true, .line = 7 };
	ssize_t n = hex_decode(present, w.present, sizeof(w.present));
	ssize_t m = hex_decode(new_hex, w.new_bytes, sizeof(w.new_bytes));

	assert_true(n > 0 && m > 0 && n >= m);
	w.present_len = (uint8_t)n;
	w.len = w.split = (uint8_t)m;
	snprintf(w.label, sizeof(w.label), "site_at_%llx", (unsigned long long)gva);
	return w;
}

static struct poke_plan *build(const struct plan_want *wants, size_t n)
{
	struct poke_plan *p = NULL;
	struct err e = { 0 };

	assert_int_equal(plan_build(&arch_x86_64, BACKEND_STEP, wants, n, &p, &e), 0);
	assert_non_null(p);
	return p;
}

static void refuses(const struct plan_want *wants, size_t n, int error, const char *rule)
{
	struct poke_plan *p = NULL;
	struct err e = { 0 };

	assert_int_equal(plan_build(&arch_x86_64, BACKEND_STEP, wants, n, &p, &e), -error);
	assert_null(p);
	assert_int_equal(e.kind, ERR_REFUSED);
	assert_int_equal(e.error, error);
	assert_string_equal(e.rule, rule);
	assert_true(e.has_addr);
	assert_non_null(strstr(e.text, "line 7"));
}

static void one_instruction(void **state)
{
	struct plan_want w = want(here, "0f1f440000 c3", "e900010000");

	(void)state;
	_cleanup_(plan_free) struct poke_plan *p = build(&w, 1);
	assert_int_equal(p->n_sites, 1);
	assert_int_equal(p->mode, POKE_MODE_STOPPED);
	assert_true(strlen(p->why) > 10);
	assert_false(p->needs_quiescence);
	assert_int_equal(p->sites[0].boundaries, 1);
	assert_int_equal(p->sites[0].new_boundaries, 1);
	assert_memory_equal(p->sites[0].old_bytes, w.present, 5);
	assert_memory_equal(p->sites[0].new_bytes, w.new_bytes, 5);
	assert_string_equal(p->sites[0].label, w.label);
}

static void several_instructions(void **state)
{
	struct plan_want w = want(here, "55 4889e5 53 4883ec10 c3", "b892100000 c3 0f1f00");

	(void)state;
	_cleanup_(plan_free) struct poke_plan *p = build(&w, 1);
	assert_true(p->needs_quiescence);
	assert_int_equal(p->sites[0].boundaries, 1 | 1 << 1 | 1 << 4 | 1 << 5);
	assert_int_equal(p->sites[0].new_boundaries, 1 | 1 << 5 | 1 << 6);
}

static void sorted_and_done_dropped(void **state)
{
	struct plan_want w[] = {
		want(here + 64, "90 c3", "c3"), want(here, "31c0 c3", "31db"),
		want(here + 32, "0f1f00 c3", "0f1f00"), /* holds the new bytes already */
		want(here + 2, "90 c3", "f8"),		/* touches the one before, shares nothing */
	};

	(void)state;
	_cleanup_(plan_free) struct poke_plan *p = build(w, 4);
	assert_int_equal(p->n_sites, 3);
	assert_true(p->sites[0].gva == here && p->sites[1].gva == here + 2 && p->sites[2].gva == here + 64);
	assert_false(p->needs_quiescence);

	/* Already so, although the patch named other old bytes: nothing to do is not an error. */
	w[2].has_expected = true;
	_cleanup_(plan_free) struct poke_plan *none = build(&w[2], 1);
	assert_int_equal(none->n_sites, 0);
	_cleanup_(plan_free) struct poke_plan *empty = build(w, 0);
	assert_int_equal(empty->n_sites, 0);
}

static void refusals(void **state)
{
	struct plan_want w[2];

	(void)state;
	w[0] = want(here, "4889e5 53 c3", "31db 90 f8");
	w[1] = want(here + 3, "53 c3", "90");
	refuses(w, 2, EEXIST, "overlap");
	w[1] = w[0];
	refuses(w, 2, EEXIST, "overlap");

	w[0] = want(here, "cc1f440000 c3", "e900010000");
	refuses(w, 1, EBUSY, "kprobe");
	w[0] = want(here, "55 cc89e5 53", "31db 31db"); /* on the second instruction, which does not decode then */
	refuses(w, 1, EBUSY, "kprobe");
	w[0] = want(here, "cc1f440000 c3", "e900010000"); /* named old bytes differ because of the kprobe */
	w[0].has_expected = true;
	memcpy(w[0].expected, "\x0f\x1f\x44\x00\x00", 5);
	refuses(w, 1, EBUSY, "kprobe");

	w[0] = want(here, "90 c3", "f8");
	w[0].has_expected = true;
	w[0].expected[0] = 0x55;
	refuses(w, 1, ESTALE, "old-bytes");

	w[0] = want(here, "4889e5 53 c3", "31db");
	refuses(w, 1, EINVAL, "mid-instruction"); /* ends in an old instruction */
	w[0] = want(here, "0f1f00 c3 90 90 90 90", "31db e9");
	refuses(w, 1, EINVAL, "mid-instruction"); /* ends in a new one */
	w[0] = want(here, "06 06 06", "90 90");
	refuses(w, 1, EILSEQ, "decode");
	w[0] = want(here, "31c0 c3", "06 90");
	refuses(w, 1, EILSEQ, "decode");
	w[0] = want(here, "48", "90"); /* text ends inside the instruction */
	refuses(w, 1, EILSEQ, "decode");
	w[0] = want(here, "31c0 c3", "90 cc");
	refuses(w, 1, EINVAL, "trap");
	w[0] = want(here, "bacccccccc", "b8cccccccc"); /* 0xcc as data is none */
	plan_free(build(w, 1));
}

#define LIVE (BACKEND_STEP | BACKEND_NONSTOP)

static struct poke_plan *build_for(unsigned caps, const char *present, const char *new_hex)
{
	struct plan_want w = want(here, present, new_hex);
	struct poke_plan *p = NULL;
	struct err e;

	assert_int_equal(plan_build(&arch_x86_64, caps, &w, 1, &p, &e), 0);
	assert_int_equal(p->caps, caps);
	return p;
}

/* The gentlest that is safe with what the backend can do; why says what kept the gentler ones away. */
static void modes(void **state)
{
	static const struct {
		unsigned caps;
		const char *present, *new_hex;
		enum poke_mode mode;
		enum backend_trap trap;
		const char *why;
	} rows[] = {
		{ BACKEND_STEP, "90 c3", "f8", POKE_MODE_STOPPED, BACKEND_TRAP_KIND_HW, "nothing can be written" },
		{ BACKEND_TRAP_INT3, "90 c3", "f8", POKE_MODE_STOPPED, BACKEND_TRAP_KIND_INT3,
		  "nothing can be written" },
		{ LIVE, "90 c3", "f8", POKE_MODE_STOPPED, BACKEND_TRAP_KIND_HW, "cannot be trapped" },
		{ LIVE | BACKEND_REMAP, "90 c3", "f8", POKE_MODE_FLIPPED, BACKEND_TRAP_KIND_HW, "at once" },
		{ BACKEND_REMAP, "90 c3", "f8", POKE_MODE_STOPPED, BACKEND_TRAP_KIND_HW, "nothing can be written" },
		{ LIVE | BACKEND_TRAP_INT3, "90 c3", "f8", POKE_MODE_STAGED, BACKEND_TRAP_KIND_INT3,
		  "cannot be replaced" },
		{ LIVE | BACKEND_TRAP_HW, "90 c3", "f8", POKE_MODE_STAGED, BACKEND_TRAP_KIND_HW, "cannot be replaced" },
		{ LIVE | BACKEND_TRAP_HW, "488b07 c3", "0f1f00", POKE_MODE_STOPPED, BACKEND_TRAP_KIND_HW, "may fault" },
		{ LIVE | BACKEND_TRAP_HW, "90 90 90 90 90 c3", "e900000000", POKE_MODE_STOPPED, BACKEND_TRAP_KIND_HW,
		  "too few" },
		{ LIVE | BACKEND_TRAP_INT3 | BACKEND_TRAP_HW, "90 90 90 90 90 c3", "e900000000", POKE_MODE_STAGED,
		  BACKEND_TRAP_KIND_INT3, "cannot be replaced" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(plan_free) struct poke_plan *p = build_for(rows[i].caps, rows[i].present, rows[i].new_hex);

		assert_int_equal(p->mode, rows[i].mode);
		assert_int_equal(p->trap, rows[i].trap);
		assert_non_null(strstr(p->why, rows[i].why));
	}
}

static void set_refused(struct poke_plan *p, enum poke_mode mode)
{
	enum poke_mode before = p->mode;
	struct err e = { 0 };

	assert_int_equal(plan_set_mode(p, mode, &e), -EOPNOTSUPP);
	assert_string_equal(e.rule, "mode");
	assert_int_equal(e.kind, ERR_REFUSED);
	assert_int_equal(p->mode, before);
}

static void operator_chooses(void **state)
{
	_cleanup_(plan_free) struct poke_plan *all =
		build_for(LIVE | BACKEND_REMAP | BACKEND_TRAP_INT3 | BACKEND_TRAP_HW, "90 c3", "f8");
	_cleanup_(plan_free) struct poke_plan *int3 = build_for(LIVE | BACKEND_TRAP_INT3, "90 c3", "f8");
	_cleanup_(plan_free) struct poke_plan *none = build_for(BACKEND_STEP, "90 c3", "f8");
	struct err e;

	(void)state;
	for (int mode = POKE_MODE_STOPPED; mode <= POKE_MODE_FLIPPED; mode++) {
		assert_int_equal(plan_set_mode(all, (enum poke_mode)mode, &e), 0);
		assert_int_equal(all->mode, mode);
		assert_non_null(strstr(all->why, "asked for"));
	}
	assert_int_equal(plan_set_trap(all, BACKEND_TRAP_KIND_HW, &e), 0);
	set_refused(int3, POKE_MODE_FLIPPED);
	assert_int_equal(plan_set_mode(int3, POKE_MODE_HELD, &e), 0);
	assert_int_equal(plan_set_trap(int3, BACKEND_TRAP_KIND_HW, &e), -EOPNOTSUPP);
	assert_string_equal(e.rule, "trap");
	set_refused(none, POKE_MODE_STAGED);
	set_refused(none, POKE_MODE_HELD);
	assert_int_equal(plan_set_mode(none, POKE_MODE_STOPPED, &e), 0);
}

/* Sites that must change together, or not while somebody is in a range, are never changed one by one. */
static void groups(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		_cleanup_(plan_free) struct poke_plan *p = build_for(LIVE | BACKEND_TRAP_INT3, "90 c3", "f8");

		assert_int_equal(p->mode, POKE_MODE_STAGED);
		p->atomic = i == 0;
		p->n_exclusions = (size_t)i;
		plan_choose(p);
		assert_int_equal(p->mode, POKE_MODE_HELD);
		assert_non_null(strstr(p->why, "together"));
		set_refused(p, POKE_MODE_STAGED);
	}
}

static void operands(void **state)
{
	struct plan_want w = want(here, "06 06 06 06", "cc cc cc cc");

	(void)state;
	w.new_is_code = false;
	_cleanup_(plan_free) struct poke_plan *p = build(&w, 1);
	assert_int_equal(p->sites[0].boundaries, 1);
	assert_false(p->needs_quiescence);
	p->caps = LIVE | BACKEND_TRAP_INT3;
	plan_choose(p);
	assert_int_equal(p->mode, POKE_MODE_STOPPED); /* a trap there would be half an instruction */
	assert_non_null(strstr(p->why, "inside an instruction"));
	w.has_expected = true;
	refuses(&w, 1, ESTALE, "old-bytes");
}

static void malformed(void **state)
{
	struct poke_plan *p = NULL;
	struct err e;
	struct plan_want w[6];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(w); i++)
		w[i] = want(here, "31c0 c3", "31db");
	w[0].len = 0;
	w[1].len = POKE_SITE_LEN_MAX + 1;
	w[2].split = 3;
	w[3].split = 0;
	w[4].present_len = 1;
	w[5].gva = UINT64_MAX;
	for (size_t i = 0; i < ARRAY_SIZE(w); i++) {
		assert_int_equal(plan_build(&arch_x86_64, 0, &w[i], 1, &p, &e), -EINVAL);
		assert_int_equal(e.kind, ERR_FAILED);
	}
	assert_int_equal(plan_build(&arch_x86_64, 0, w, POKE_SITES_MAX + 1, &p, &e), -E2BIG);
	assert_null(p);
}

static void full_size(void **state)
{
	size_t n = POKE_SITES_MAX;
	_cleanup_free_ struct plan_want *w = calloc(n, sizeof(*w));

	(void)state;
	assert_non_null(w);
	for (size_t i = 0; i < n; i++)
		w[i] = want(here + 16 * ((i * 7919) % n), "0f1f440000 c3", "e900010000");
	_cleanup_(plan_free) struct poke_plan *p = build(w, n);
	assert_int_equal(p->n_sites, n);
	for (size_t i = 0; i < n; i++)
		assert_true(p->sites[i].gva == here + 16 * i);
}

static uint64_t next_random(void)
{
	static uint64_t seed = 2463534242u;

	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* Whole instructions of random length, often the same, sometimes damaged. */
/* The guest's own data: compared, never decoded, and only a guest that stands still is written. */
static void data_sites(void **state)
{
	const unsigned all = BACKEND_TRAP_INT3 | BACKEND_TRAP_HW | BACKEND_STEP | BACKEND_NONSTOP | BACKEND_REMAP;
	struct plan_want w[2] = { want(here, "0f1f440000 c3", "e900010000"), want(here + 0x1000, "cc000000", "01000000") };
	struct poke_plan *p = NULL;
	struct err e = { 0 };

	(void)state;
	w[1].new_is_code = false;
	w[1].data = true;
	assert_int_equal(plan_build(&arch_x86_64, all, w, 2, &p, &e), 0);
	assert_int_equal(p->mode, POKE_MODE_STOPPED);
	assert_non_null(strstr(p->why, "data"));
	assert_true(!p->sites[0].data && p->sites[1].data && !p->sites[1].operand && !p->needs_quiescence);
	assert_int_equal(plan_set_mode(p, POKE_MODE_HELD, &e), -EOPNOTSUPP);
	assert_int_equal(plan_set_mode(p, POKE_MODE_STAGED, &e), -EOPNOTSUPP);
	assert_int_equal(plan_set_mode(p, POKE_MODE_FLIPPED, &e), 0); /* when asked for: it takes the pause as well */
	assert_int_equal(p->mode, POKE_MODE_FLIPPED);
	plan_free(p);
	w[1].has_expected = true;
	refuses(w, 2, ESTALE, "changed-by-guest");
}

static void want_lists(void **state)
{
	__attribute__((cleanup(want_list_clear))) struct want_list l = { 0 };
	struct plan_want w = want(here, "90", "90");
	struct err e = { 0 };

	(void)state;
	for (size_t i = 0; i < POKE_SITES_MAX; i++) {
		w.gva = here + i;
		assert_int_equal(want_list_add(&l, &w, &e), 0);
	}
	assert_true(l.n == POKE_SITES_MAX && l.wants[0].gva == here && l.wants[l.n - 1].gva == here + l.n - 1);
	assert_int_equal(want_list_add(&l, &w, &e), -E2BIG);
	assert_string_equal(e.rule, "sites");
	assert_true(l.n == POKE_SITES_MAX);
}

static void random_want(struct plan_want *w)
{
	static const char *const snippets[] = { "90", "6690", "0f1f00", "55",	      "4889e5",		"e912345678",
						"c3", "7405", "cc",	"b801000000", "488b0510000000", "06",
						"0f" };

	*w = (struct plan_want){ .gva = here + next_random() % 200,
				 .gpa = 0x1000,
				 .new_is_code = next_random() % 8 != 0 };
	for (int side = 0; side < 2; side++) {
		uint8_t *out = side ? w->new_bytes : w->present;
		size_t cap = side ? sizeof(w->new_bytes) : sizeof(w->present);
		for (size_t at = 0; at + 7 <= cap;) {
			ssize_t n = hex_decode(snippets[next_random() % ARRAY_SIZE(snippets)], out + at, cap - at);
			assert_true(n > 0);
			at += (size_t)n;
		}
	}
	w->len = (uint8_t)(1 + next_random() % 24);
	w->split = (uint8_t)(1 + next_random() % w->len);
	w->present_len = (uint8_t)(w->len + next_random() % 16);
	w->has_expected = next_random() % 4 == 0;
	memcpy(w->expected, w->present, w->len);
	if (next_random() % 16 == 0)
		w->expected[next_random() % w->len] ^= 1;
}

static void check_sound(const struct poke_plan *p)
{
	for (size_t i = 0; i < p->n_sites; i++) {
		const struct poke_site *s = &p->sites[i];

		assert_in_range(s->len, 1, POKE_SITE_LEN_MAX);
		assert_in_range(s->split, 1, s->len);
		assert_true((s->boundaries & 1) && (s->new_boundaries & 1));
		assert_true(s->boundaries >> s->len == 0 && s->new_boundaries >> s->len == 0);
		assert_true(memcmp(s->old_bytes, s->new_bytes, s->len) != 0);
		assert_true(i == 0 || p->sites[i - 1].gva + p->sites[i - 1].len <= s->gva);
		assert_true(p->needs_quiescence || s->boundaries == 1);
	}
}

static void random_requests(void **state)
{
	unsigned built = 0, refused = 0;

	(void)state;
	for (int round = 0; round < 100000; round++) {
		struct plan_want w[4];
		size_t n = 1 + next_random() % ARRAY_SIZE(w);
		struct poke_plan *p = NULL;
		struct err e = { 0 };

		for (size_t i = 0; i < n; i++)
			random_want(&w[i]);
		int r = plan_build(&arch_x86_64, (unsigned)next_random() & 0x7f, w, n, &p, &e);
		if (r == 0) {
			check_sound(p);
			built++;
		} else {
			assert_null(p);
			assert_true(e.error == -r && e.kind != ERR_NONE && e.text[0]);
			refused++;
		}
		plan_free(p);
	}
	assert_true(built > 2000 && refused > 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(data_sites),
		cmocka_unit_test(want_lists),
		cmocka_unit_test(one_instruction),
		cmocka_unit_test(several_instructions),
		cmocka_unit_test(sorted_and_done_dropped),
		cmocka_unit_test(refusals),
		cmocka_unit_test(modes),
		cmocka_unit_test(operator_chooses),
		cmocka_unit_test(groups),
		cmocka_unit_test(operands),
		cmocka_unit_test(malformed),
		cmocka_unit_test(full_size),
		cmocka_unit_test(random_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
