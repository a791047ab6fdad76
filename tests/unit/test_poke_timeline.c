// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the engine puts on a timeline in each mode: its stages one after the
 * other, a span for every barrier, pause and search it counted, a mark for every trap
 * and a span for every hold. Nothing is recorded for one who did not ask.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fake/fake_live.h"
#include "vmm/poke/timeline.h"

static struct fake_live f; /* too much for a stack */

static int run(uint64_t seed, enum poke_mode mode, struct poke_stats *stats, struct timeline_record *ret)
{
	_cleanup_(timeline_free) struct timeline *line = timeline_new(4096);
	struct err e = { 0 };

	fake_live_init(&f, seed, 1 + seed % LIVE_VCPUS_MAX);
	fake_live_sites(&f, 1 + seed % (LIVE_SITES_MAX - 1), seed % 2);
	f.plan.mode = mode;
	f.fail_state = seed % 7 == 3 ? POKE_VERIFIED : -1;
	f.log.timeline = line;
	fake_live_run(&f, 60);
	int r = poke_run(&f.base, &arch_x86_64, &f.plan, &f.quiesce, &f.log, 20000, stats, &e);
	assert_int_equal(timeline_read(line, ret, &e), 0);
	return r;
}

static unsigned count(const struct timeline_record *r, enum timeline_kind kind, const char *without)
{
	unsigned n = 0;

	for (size_t i = 0; i < r->n; i++)
		n += r->events[i].kind == kind && (!without || strcmp(r->events[i].text, without) != 0);
	return n;
}

static bool has(const struct timeline_record *r, enum timeline_kind kind, const char *text)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->events[i].kind == kind && strcmp(r->events[i].text, text) == 0)
			return true;
	return false;
}

/* One after the other: no two at once. Those that took less than a microsecond come in any order. */
static void assert_stages(const struct timeline_record *r, const char *last)
{
	uint64_t end = 0, in_stages = 0, from = UINT64_MAX;

	for (size_t i = 0; i < r->n; i++) {
		const struct timeline_event *event = &r->events[i];

		if (event->kind != TIMELINE_STAGE)
			continue;
		assert_int_equal(event->vcpu, TIMELINE_ENGINE);
		in_stages += event->end_us - event->start_us;
		from = event->start_us < from ? event->start_us : from;
		end = event->end_us > end ? event->end_us : end;
	}
	assert_true(in_stages <= end - from);
	assert_true(has(r, TIMELINE_STAGE, "planned") && has(r, TIMELINE_STAGE, last));
}

static void every_mode(void **state)
{
	static const char *const wanted[][3] = {
		[POKE_MODE_STOPPED] = { "paused", "written", "verified" },
		[POKE_MODE_STAGED] = { "trapped", "headed", "verified" },
		[POKE_MODE_HELD] = { "trapped", "headed", "verified" },
		[POKE_MODE_FLIPPED] = { "written", "verified", "done" },
	};
	unsigned traps = 0, holds = 0, undone = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 600; seed++) {
		enum poke_mode mode = (enum poke_mode)(seed % 4);
		struct timeline_record r;
		struct poke_stats stats;
		int got = run(seed, mode, &stats, &r);

		assert_stages(&r, got == 0 ? "done" : "undone");
		for (size_t i = 0; got == 0 && i < ARRAY_SIZE(wanted[0]); i++)
			assert_true(has(&r, TIMELINE_STAGE, wanted[mode][i]));
		if (mode != POKE_MODE_STOPPED && got == 0)
			assert_int_equal(count(&r, TIMELINE_BARRIER, NULL) + count(&r, TIMELINE_FLIP, NULL), stats.barriers);
		assert_int_equal(count(&r, TIMELINE_PAUSE, NULL), f.pauses);
		assert_int_equal(count(&r, TIMELINE_SCAN, "clear"), stats.retries + (got == -ETIMEDOUT));
		assert_true(count(&r, TIMELINE_TRAP, "late: what is there now") >= stats.traps);
		assert_int_equal(count(&r, TIMELINE_HOLD, NULL), stats.held);
		assert_int_equal(r.lost, 0);
		traps += stats.traps;
		holds += stats.held;
		undone += got < 0;
		timeline_record_clear(&r);
	}
	assert_true(traps > 500 && holds > 100 && undone > 20);
}

/* As a backend may: who is held goes on without being asked again. */
static int disarm_unasked(struct backend *b, struct backend_hit_handler *h, struct err *e)
{
	(void)b;
	(void)h;
	(void)e;
	for (size_t i = 0; i < f.n_vcpus; i++)
		f.vcpus[i].held = false;
	f.handler = NULL;
	return 0;
}

static void holds_that_nobody_asks_about(void **state)
{
	static struct backend_live_ops live;
	static struct backend_ops ops;
	unsigned holds = 0;

	(void)state;
	for (uint64_t seed = 2; seed <= 402; seed += 4) {
		_cleanup_(timeline_free) struct timeline *line = timeline_new(4096);
		struct timeline_record r;
		struct poke_stats stats;

		fake_live_init(&f, seed, 6);
		fake_live_sites(&f, 6, false);
		live = *f.base.ops->live;
		ops = *f.base.ops;
		live.disarm = disarm_unasked;
		ops.live = &live;
		f.base.ops = &ops;
		f.plan.mode = POKE_MODE_HELD;
		f.log.timeline = line;
		fake_live_run(&f, 60);
		assert_int_equal(poke_run(&f.base, &arch_x86_64, &f.plan, &f.quiesce, &f.log, 20000, &stats, NULL), 0);
		assert_int_equal(timeline_read(line, &r, NULL), 0);
		assert_int_equal(count(&r, TIMELINE_HOLD, NULL), stats.held);
		holds += stats.held;
		timeline_record_clear(&r);
	}
	assert_true(holds > 100);
}

static void nobody_asked(void **state)
{
	struct poke_stats stats;

	(void)state;
	for (int mode = 0; mode < 4; mode++) {
		fake_live_init(&f, 5, 3);
		fake_live_sites(&f, 4, false);
		f.plan.mode = (enum poke_mode)mode;
		assert_int_equal(poke_run(&f.base, &arch_x86_64, &f.plan, &f.quiesce, &f.log, 20000, &stats, NULL), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_mode),
		cmocka_unit_test(holds_that_nobody_asks_about),
		cmocka_unit_test(nobody_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
