// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * poke_run() against a backend, a journal and a guest that fail where it hurts, one call after the other and at
 * random; and what a worker finds that comes after one that died. What holds after each run: poke_case.h.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/poke_case.h"

static void records_fail(void **state)
{
	static const int states[] = { POKE_PAUSED, POKE_WRITTEN, POKE_VERIFIED };
	struct poke_stats stats;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		three_sites(2, true);
		p.fail_state = states[i];
		assert_int_equal(run_with(0, &stats, &e), -ENOSPC);
		check_outcome(-ENOSPC, true, &e);
		assert_non_null(strstr(e.text, "journal is full"));
	}
	three_sites(2, true);
	p.fail_state = POKE_DONE; /* too late to go back: what is, is */
	assert_int_equal(run_with(0, &stats, &e), 0);
	check_outcome(0, true, &e);
	three_sites(2, true);
	p.fail_state = POKE_UNDONE;
	p.cancel_after = 1;
	assert_int_equal(run_with(0, &stats, &e), -ECANCELED);
	check_outcome(-ECANCELED, true, &e);
}

static void lost_write_is_noticed(void **state)
{
	struct poke_stats stats;
	struct err e;

	(void)state;
	for (unsigned k = 1; k <= 4; k++) {
		three_sites(2, true);
		p.backend.lose_write = k;
		assert_int_equal(run_with(0, &stats, &e), -EIO);
		check_outcome(-EIO, true, &e);
	}
}

/* A page that takes no write at all, as one the stub refuses: nothing changed, so no attention is asked for. */
static void write_refused_for_good(void **state)
{
	struct poke_stats stats;
	struct err e;

	(void)state;
	three_sites(2, true);
	p.sites[2].gpa = FAKE_GPA + FAKE_RAM_SIZE; /* cannot be read either: found before the first write */
	assert_int_equal(run_with(0, &stats, &e), -EFAULT);
	check_outcome(-EFAULT, true, &e);
	assert_int_equal(p.backend.writes, 0);

	three_sites(2, true);
	p.backend.read_only = true;
	assert_int_equal(run_with(0, &stats, &e), -EFAULT);
	check_outcome(-EFAULT, true, &e);
}

/* Every call of the backend fails once, twice, three times, for ever, with and without half a write. */
static void each_call_fails(void **state)
{
	static const unsigned spans[] = { 1, 2, 3, 1000000 };
	struct poke_stats stats;
	struct err e;
	unsigned attention = 0, failures = 0;

	(void)state;
	three_sites(2, true);
	assert_int_equal(run_with(0, &stats, &e), 0);
	unsigned calls = p.backend.calls;
	assert_in_range(calls, 10, 100);
	for (unsigned k = 1; k <= calls; k++)
		for (size_t s = 0; s < ARRAY_SIZE(spans); s++)
			for (int half = 0; half < 2; half++) {
				bool running = k % 2;
				three_sites(2, running);
				p.backend.fail_at = k;
				p.backend.fail_for = spans[s];
				p.backend.fail_writes_half = half;
				int r = run_with(0, &stats, &e);
				check_outcome(r, running, &e);
				if (spans[s] <= 2)
					assert_int_not_equal(r, -EUCLEAN);
				attention += r == -EUCLEAN;
				failures += r < 0;
			}
	assert_true(attention > 10 && failures > 100);
}

/* A callback's own -EUCLEAN must not read as "attention". */
static void foreign_errno(void **state)
{
	struct poke_stats stats;
	struct err e;

	(void)state;
	three_sites(2, true);
	p.backend.fail_at = 3;
	p.backend.fail_errno = EUCLEAN;
	assert_int_equal(run_with(0, &stats, &e), -EIO);
	check_outcome(-EIO, true, &e);
}

static void move_vcpus(struct fake_backend *f)
{
	for (size_t i = 0; i < f->n_vcpus; i++) {
		f->vcpus[i].rip = FAKE_GVA + fake_backend_random(f) % (FAKE_SITES_MAX * 0x80);
		f->vcpus[i].halted = fake_backend_random(f) % 8 == 0;
		f->vcpus[i].stuck = fake_backend_random(f) % 4 == 0;
	}
}

static void random_scenario(uint64_t seed, bool *ret_running)
{
	struct fake_backend *f = &p.backend;
	bool running = seed % 4 != 0;

	fake_poke_init(&p, 1 + seed % FAKE_VCPUS_MAX, running);
	f->seed = seed * 0x9e3779b97f4a7c15u + 1;
	size_t n = 1 + fake_backend_random(f) % 8;
	for (size_t i = 0; i < n; i++) {
		uint8_t len = (uint8_t)(1 + fake_backend_random(f) % 64);
		uint8_t split = len;
		if (fake_backend_random(f) % 3 == 0)
			split = (uint8_t)(1 + fake_backend_random(f) % len);
		uint64_t mask = fake_backend_random(f) & fake_backend_random(f);
		fake_poke_site(&p, len, split, 1 | (len < 64 ? mask & ((UINT64_C(1) << len) - 1) : mask));
	}
	fake_poke_seal(&p);
	move_vcpus(f);
	f->on_run = move_vcpus;
	f->caps = fake_backend_random(f) % 8 ? BACKEND_STEP : 0;
	if (fake_backend_random(f) % 2)
		f->fail_at = 1 + (unsigned)(fake_backend_random(f) % 120);
	f->fail_for = fake_backend_random(f) % 4 ? 1 + (unsigned)(fake_backend_random(f) % 3) : 1000000;
	f->fail_writes_half = fake_backend_random(f) % 2;
	if (fake_backend_random(f) % 8 == 0)
		f->lose_write = 1 + (unsigned)(fake_backend_random(f) % 8);
	if (fake_backend_random(f) % 8 == 0)
		p.fail_state = (int)(fake_backend_random(f) % POKE_STATE_COUNT);
	if (fake_backend_random(f) % 8 == 0)
		p.cancel_after = 1 + (unsigned)(fake_backend_random(f) % 4);
	p.busy_scans = fake_backend_random(f) % 4 ? 0 : (unsigned)(fake_backend_random(f) % 4);
	if (fake_backend_random(f) % 16 == 0)
		p.scan_error = fake_backend_random(f) % 2 ? -EBADMSG : -ENOTCONN;
	*ret_running = running;
}

static void random_interleavings(void **state)
{
	unsigned outcomes[3] = { 0 };

	(void)state;
	for (uint64_t seed = 1; seed <= 10000; seed++) {
		struct poke_stats stats;
		struct err e;
		bool running;

		random_scenario(seed, &running);
		int r = run_with(seed % 3 ? 0 : 2000, &stats, &e);
		check_outcome(r, running, &e);
		assert_true(p.backend.n_events < FAKE_EVENTS_MAX);
		assert_int_equal(stats.barriers, r == 0);
		outcomes[r == 0 ? 0 : r == -EUCLEAN ? 1 : 2]++;
	}
	assert_true(outcomes[0] > 2000 && outcomes[1] > 50 && outcomes[2] > 2000);
}

static void settles(void **state)
{
	struct err e;

	(void)state;
	for (unsigned seed = 0; seed < 2000; seed++) {
		bool to_new = seed & 1, foreign = seed % 10 == 9;

		three_sites(1, false);
		p.backend.seed += seed;
		for (size_t i = 0; i < 3; i++)
			for (uint8_t b = 0; b < p.sites[i].len; b++) {
				const struct poke_site *s = &p.sites[i];
				uint64_t gpa = b < s->split ? s->gpa + b : s->gpa_rest + b - s->split;
				if (fake_backend_random(&p.backend) & 1)
					p.backend.ram[gpa - FAKE_GPA] = s->new_bytes[b];
			}
		if (foreign)
			p.backend.ram[p.sites[2].gpa - FAKE_GPA] = (uint8_t)~p.sites[2].old_bytes[0];
		p.backend.paused = true;
		int r = poke_settle(&p.backend.base, &p.plan, to_new, &e);
		if (foreign) {
			assert_int_equal(r, -EUCLEAN);
			assert_int_equal(e.kind, ERR_ATTENTION);
			assert_int_equal(p.backend.writes, 0);
		} else {
			assert_int_equal(r, 0);
			assert_true(fake_poke_holds(&p, to_new));
		}
	}
}

static void holds(void **state)
{
	enum poke_holds h;
	uint8_t bytes[POKE_SITE_LEN_MAX];
	struct err e;

	(void)state;
	three_sites(1, false);
	assert_int_equal(poke_site_holds(&p.backend.base, &p.sites[1], &h, bytes, &e), 0);
	assert_int_equal(h, POKE_HOLDS_OLD);
	assert_memory_equal(bytes, p.sites[1].old_bytes, 12);
	p.sites[1].new_bytes[7] = (uint8_t)~p.sites[1].old_bytes[7];
	p.backend.ram[p.sites[1].gpa_rest - FAKE_GPA] = p.sites[1].new_bytes[7];
	assert_int_equal(poke_site_holds(&p.backend.base, &p.sites[1], &h, NULL, &e), 0);
	assert_int_equal(h, POKE_HOLDS_MIX);
	p.backend.ram[p.sites[1].gpa_rest - FAKE_GPA] ^= 1;
	assert_int_equal(poke_site_holds(&p.backend.base, &p.sites[1], &h, NULL, &e), 0);
	assert_int_equal(h, POKE_HOLDS_FOREIGN);
	memcpy(&p.backend.ram[p.sites[0].gpa - FAKE_GPA], p.sites[0].new_bytes, 5);
	assert_int_equal(poke_site_holds(&p.backend.base, &p.sites[0], &h, NULL, &e), 0);
	assert_int_equal(h, POKE_HOLDS_NEW);
	p.sites[0].len = 0;
	assert_int_equal(poke_site_holds(&p.backend.base, &p.sites[0], &h, NULL, &e), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_fail),
		cmocka_unit_test(lost_write_is_noticed),
		cmocka_unit_test(write_refused_for_good),
		cmocka_unit_test(each_call_fails),
		cmocka_unit_test(foreign_errno),
		cmocka_unit_test(random_interleavings),
		cmocka_unit_test(settles),
		cmocka_unit_test(holds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
