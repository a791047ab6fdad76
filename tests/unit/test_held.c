// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Mode held: once anybody has executed new code anywhere nobody executes old code
 * any more, at any site; and at the moment of change no vCPU stands in an exclusion
 * range. Staged changes one by one: the same checker must see the difference.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fake/fake_live.h"

static struct fake_live f;

static void scenario(uint64_t seed, bool multi)
{
	fake_live_init(&f, seed, 2 + seed % (LIVE_VCPUS_MAX - 1));
	fake_live_sites(&f, 2 + fake_live_random(&f) % 4, multi);
	f.plan.mode = POKE_MODE_HELD;
	f.insomnia = seed % 4 != 0;
	fake_live_run(&f, 60);
}

static int run(uint64_t timeout_us, struct poke_stats *stats, struct err *e)
{
	*e = (struct err){ 0 };
	int r = poke_run(&f.base, &arch_x86_64, &f.plan, &f.quiesce, &f.log, timeout_us, stats, e);
	fake_live_run(&f, 120);
	return r;
}

static void check(uint64_t seed, int r, const struct err *e)
{
	const char *broken = f.broken ? f.broken : r == 0 ? f.broken_atomic : NULL;

	if (broken)
		fail_msg("seed %lu: %s (%d: %s)", (unsigned long)seed, broken, r, e->text);
	if (r != -EUCLEAN && (f.handler || f.paused || !f.running || !fake_live_holds(&f, r == 0)))
		fail_msg("seed %lu: left behind in disorder (%d: %s)", (unsigned long)seed, r, e->text);
}

static void nobody_sees_a_mixture(void **state)
{
	unsigned held = 0, late = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 5000; seed++) {
		struct poke_stats stats;
		struct err e;

		scenario(seed, seed % 3 == 0);
		int r = run(20000, &stats, &e);
		check(seed, r, &e);
		assert_true(r == 0 || (r == -ETIMEDOUT && seed % 3 == 0));
		assert_true(r < 0 || stats.barriers <= 3);
		held += stats.held;
		late += r == -ETIMEDOUT;
	}
	assert_true(held > 5000 && late < 1000);
}

/* Going back is a change too: it may fail anywhere and must end all-old, nobody left waiting. */
static void failures(void **state)
{
	unsigned undone = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 3000; seed++) {
		struct poke_stats stats;
		struct err e;

		scenario(seed, seed % 2);
		f.fail_at = f.calls + 1 + (unsigned)(fake_live_random(&f) % 80);
		f.fail_for = 1 + (unsigned)(fake_live_random(&f) % 2);
		int r = run(5000, &stats, &e);
		check(seed, r, &e);
		assert_int_not_equal(r, -EUCLEAN);
		undone += r < 0;
	}
	assert_true(undone > 500);
}

static bool mixture_seen(enum poke_mode mode, enum live_sabotage sabotage)
{
	for (uint64_t seed = 1; seed <= 300; seed++) {
		struct poke_stats stats;
		struct err e;

		scenario(seed, false);
		f.plan.mode = mode;
		f.sabotage = sabotage;
		run(20000, &stats, &e);
		if (f.broken_atomic)
			return true;
	}
	return false;
}

static void the_checker_sees_mixtures(void **state)
{
	(void)state;
	assert_false(mixture_seen(POKE_MODE_HELD, LIVE_HONEST));
	assert_true(mixture_seen(POKE_MODE_STAGED, LIVE_HONEST));
	assert_true(mixture_seen(POKE_MODE_HELD, LIVE_NEVER_HOLD));
}

/* The bytes change in a pause in which no vCPU is in the range. */
static void exclusions(void **state)
{
	unsigned retries = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 1000; seed++) {
		struct poke_stats stats;
		struct err e;

		scenario(seed, seed % 2);
		f.plan.mode = seed % 3 ? POKE_MODE_HELD : POKE_MODE_FLIPPED;
		f.plan.n_exclusions = 1;
		f.plan.exclusions[0] = (struct poke_exclusion){ .start = LIVE_GVA + 0x700000, .end = LIVE_GVA + 0x700010 };
		f.away = LIVE_GVA + 0x700000 + seed % 17; /* the end is outside */
		int r = run(30000, &stats, &e);
		check(seed, r, &e);
		assert_true(r == 0 || r == -ETIMEDOUT);
		assert_true(f.pauses > 0);
		retries += stats.retries;
	}
	assert_true(retries > 100);
}

static void always_excluded(void **state)
{
	struct poke_stats stats;
	struct err e;

	(void)state;
	fake_live_init(&f, 3, 2); /* nobody runs: where they are they stay */
	fake_live_site(&f, "0f1f440000", "e900001000");
	f.plan.mode = POKE_MODE_HELD;
	f.plan.n_exclusions = 1;
	f.plan.exclusions[0] = (struct poke_exclusion){ .start = LIVE_GVA, .end = LIVE_GVA + 0x1000000 };
	assert_int_equal(run(3000, &stats, &e), -ETIMEDOUT);
	check(3, -ETIMEDOUT, &e);
	assert_string_equal(e.rule, "busy");
	assert_non_null(strstr(e.text, "excluded"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_sees_a_mixture),     cmocka_unit_test(failures),
		cmocka_unit_test(the_checker_sees_mixtures), cmocka_unit_test(exclusions),
		cmocka_unit_test(always_excluded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
