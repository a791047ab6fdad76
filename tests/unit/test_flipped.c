// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Mode flipped: one flip, one forced exit at most, no trap ever; a pause only where
 * contexts may be inside; back by another flip. A flip that is not one is caught.
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
	fake_live_init(&f, seed, 1 + seed % LIVE_VCPUS_MAX);
	fake_live_sites(&f, 1 + fake_live_random(&f) % (LIVE_SITES_MAX - 1), multi);
	f.plan.mode = POKE_MODE_FLIPPED;
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
	if (f.hits)
		fail_msg("seed %lu: a trap without traps", (unsigned long)seed);
	if (r != -EUCLEAN && (f.paused || !f.running || !fake_live_holds(&f, r == 0)))
		fail_msg("seed %lu: left behind in disorder (%d: %s)", (unsigned long)seed, r, e->text);
}

static void single_instructions(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 5000; seed++) {
		struct poke_stats stats;
		struct err e;

		scenario(seed, false);
		int r = run(0, &stats, &e);
		check(seed, r, &e);
		assert_int_equal(r, 0);
		assert_int_equal(f.flips, 1);
		assert_int_equal(stats.barriers, 1);
		bool two_pages = f.plan.n_sites > 6 && f.sites[6].split < f.sites[6].len;
		assert_int_equal(f.pauses, two_pages);
		for (size_t i = 0; i < f.n_vcpus; i++)
			assert_in_range(f.kicked[i], 0, 1);
	}
}

static void several_instructions(void **state)
{
	unsigned done = 0, paused = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 2500; seed++) {
		struct poke_stats stats;
		struct err e;

		scenario(seed, true);
		int r = run(seed % 8 ? 20000 : 0, &stats, &e);
		check(seed, r, &e);
		assert_true(r == 0 || r == -ETIMEDOUT);
		assert_int_equal(f.flips, r == 0);
		assert_true(!f.plan.needs_quiescence || f.pauses > 0);
		done += r == 0;
		paused += f.pauses > 0;
	}
	assert_true(done > 1500 && paused > 1000);
}

static void failures(void **state)
{
	unsigned undone = 0, ran_new = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 4000; seed++) {
		struct poke_stats stats;
		struct err e;

		scenario(seed, seed % 2);
		f.fail_at = 1 + (unsigned)(fake_live_random(&f) % 60);
		f.fail_for = seed % 32 ? 1 + (unsigned)(fake_live_random(&f) % 2) : 1000000;
		if (seed % 4 == 0)
			f.fail_state = POKE_VERIFIED; /* new code runs already */
		int r = run(5000, &stats, &e);
		check(seed, r, &e);
		assert_int_equal(r == -EUCLEAN, e.kind == ERR_ATTENTION);
		assert_true(r != -EUCLEAN || f.fail_for > 2);
		undone += r < 0;
		ran_new += r < 0 && f.new_passes > 0;
	}
	assert_true(undone > 1500 && ran_new > 100);
}

static int is_quiet(struct poke_quiesce *q, struct err *e)
{
	(void)q;
	(void)e;
	return 0;
}

/* The first site is the guest's data: written in the pause in which the others are flipped, and back in it. */
static void data_in_the_pause(void **state)
{
	unsigned undone = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 3000; seed++) {
		struct poke_stats stats;
		struct err e;

		scenario(seed, false);
		f.sites[0].data = true;
		f.quiesce.patching = is_quiet;
		if (seed % 2)
			f.fail_at = 1 + (unsigned)(fake_live_random(&f) % 30);
		f.fail_for = f.fail_at ? 1 : 0;
		if (seed % 8 == 1)
			f.fail_state = POKE_VERIFIED;
		int r = run(5000, &stats, &e);
		check(seed, r, &e);
		assert_true(r == 0 || seed % 2);
		assert_true(r < 0 || (f.pauses >= 1 && f.flips == (f.plan.n_sites > 1)));
		assert_true(r == 0 || !f.seen_new); /* nobody runs before all is decided */
		undone += r < 0;
	}
	assert_true(undone > 500);
}

static bool caught(enum live_sabotage sabotage)
{
	for (uint64_t seed = 1; seed <= 300; seed++) {
		struct poke_stats stats;
		struct err e;

		scenario(seed, false);
		f.sabotage = sabotage;
		run(0, &stats, &e);
		if (f.broken || f.broken_atomic)
			return true;
	}
	return false;
}

static void false_flips_are_caught(void **state)
{
	(void)state;
	assert_false(caught(LIVE_HONEST));
	assert_true(caught(LIVE_FLIP_HALF));
	assert_true(caught(LIVE_FLIP_UNSERIALISED));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(single_instructions),
		cmocka_unit_test(several_instructions),
		cmocka_unit_test(failures),
		cmocka_unit_test(data_in_the_pause),
		cmocka_unit_test(false_flips_are_caught),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
