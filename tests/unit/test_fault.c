// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A process killed at every kill point of a transaction leaves guest bytes and a
 * last recorded state from which the rules of recovery reach all-old or all-new.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/fake/fake_live.h"
#include "tests/fake/fake_poke.h"
#include "vmm/fault.h"

static struct fake_poke *p; /* shared with the child that is killed */

static int setup(void **state)
{
	(void)state;
	p = mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return p == MAP_FAILED ? -1 : 0;
}

/* Two sites on two pages each, one of several instructions; somebody sleeps in it at first. */
static void prepare(void)
{
	fake_poke_init(p, 2, true);
	fake_poke_site(p, 9, 4, 1 | 1 << 5);
	fake_poke_site(p, 5, 5, 1);
	fake_poke_site(p, 8, 2, 1);
	fake_poke_seal(p);
	p->busy_scans = 1;
}

static void child(const char *point, unsigned n, bool undo)
{
	struct poke_stats stats;
	char spec[96];

	snprintf(spec, sizeof(spec), "%s:%u", point, n);
	if (fault_arm(spec) < 0)
		_exit(2);
	if (undo)
		p->fail_state = POKE_VERIFIED;
	int r = poke_run(&p->backend.base, &arch_x86_64, &p->plan, &p->quiesce, &p->log, 1000000, &stats, NULL);
	_exit(r < 0 && !undo ? 3 : 0);
}

/* True when the child was killed at the point; false when it came through. */
static bool killed_at(const char *point, unsigned n, bool undo)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		child(point, n, undo);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status)) {
		assert_int_equal(WTERMSIG(status), SIGKILL);
		return true;
	}
	assert_int_equal(WEXITSTATUS(status), 0);
	return false;
}

/* What a restarted worker does with the last state it finds. */
static void recover(const char *point)
{
	struct err e = { 0 };

	if (p->broken)
		fail_msg("%s: %s", point, p->broken);
	assert_int_equal(p->backend.writes_while_running, 0);
	if (p->last_state < POKE_PAUSED || p->last_state == POKE_PAUSED || p->last_state == POKE_UNDONE) {
		assert_true(fake_poke_holds(p, false)); /* nothing recorded: nothing written */
		return;
	}
	bool to_new = p->last_state == POKE_VERIFIED || p->last_state == POKE_DONE;
	if (to_new)
		assert_true(fake_poke_holds(p, true));
	assert_true(p->backend.paused || p->last_state != POKE_WRITTEN);
	p->backend.running = false;
	assert_int_equal(poke_settle(&p->backend.base, &p->plan, to_new, &e), 0);
	assert_true(fake_poke_holds(p, to_new));
}

static void every_point_is_passed_and_survived(void **state)
{
	size_t points = 0;

	(void)state;
	for (; poke_fault_points[points]; points++) {
		prepare();
		assert_true(killed_at(poke_fault_points[points], 1, false));
		recover(poke_fault_points[points]);
	}
	assert_true(points >= 12);
}

static void points_between_sites_and_pages(void **state)
{
	static const struct {
		const char *name;
		unsigned times;
		bool undo;
	} rows[] = {
		{ "poke-site-written", 3, false },   { "poke-page-written", 2, false }, { "poke-retry", 1, false },
		{ "poke-pause-recorded", 2, false }, { "poke-undo", 1, true },		{ "poke-site-undone", 3, true },
		{ "poke-undone", 1, true },	     { "poke-page-written", 4, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		for (unsigned n = 1; n <= rows[i].times; n++) {
			prepare();
			assert_true(killed_at(rows[i].name, n, rows[i].undo));
			recover(rows[i].name);
		}
		prepare();
		assert_false(killed_at(rows[i].name, rows[i].times + 1, rows[i].undo));
	}
}

static void recovery_survives_its_own_death(void **state)
{
	(void)state;
	for (unsigned n = 1; n <= 3; n++) {
		prepare();
		assert_true(killed_at("poke-written", 1, false));
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			char spec[64];
			snprintf(spec, sizeof(spec), "poke-site-settled:%u", n);
			if (fault_arm(spec) < 0)
				_exit(2);
			_exit(poke_settle(&p->backend.base, &p->plan, false, NULL) < 0);
		}
		int status;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		recover("poke-site-settled");
	}
}

/* --- modes that change text under running vCPUs --- */

static struct fake_live *live; /* shared as well */

static void live_prepare(enum poke_mode mode, enum backend_trap trap)
{
	fake_live_init(live, 7, 3);
	live->insomnia = true;
	live->plan.mode = mode;
	live->plan.trap = trap;
	fake_live_site(live, "0f1f440000", "e900001000");
	fake_live_site(live, "b811111111bb22222222", "b933333333b844444444");
	if (trap == BACKEND_TRAP_KIND_INT3)
		fake_live_site(live, "554889e54883ec10", "e9000010000f1f00");
	fake_live_run(live, 100);
}

static bool live_killed_at(const char *point, unsigned n)
{
	struct poke_stats stats;
	char spec[96];
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		snprintf(spec, sizeof(spec), "%s:%u", point, n);
		int r = fault_arm(spec);
		if (r >= 0)
			r = poke_run(&live->base, &arch_x86_64, &live->plan, &live->quiesce, &live->log, 5000000,
				     &stats, NULL);
		_exit(r < 0 ? 3 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
	return WIFSIGNALED(status);
}

/* The traps' owner is gone; the next one finds the VM stopped, settles it, and it runs on by itself. */
static void live_recover(const char *point)
{
	int last = live->last_state;
	bool to_new = last == POKE_HEADED || last == POKE_VERIFIED || last == POKE_DONE;
	struct err e = { 0 };

	if (last == POKE_WRITTEN)
		to_new = fake_live_holds(live, true);
	live->running = false;
	live->handler = NULL;
	live->n_hw = 0;
	if (poke_settle(&live->base, &live->plan, to_new, &e) < 0)
		fail_msg("%s: %s", point, e.text);
	assert_true(fake_live_holds(live, to_new));
	for (size_t i = 0; i < live->n_vcpus; i++) {
		live->vcpus[i].held = false;
		live_vcpu_serialise(live, i);
	}
	live->running = true;
	fake_live_run(live, 400);
	if (live->broken)
		fail_msg("%s, last recorded %s: %s", point,
			 last < 0 ? "nothing" : poke_state_name((enum poke_state)last), live->broken);
}

static void live_points(enum poke_mode mode, enum backend_trap trap, const char *const *points, unsigned *killed)
{
	for (size_t i = 0; points[i]; i++)
		for (unsigned n = 1; n <= 4; n++) {
			live_prepare(mode, trap);
			if (!live_killed_at(points[i], n))
				break;
			(*killed)++;
			live_recover(points[i]);
		}
}

static void live_modes_are_survived(void **state)
{
	unsigned killed[4] = { 0 };

	(void)state;
	live = mmap(NULL, sizeof(*live), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(live, MAP_FAILED);
	live_points(POKE_MODE_STAGED, BACKEND_TRAP_KIND_INT3, poke_fault_points_staged, &killed[0]);
	live_points(POKE_MODE_HELD, BACKEND_TRAP_KIND_INT3, poke_fault_points_staged, &killed[1]);
	live_points(POKE_MODE_STAGED, BACKEND_TRAP_KIND_HW, poke_fault_points_staged, &killed[2]);
	live_points(POKE_MODE_FLIPPED, BACKEND_TRAP_KIND_INT3, poke_fault_points_flipped, &killed[3]);
	assert_true(killed[0] >= 17 + 3 * 2); /* each once, per site and per barrier more often */
	assert_true(killed[1] >= 17 + 3 * 2);
	assert_true(killed[2] >= 11);
	assert_true(killed[3] >= 7);
	munmap(live, sizeof(*live));
}

static void specifications(void **state)
{
	(void)state;
	assert_int_equal(fault_arm(NULL), 0);
	assert_int_equal(fault_arm(""), 0);
	assert_int_equal(fault_arm("point"), -EINVAL);
	assert_int_equal(fault_arm("point:0"), -EINVAL);
	assert_int_equal(fault_arm("point:1:other"), -EINVAL);
	assert_int_equal(fault_arm("point:1:1"), -EINVAL); /* not init */
	assert_int_equal(fault_arm("@"), -EINVAL);
	fault_point("point"); /* a malformed one arms nothing */
}

static void write_spec(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* Another process dies, ours goes on, and the next specification is taken up. */
static void from_a_file(void **state)
{
	char path[] = "/tmp/vmpoke-fault-XXXXXX", spec[64];
	int status;

	(void)state;
	assert_true(close(mkstemp(path)) == 0);
	snprintf(spec, sizeof(spec), "@%s", path);
	assert_int_equal(fault_arm(spec), 0);
	for (int i = 0; i < 2; i++) {
		char text[64];
		pid_t pid = fork();

		if (pid == 0) {
			pause();
			_exit(0);
		}
		snprintf(text, sizeof(text), "point:2:%d\n", (int)pid);
		write_spec(path, text);
		fault_point("point");
		assert_int_equal(access(path, F_OK), -1);
		assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
		fault_point("other");
		fault_point("point");
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_point_is_passed_and_survived),
		cmocka_unit_test(points_between_sites_and_pages),
		cmocka_unit_test(recovery_survives_its_own_death),
		cmocka_unit_test(live_modes_are_survived),
		cmocka_unit_test(specifications),
		cmocka_unit_test(from_a_file),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
