// SPDX-License-Identifier: GPL-2.0-or-later
/* poke_run() in mode stopped: what it does, what it waits for and what it refuses. What holds after each run: poke_case.h. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/poke_case.h"

static void works(void **state)
{
	struct poke_stats stats;
	struct err e;
	static const int expected[] = { POKE_PAUSED, POKE_WRITTEN, POKE_VERIFIED, POKE_DONE };
	size_t seen = 0;

	(void)state;
	three_sites(3, true);
	assert_int_equal(run_with(0, &stats, &e), 0);
	check_outcome(0, true, &e);
	for (size_t i = 0; i < p.backend.n_events; i++)
		if (p.backend.events[i] >= FAKE_STATE) {
			assert_in_range(seen, 0, ARRAY_SIZE(expected) - 1);
			assert_int_equal(p.backend.events[i], FAKE_STATE + expected[seen++]);
		}
	assert_int_equal(seen, ARRAY_SIZE(expected));
	assert_int_equal(stats.barriers, 1);
	assert_int_equal(stats.forced_exits, 3);
	assert_int_equal(stats.steps, 0);
	assert_int_equal(stats.retries, 0);
	assert_true(stats.longest_pause_us <= stats.elapsed_us);
	assert_int_equal(p.scans, 1);
}

static void found_paused(void **state)
{
	struct poke_stats stats;
	struct err e;

	(void)state;
	three_sites(2, false);
	p.backend.vcpus[1].rip = p.sites[1].gva + 3; /* is walked out all the same */
	assert_int_equal(run_with(0, &stats, &e), 0);
	check_outcome(0, false, &e);
	assert_int_equal(stats.forced_exits, 0);
	assert_int_equal(stats.longest_pause_us, 0);
	assert_true(stats.steps >= 1);

	three_sites(2, false);
	p.busy_scans = 1000;
	assert_int_equal(run_with(60000000, &stats, &e), -ETIMEDOUT); /* at once: nobody moves */
	check_outcome(-ETIMEDOUT, false, &e);
	assert_int_equal(p.scans, 1);
	assert_true(stats.elapsed_us < 10000000);
	assert_non_null(strstr(e.text, "sleeper"));
	assert_non_null(strstr(e.text, "paused"));
}

static void nothing_to_do(void **state)
{
	struct poke_stats stats;
	struct err e;

	(void)state;
	fake_poke_init(&p, 2, true);
	fake_poke_seal(&p);
	assert_int_equal(run_with(0, &stats, &e), 0);
	assert_int_equal(p.backend.calls, 0);
	assert_int_equal(p.last_state, -1);
}

static void vcpu_is_stepped_out(void **state)
{
	struct poke_stats stats;
	struct err e;

	(void)state;
	three_sites(4, true);
	p.backend.vcpus[0].rip = p.sites[0].gva; /* at the start: fine where it is */
	p.backend.vcpus[2].rip = p.sites[1].gva + 6;
	p.backend.vcpus[3].rip = p.sites[1].gva + p.sites[1].len; /* behind the end: fine */
	assert_int_equal(run_with(0, &stats, &e), 0);
	check_outcome(0, true, &e);
	assert_true(stats.steps >= 1 && stats.steps <= 6);
	assert_true(p.backend.vcpus[0].rip == p.sites[0].gva);
	assert_true(p.backend.vcpus[3].rip == p.sites[1].gva + p.sites[1].len);
}

static void busy(const char *who, struct poke_stats *stats)
{
	struct err e;

	assert_int_equal(run_with(5000, stats, &e), -ETIMEDOUT);
	check_outcome(-ETIMEDOUT, true, &e);
	assert_int_equal(e.kind, ERR_TIMEOUT);
	assert_int_equal(e.error, ETIMEDOUT);
	assert_string_equal(e.rule, "busy");
	assert_non_null(strstr(e.text, who));
	assert_non_null(strstr(e.text, "tries"));
	assert_true(stats->retries >= 1 && stats->retries <= 6); /* 1 + 2 + 4 ms are more than 5 */
	assert_int_equal(stats->forced_exits, 2 * (stats->retries + 1));
	assert_int_equal(p.backend.writes, 0);
}

static void stays_busy(void **state)
{
	struct poke_stats stats;

	(void)state;
	three_sites(2, true);
	p.backend.vcpus[1].rip = p.sites[0].gva + 1;
	p.backend.vcpus[1].stuck = true;
	busy("vCPU 1 is inside site_0", &stats);
	assert_int_equal(stats.steps, 64 * (stats.retries + 1));

	three_sites(2, true);
	p.backend.vcpus[0].rip = p.sites[1].gva + 3;
	p.backend.vcpus[0].halted = true; /* a step would end its HLT */
	busy("halted", &stats);
	assert_int_equal(stats.steps, 0);

	three_sites(2, true);
	p.backend.caps = 0;
	p.backend.vcpus[0].rip = p.sites[1].gva + 3;
	busy("cannot be stepped", &stats);

	three_sites(2, true);
	p.busy_scans = 1000;
	busy("pid 42", &stats);

	three_sites(2, true);
	p.scan_error = -EBADMSG; /* lists seen in mid-change */
	busy("stacks cannot be walked", &stats);
}

static void becomes_quiet(void **state)
{
	struct poke_stats stats;
	struct err e;

	(void)state;
	three_sites(2, true);
	p.busy_scans = 3;
	assert_int_equal(run_with(10000000, &stats, &e), 0);
	check_outcome(0, true, &e);
	assert_int_equal(stats.retries, 3);
	assert_int_equal(stats.forced_exits, 8);
	assert_int_equal(p.scans, 4);
	assert_true(stats.elapsed_us >= 7000); /* 1 + 2 + 4 ms */
}

static void refused(int r, int expected, enum err_kind kind, const char *rule, const struct err *e)
{
	assert_int_equal(r, expected);
	check_outcome(r, true, e);
	assert_int_equal(e->kind, kind);
	assert_string_equal(e->rule, rule);
	assert_int_equal(p.backend.writes, 0);
}

static void refusals(void **state)
{
	struct poke_stats stats;
	struct err e;

	(void)state;
	three_sites(2, true);
	p.backend.ram[p.sites[2].gpa - FAKE_GPA] ^= 1; /* the last site: the first ones must not be written */
	fake_poke_seal(&p);
	refused(run_with(0, &stats, &e), -ESTALE, ERR_REFUSED, "old-bytes", &e);
	assert_true(e.has_addr && e.addr == p.sites[2].gva);

	three_sites(2, true);
	memcpy(&p.backend.ram[p.sites[0].gpa - FAKE_GPA], p.sites[0].new_bytes, 5); /* new, but not by us */
	fake_poke_seal(&p);
	refused(run_with(0, &stats, &e), -ESTALE, ERR_REFUSED, "old-bytes", &e);

	three_sites(2, true);
	p.sites[1].old_bytes[3] = 0x55;
	p.backend.ram[p.sites[1].gpa + 3 - FAKE_GPA] = 0xcc;
	fake_poke_seal(&p);
	refused(run_with(0, &stats, &e), -ESTALE, ERR_REFUSED, "kprobe", &e);
	assert_true(e.addr == p.sites[1].gva + 3);

	/* Data is changed by the guest, and a 0xcc in it is a number. */
	three_sites(2, true);
	p.sites[0].data = true;
	p.sites[0].old_bytes[0] = 0x55;
	p.backend.ram[p.sites[0].gpa - FAKE_GPA] = 0xcc;
	fake_poke_seal(&p);
	refused(run_with(0, &stats, &e), -ESTALE, ERR_REFUSED, "changed-by-guest", &e);

	three_sites(2, true);
	p.plan.mode = POKE_MODE_STAGED;
	refused(run_with(0, &stats, &e), -EOPNOTSUPP, ERR_REFUSED, "mode", &e);

	three_sites(2, true);
	p.scan_error = -EOPNOTSUPP;
	refused(run_with(1000000, &stats, &e), -EOPNOTSUPP, ERR_FAILED, "", &e);
	assert_int_equal(stats.retries, 0);

	three_sites(2, true);
	e = (struct err){ 0 };
	refused(poke_run(&p.backend.base, &arch_x86_64, &p.plan, NULL, &p.log, 0, &stats, &e), -EOPNOTSUPP, ERR_REFUSED,
		"quiescence", &e);
}

/* Data goes with text the guest may be about to change: then its turn comes first. */
static void guest_patches_itself(void **state)
{
	struct poke_stats stats;
	struct err e;

	(void)state;
	three_sites(2, true);
	p.patching_looks = 100;
	assert_int_equal(run_with(1000000, &stats, &e), 0);
	assert_int_equal(p.looks, 0); /* no data, no question */

	three_sites(2, true);
	p.sites[0].data = true;
	p.patching_looks = 3;
	assert_int_equal(run_with(5000000, &stats, &e), 0);
	assert_true(p.looks == 4 && stats.retries == 3 && fake_poke_holds(&p, true));

	three_sites(2, true);
	p.sites[0].data = true;
	p.patching_looks = 1000000;
	assert_int_equal(run_with(2000, &stats, &e), -ETIMEDOUT);
	assert_int_equal(e.kind, ERR_TIMEOUT);
	assert_string_equal(e.rule, "guest-poking");
	check_outcome(-ETIMEDOUT, true, &e);

	three_sites(2, true);
	p.sites[0].data = true;
	p.quiesce.patching = NULL;
	refused(run_with(0, &stats, &e), -EOPNOTSUPP, ERR_REFUSED, "guest-poking", &e);
}

/* A copy of the old bytes that the text does not show. */
static void guest_keeps_a_copy(void **state)
{
	struct poke_stats stats;
	struct err e;

	(void)state;
	three_sites(2, true);
	p.copied_moving = 3;
	assert_int_equal(run_with(5000000, &stats, &e), 0);
	assert_true(p.copied_asked == 4 && stats.retries == 3 && fake_poke_holds(&p, true));

	three_sites(2, true);
	p.copied_result = -EBUSY;
	assert_int_equal(run_with(5000000, &stats, &e), -EBUSY);
	assert_int_equal(e.kind, ERR_REFUSED);
	assert_string_equal(e.rule, "kprobe");
	assert_int_equal(p.copied_asked, 1);
	check_outcome(-EBUSY, true, &e);

	three_sites(2, true);
	p.quiesce.copied = NULL;
	assert_int_equal(run_with(0, &stats, &e), 0);
}

static void damaged_plans(void **state)
{
	struct poke_stats stats;
	struct err e;

	(void)state;
	for (int i = 0; i < 5; i++) {
		three_sites(2, true);
		if (i == 0)
			p.sites[1].len = 0;
		else if (i == 1)
			p.sites[1].len = POKE_SITE_LEN_MAX + 1;
		else if (i == 2)
			p.sites[1].split = 13;
		else if (i == 3)
			p.sites[1].gva = p.sites[0].gva + 4; /* overlap */
		else
			p.sites[2].gva = p.sites[0].gva - 8; /* not sorted */
		assert_int_equal(run_with(0, &stats, &e), -EINVAL);
		assert_int_equal(p.backend.calls, 0);
	}
	three_sites(2, true);
	p.backend.n_vcpus = 0;
	assert_int_equal(run_with(0, &stats, &e), -ERANGE);
}

static void cancelled(void **state)
{
	struct poke_stats stats;
	struct err e;

	(void)state;
	for (unsigned when = 1; when <= 4; when++) {
		three_sites(2, true);
		p.busy_scans = 2;
		p.cancel_after = when;
		assert_int_equal(run_with(10000000, &stats, &e), -ECANCELED);
		check_outcome(-ECANCELED, true, &e);
		assert_int_equal(p.backend.writes, 0);
	}
}

/* Somebody else's way to stop the VM, around the backend's. */
static struct {
	struct poke_quiesce plain;
	unsigned pauses, resumes, runs, fail_pause, fail_run;
	int fail_errno;
} brake;

static int brake_pause(struct poke_quiesce *q, struct backend_pause_hook *hook, uint64_t deadline_us, bool *ret,
		       struct err *e)
{
	(void)q;
	assert_true(deadline_us >= now_us() || deadline_us);
	if (++brake.pauses == brake.fail_pause)
		return err_set(e, ERR_TIMEOUT, ETIMEDOUT, "guest-poking", "the guest changes its text");
	int r = p.backend.base.ops->pause(&p.backend.base, hook, ret, e);
	p.backend.base.stop_asked_us = now_us();
	return r;
}

static int brake_resume(struct poke_quiesce *q, struct err *e)
{
	(void)q;
	brake.resumes++;
	return p.backend.base.ops->resume(&p.backend.base, e);
}

static int brake_let_run(struct poke_quiesce *q, uint64_t us, uint64_t deadline_us, struct err *e)
{
	(void)q;
	(void)deadline_us;
	assert_true(p.backend.paused && us);
	p.backend.base.stop_asked_us = now_us();
	return ++brake.runs == brake.fail_run ? err_set(e, ERR_FAILED, brake.fail_errno, "", "it does not run") : 0;
}

static void three_sites_braked(unsigned busy_scans)
{
	three_sites(2, true);
	p.busy_scans = busy_scans;
	memset(&brake, 0, sizeof(brake));
	p.quiesce.pause = brake_pause;
	p.quiesce.resume = brake_resume;
	p.quiesce.let_run = brake_let_run;
}

/* Stopped and let go by somebody else, who also lets the VM run between two looks. */
static void held_by_another(void **state)
{
	struct poke_stats stats;
	struct err e;

	(void)state;
	three_sites_braked(3);
	assert_int_equal(run_with(1000000, &stats, &e), 0);
	check_outcome(0, true, &e);
	assert_true(brake.pauses == 1 && brake.resumes == 1 && brake.runs == 3 && stats.retries == 3);
	three_sites_braked(0);
	brake.fail_pause = 1;
	assert_int_equal(run_with(1000000, &stats, &e), -ETIMEDOUT);
	check_outcome(-ETIMEDOUT, true, &e);
	assert_string_equal(e.rule, "guest-poking");
	assert_true(brake.resumes == 0 && p.scans == 0);
	three_sites_braked(9);
	brake.fail_run = 2;
	brake.fail_errno = EIO;
	assert_int_equal(run_with(1000000, &stats, &e), -EIO);
	check_outcome(-EIO, true, &e);
	assert_true(brake.pauses == 1 && brake.resumes == 1);
	/* Not in time: what was in the way before is the reason. */
	three_sites_braked(9);
	brake.fail_run = 2;
	brake.fail_errno = ETIMEDOUT;
	assert_int_equal(run_with(1000000, &stats, &e), -ETIMEDOUT);
	check_outcome(-ETIMEDOUT, true, &e);
	assert_string_equal(e.rule, "busy");
	assert_non_null(strstr(e.text, "sleeper"));
	three_sites_braked(9);
	p.cancel_after = 4;
	assert_int_equal(run_with(1000000, &stats, &e), -ECANCELED);
	check_outcome(-ECANCELED, true, &e);
	assert_int_equal(brake.resumes, 1);
}

static void names(void **state)
{
	(void)state;
	for (int i = 0; i < POKE_STATE_COUNT; i++)
		assert_int_equal(poke_state_from_name(poke_state_name((enum poke_state)i)), i);
	assert_int_equal(poke_state_from_name("asleep"), -EINVAL);
	assert_int_equal(poke_state_from_name(NULL), -EINVAL);
	assert_string_equal(poke_mode_name(POKE_MODE_STOPPED), "stopped");
	assert_string_equal(poke_mode_name((enum poke_mode)77), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(works),
		cmocka_unit_test(found_paused),
		cmocka_unit_test(nothing_to_do),
		cmocka_unit_test(vcpu_is_stepped_out),
		cmocka_unit_test(stays_busy),
		cmocka_unit_test(becomes_quiet),
		cmocka_unit_test(refusals),
		cmocka_unit_test(guest_patches_itself),
		cmocka_unit_test(guest_keeps_a_copy),
		cmocka_unit_test(damaged_plans),
		cmocka_unit_test(cancelled),
		cmocka_unit_test(held_by_another),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
