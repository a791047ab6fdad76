// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A worker killed at every kill point of every mode, with a VM that outlives it:
 * the next worker reads the journal the dead one wrote, looks at the bytes, and
 * makes them all old or all new, in the direction that the last record demands.
 * The guest then runs on without executing a byte of neither.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/fake/fake_live.h"
#include "vmm/fault.h"
#include "vmm/worker/recover.h"
#include "vmm/worker/txlog.h"

static struct fake_live *live; /* shared with the child that is killed */
static struct backend_ops ops;
static struct session s;
static char dir[64];
static int peer = -1;

static int no_event(struct backend *b, enum backend_event_kind *ret, struct err *e)
{
	(void)b;
	(void)e;
	*ret = BACKEND_EVENT_NONE;
	return 0;
}

/* Nobody is held any more, as its keeper is dead; who enters now has fetched nothing yet. */
static int resume_orphan(struct backend *b, struct err *e)
{
	(void)b;
	(void)e;
	for (size_t i = 0; i < live->n_vcpus; i++) {
		live->vcpus[i].held = false;
		live_vcpu_serialise(live, i);
	}
	live->running = true;
	return 0;
}

static void no_close(struct backend *b)
{
	(void)b;
}

static struct transaction *transaction(void)
{
	struct transaction *t = calloc(1, sizeof(*t));

	t->number = 7;
	strcpy(t->patch, "p");
	t->plan = calloc(1, sizeof(*t->plan));
	*t->plan = live->plan;
	t->plan->sites = calloc(live->plan.n_sites, sizeof(*t->plan->sites));
	memcpy(t->plan->sites, live->sites, live->plan.n_sites * sizeof(*t->plan->sites));
	t->plan->slots = NULL;
	assert_int_equal(plan_set_slots(t->plan, live->slots, live->plan.n_slots, NULL), 0);
	return t;
}

static void worker_begin(void)
{
	struct err e = { 0 };
	int pair[2];

	memset(&s, 0, sizeof(s));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	peer = pair[1];
	session_init(&s);
	s.target.vm = "web1";
	s.state_dir = dir;
	s.control = control_new(pair[0]);
	s.backend = &live->base;
	if (journal_open(dir, "web1", 0, &s.journal, &e) < 0 || session_load(&s, &e) < 0)
		fail_msg("%s", e.text);
}

static void worker_end(void)
{
	session_clear(&s);
	journal_close(s.journal);
	control_free(s.control);
	close(peer);
}

static void prepare(enum poke_mode mode, enum backend_trap trap)
{
	fake_live_init(live, 7, 3);
	ops = *live->base.ops;
	ops.event = no_event;
	ops.resume_orphan = resume_orphan;
	ops.close = no_close;
	live->base.ops = &ops;
	live->insomnia = true;
	live->plan.mode = mode;
	live->plan.trap = trap;
	fake_live_site(live, "0f1f440000", "e900001000");
	fake_live_site(live, "b811111111bb22222222", "b933333333b844444444");
	if (trap == BACKEND_TRAP_KIND_INT3)
		fake_live_site(live, "554889e54883ec10", "e9000010000f1f00");
	fake_live_run(live, 100);
}

/* The same with instructions that can only be stepped, and room for their copies. */
static void prepare_slots(enum poke_mode mode, enum backend_trap trap)
{
	prepare(mode, trap);
	fake_live_site(live, "488b0500000000", "488b0508000000");
	fake_live_slots(live, LIVE_SLOTS_MAX);
}

static void (*prepare_guest)(enum poke_mode mode, enum backend_trap trap) = prepare;

static int child(const char *point, unsigned n)
{
	struct transaction *t = transaction();
	struct poke_stats stats;
	struct txlog log;
	struct err e = { 0 };
	char spec[96];

	worker_begin();
	snprintf(spec, sizeof(spec), "%s:%u", point, n);
	int r = fault_arm(spec);
	if (r == 0)
		r = txlog_begin(&s, t, &e);
	txlog_init(&log, &s, t, NULL);
	if (r == 0)
		r = poke_run(&live->base, &arch_x86_64, t->plan, &live->quiesce, &log.ops, 5000000, &stats, &e);
	if (r == 0)
		r = txlog_end(&s, t, RESULT_APPLIED, &stats, NULL, &e);
	return r < 0 ? 3 : 0;
}

static bool killed_at(const char *point, unsigned n)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(child(point, n));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
	return WIFSIGNALED(status);
}

/* -1: what the bytes say decides. */
static int wanted(enum poke_state last)
{
	bool staged = live->plan.mode == POKE_MODE_STAGED || live->plan.mode == POKE_MODE_HELD;

	if (last == POKE_DONE || last == POKE_VERIFIED)
		return 1;
	if (last == POKE_PLANNED || last == POKE_TRAPPED || last == POKE_TAILED)
		return 0;
	/* Debug registers: nothing is written before the first head. */
	return staged && last == POKE_HEADED && live->plan.trap == BACKEND_TRAP_KIND_INT3 ? 1 : -1;
}

static void next_worker(const char *point)
{
	struct err e = { 0 };

	live->paused = live->running = false; /* whoever held it is dead */
	live->handler = NULL;
	live->n_hw = 0;
	worker_begin();
	if (!s.open) { /* before the begin record, or after the end */
		assert_true(fake_live_holds(live, s.patches.first != NULL));
		worker_end();
		return;
	}
	enum poke_state last = s.open_state;
	int want = wanted(last);
	bool stays = last == POKE_PLANNED || last == POKE_DONE || last == POKE_UNDONE;

	assert_int_equal(s.open->plan->mode, live->plan.mode);
	assert_int_equal(s.open->plan->trap, live->plan.trap);
	assert_int_equal(s.open->plan->n_slots, live->plan.n_slots);
	if (recover_session(&s, &e) < 0)
		fail_msg("%s: %s", point, e.text);
	bool new = s.patches.first != NULL;
	if (!fake_live_holds(live, new) || (want >= 0 && want != new))
		fail_msg("%s, last recorded %s: the text is not all %s", point, poke_state_name(last),
			 want < 0 ? "of one kind" : want ? "new" : "old");
	if (!fake_live_padded(live))
		fail_msg("%s, last recorded %s: the slots are not padding", point, poke_state_name(last));
	if (!stays && !live->running)
		fail_msg("%s, last recorded %s: the VM stays paused", point, poke_state_name(last));
	resume_orphan(&live->base, &e);
	fake_live_run(live, 400);
	if (live->broken)
		fail_msg("%s, last recorded %s: %s", point, poke_state_name(last), live->broken);
	worker_end();
}

static void clean_up(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s/journal", dir);
	assert_int_equal(system(command), 0);
}

static unsigned points(enum poke_mode mode, enum backend_trap trap, const char *const *list)
{
	unsigned killed = 0;

	for (size_t i = 0; list[i]; i++)
		for (unsigned n = 1; n <= 4; n++) {
			prepare_guest(mode, trap);
			bool died = killed_at(list[i], n);
			if (died)
				next_worker(list[i]);
			clean_up();
			if (!died)
				break;
			killed++;
		}
	return killed;
}

static unsigned both(enum poke_mode mode, enum backend_trap trap, const char *const *engine)
{
	return points(mode, trap, engine) + points(mode, trap, txlog_fault_points(mode));
}

static void every_mode(void **state)
{
	static const char *const some[] = { "journal-tailed", NULL };

	(void)state;
	assert_true(both(POKE_MODE_STAGED, BACKEND_TRAP_KIND_INT3, poke_fault_points_staged) >= 17 + 8);
	assert_true(both(POKE_MODE_HELD, BACKEND_TRAP_KIND_INT3, poke_fault_points_staged) >= 17 + 8);
	assert_true(both(POKE_MODE_STAGED, BACKEND_TRAP_KIND_HW, poke_fault_points_staged) >= 11 + 8);
	assert_true(both(POKE_MODE_FLIPPED, BACKEND_TRAP_KIND_INT3, poke_fault_points_flipped) >= 7 + 7);
	assert_true(both(POKE_MODE_STOPPED, BACKEND_TRAP_KIND_INT3, poke_fault_points) >= 13 + 8);
	assert_int_equal(points(POKE_MODE_HELD, BACKEND_TRAP_KIND_INT3, some), 1);
}

static void with_copies(void **state)
{
	static const char *const some[] = { "poke-copies-written", NULL };

	(void)state;
	prepare_guest = prepare_slots;
	assert_true(both(POKE_MODE_STAGED, BACKEND_TRAP_KIND_INT3, poke_fault_points_staged) >= 17 + 8);
	assert_int_equal(points(POKE_MODE_STAGED, BACKEND_TRAP_KIND_INT3, some), 1);
	prepare_guest = prepare;
}

/* Recovery is killed too, between two sites or slots: the one after it must still know which way to go. */
static void recovery_dies_at(const char *dead, const char *point, bool new)
{
	for (unsigned n = 1; n <= 2; n++) {
		int status;

		prepare_guest(new ? POKE_MODE_HELD : POKE_MODE_STAGED, BACKEND_TRAP_KIND_INT3);
		assert_true(killed_at(dead, 1));
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			struct err e = { 0 };
			char spec[64];

			live->running = live->paused = false;
			live->handler = NULL;
			snprintf(spec, sizeof(spec), "%s:%u", point, n);
			worker_begin();
			_exit(fault_arm(spec) < 0 || recover_session(&s, &e) < 0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		next_worker(point);
		assert_true(fake_live_holds(live, new));
		clean_up();
	}
}

static void recovery_dies(void **state)
{
	(void)state;
	recovery_dies_at("poke-head-recorded", "poke-site-settled", true);
	prepare_guest = prepare_slots;
	recovery_dies_at("poke-trapped", "poke-slot-settled", false);
	prepare_guest = prepare;
}

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/vmpoke-relive-XXXXXX");
	live = mmap(NULL, sizeof(*live), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return live == MAP_FAILED || !mkdtemp(dir) ? -1 : 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	munmap(live, sizeof(*live));
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_mode),
		cmocka_unit_test(with_copies),
		cmocka_unit_test(recovery_dies),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
