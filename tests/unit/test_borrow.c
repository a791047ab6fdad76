// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A borrowed context against a kernel of a dozen functions (tests/fake/fake_borrow.c): results,
 * who is let pass, time-outs, a reboot in the middle, and above all that leaving at
 * any step leaves the guest as it should be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fake/fake_borrow.h"
#include "vmm/borrow/borrow_private.h"
#include "vmm/borrow/trial.h"

#define LONG_US	 20000000u
#define SHORT_US 30000u

struct fixture {
	struct fake_borrow f;
	struct guest *g;
	struct borrow *b;
	struct err e;
};

static int begin(struct fixture *x)
{
	struct borrow_config config = {
		.backend = &x->f.base,
		.guest = x->g,
		.nonce = { x->f.nonce[0], x->f.nonce[1] },
	};

	return borrow_begin(&config, &x->b, &x->e);
}

static struct fixture *fixture_new(bool live)
{
	struct fixture *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	fake_borrow_init(&x->f, live);
	assert_int_equal(guest_probe(&x->f.image.mem, x->f.image.regs, IMAGE_CPUS, &x->g, &x->e), 0);
	return x;
}

static int setup(void **state)
{
	*state = fixture_new(false);
	return begin(*state);
}

static int setup_live(void **state)
{
	struct fixture *x = *state = fixture_new(true);

	fake_borrow_start(&x->f);
	return begin(x);
}

/* The guest goes on without us, and nothing that was done shows. */
static void check_aftermath(struct fixture *x)
{
	unsigned before = x->f.syscalls;

	x->f.never = x->f.mutex_elsewhere = false;
	for (int i = 0; i < 400; i++)
		fake_borrow_step(&x->f);
	assert_ptr_equal(x->f.broken, NULL);
	assert_true(x->f.syscalls > before + 10);
	assert_false(x->f.mutex_held);
	assert_int_equal(x->f.writes_running, 0);
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	if (x->b)
		borrow_end(x->b, NULL);
	assert_int_equal(x->f.n_traps, 0);
	assert_false(x->f.paused);
	check_aftermath(x);
	guest_free(x->g);
	free(x);
	return 0;
}

static int teardown_live(void **state)
{
	struct fixture *x = *state;

	if (x->b)
		assert_int_equal(borrow_end(TAKE_PTR(x->b), &x->e), 0);
	assert_null(x->f.handler);
	fake_borrow_stop(&x->f);
	return teardown(state);
}

static uint64_t square_root(struct fixture *x, uint64_t n)
{
	uint64_t root = 0;

	assert_int_equal(borrow_call(x->b, BORROW_INT_SQRT, &n, 1, LONG_US, &root, &x->e), 0);
	return root;
}

static void test_calls(void **state)
{
	struct fixture *x = *state;
	struct borrow_stats stats;

	for (uint64_t i = 0; i < 1000; i++)
		assert_int_equal(square_root(x, i * i + i), i);
	borrow_stats(x->b, &stats);
	assert_int_equal(stats.calls, 1000);
	assert_ptr_equal(x->f.broken, NULL);
}

static void test_arguments(void **state)
{
	struct fixture *x = *state;
	const uint64_t args[7] = { 1, 2, 3 };

	assert_int_equal(borrow_call(x->b, BORROW_INT_SQRT, args, 2, LONG_US, NULL, &x->e), -EINVAL);
	assert_int_equal(borrow_call(x->b, BORROW_TEXT_LOCK, NULL, 0, LONG_US, NULL, &x->e), -EINVAL);
	assert_int_equal(borrow_call(x->b, BORROW_TEXT_UNLOCK, NULL, 0, LONG_US, NULL, &x->e), -EINVAL);
	/* not in this kernel */
	assert_false(borrow_has(x->b, BORROW_STRLEN));
	assert_int_equal(borrow_call(x->b, BORROW_STRLEN, args, 1, LONG_US, NULL, &x->e), -EOPNOTSUPP);
	assert_int_equal(square_root(x, 81), 9);
}

static void test_wrong_nonce(void **state)
{
	struct fixture *x = *state;
	struct borrow_stats stats;
	uint64_t n = 4;

	for (int i = 0; i < 2; i++) {
		x->f.nonce[i]++;
		assert_int_equal(borrow_call(x->b, BORROW_INT_SQRT, &n, 1, SHORT_US, NULL, &x->e), -ETIMEDOUT);
		assert_string_equal(x->e.rule, "borrow-absent");
		x->f.nonce[i]--;
	}
	borrow_stats(x->b, &stats);
	assert_true(stats.foreign > 0);
	assert_int_equal(stats.calls, 0);
	assert_int_equal(square_root(x, 4), 2);
}

static void test_clobbered(void **state)
{
	struct fixture *x = *state;
	uint64_t n = 4;

	x->f.clobber = true;
	assert_int_equal(borrow_call(x->b, BORROW_INT_SQRT, &n, 1, LONG_US, NULL, &x->e), -EBADMSG);
	x->f.clobber = false;
	assert_int_equal(square_root(x, 9), 3);
}

static void test_late(void **state)
{
	struct fixture *x = *state;
	uint64_t ms = 10;

	x->f.never = true;
	assert_int_equal(borrow_start(x->b, BORROW_MSLEEP, &ms, 1, &x->e), 0);
	assert_int_equal(borrow_start(x->b, BORROW_MSLEEP, &ms, 1, &x->e), -EBUSY);
	assert_int_equal(borrow_wait(x->b, SHORT_US, NULL, &x->e), -ETIMEDOUT);
	assert_string_equal(x->e.rule, "borrow-slow");
	/* asked again, then let go; a new call has to wait for it */
	assert_int_equal(borrow_wait(x->b, SHORT_US, NULL, &x->e), -ETIMEDOUT);
	borrow_abandon(x->b);
	assert_int_equal(borrow_call(x->b, BORROW_INT_SQRT, &ms, 1, SHORT_US, NULL, &x->e), -ETIMEDOUT);
	assert_string_equal(x->e.rule, "borrow-absent");
	x->f.never = false;
	assert_int_equal(square_root(x, 100), 10);
}

static unsigned sleeps(struct fixture *x)
{
	pthread_mutex_lock(&x->f.lock);
	unsigned n = x->f.sleeps;
	pthread_mutex_unlock(&x->f.lock);
	return n;
}

static void test_text_lock(void **state)
{
	struct fixture *x = *state;
	uint64_t n = 1;

	assert_int_equal(borrow_text_lock(x->b, LONG_US, LONG_US, &x->e), 0);
	assert_true(x->f.mutex_held);
	for (int i = 0; i < 1000 && sleeps(x) < 3; i++)
		assert_int_equal(borrow_let_run(x->b, SHORT_US, &x->e), 0);
	assert_true(x->f.mutex_held && sleeps(x) >= 3);
	assert_int_equal(borrow_call(x->b, BORROW_INT_SQRT, &n, 1, LONG_US, NULL, &x->e), -EBUSY);
	assert_true(borrow_text_lock(x->b, LONG_US, LONG_US, &x->e) == -EBUSY && x->f.mutex_held);
}

static void test_text_unlock(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(borrow_text_unlock(x->b, LONG_US, &x->e), -EINVAL);
	for (unsigned i = 1; i <= 50; i++) {
		assert_int_equal(borrow_text_lock(x->b, LONG_US, LONG_US, &x->e), 0);
		assert_int_equal(borrow_text_unlock(x->b, LONG_US, &x->e), 0);
		assert_false(x->f.mutex_held);
		assert_int_equal(x->f.locks, i);
	}
}

static void test_text_lock_late(void **state)
{
	struct fixture *x = *state;

	x->f.mutex_elsewhere = true;
	assert_int_equal(borrow_text_lock(x->b, LONG_US, SHORT_US, &x->e), -ETIMEDOUT);
	assert_string_equal(x->e.rule, "guest-poking");
	/* it gets the mutex after all, and gives it back before anything else is done */
	x->f.mutex_elsewhere = false;
	assert_int_equal(square_root(x, 49), 7);
	assert_int_equal(x->f.locks, 1);
	assert_false(x->f.mutex_held);
}

static void test_text_lock_absent(void **state)
{
	struct fixture *x = *state;

	x->f.nonce[0]++;
	assert_int_equal(borrow_text_lock(x->b, SHORT_US, LONG_US, &x->e), -ETIMEDOUT);
	assert_string_equal(x->e.rule, "borrow-absent");
	x->f.nonce[0]--;
}

/* The mutex is asked, not the traps: a thread that went its way unseen does not count as holding it. */
static void test_text_held(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(borrow_text_held(x->b, &x->e), 0);
	assert_int_equal(borrow_text_lock(x->b, LONG_US, LONG_US, &x->e), 0);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(borrow_text_held(x->b, &x->e), 1);
		assert_int_equal(borrow_let_run(x->b, 1000, &x->e), 0);
	}
	x->f.n_traps = 0; /* as if no hit were reported any more */
	for (int i = 0; i < 40; i++)
		fake_borrow_step(&x->f);
	assert_int_equal(borrow_text_held(x->b, &x->e), 0);
}

/* With the mutex: waits for all tasks, and holds it before, meanwhile and afterwards. */
static void test_rcu_tasks_kept(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(borrow_text_lock(x->b, LONG_US, LONG_US, &x->e), 0);
	assert_int_equal(borrow_text_spare(x->b, &x->e), 0);
	for (unsigned i = 1; i <= 20; i++) {
		assert_int_equal(borrow_rcu_tasks(x->b, LONG_US, &x->e), 0);
		assert_int_equal(x->f.waits, i);
		assert_int_equal(borrow_text_held(x->b, &x->e), 1);
	}
	assert_int_equal(x->f.locks, 1);
	assert_int_equal(borrow_text_unlock(x->b, LONG_US, &x->e), 0);
	assert_int_equal(borrow_text_held(x->b, &x->e), 0);
}

/* Not in time: the mutex is still held, and the wait may be asked for again when it has ended. */
static void test_rcu_tasks_kept_late(void **state)
{
	struct fixture *x = *state;
	uint64_t n = 81, root = 0;

	assert_int_equal(borrow_text_lock(x->b, LONG_US, LONG_US, &x->e), 0);
	x->f.never = true;
	assert_int_equal(borrow_rcu_tasks(x->b, SHORT_US, &x->e), -ETIMEDOUT);
	x->f.never = false;
	int r = -EBUSY;
	for (int i = 0; i < 1000 && r < 0; i++) {
		assert_int_equal(borrow_let_run(x->b, 1000, &x->e), 0);
		assert_int_equal(borrow_text_held(x->b, &x->e), 1);
		r = borrow_rcu_tasks(x->b, LONG_US, &x->e);
	}
	assert_int_equal(r, 0);
	assert_int_equal(borrow_text_unlock(x->b, LONG_US, &x->e), 0);
	assert_int_equal(borrow_call(x->b, BORROW_INT_SQRT, &n, 1, LONG_US, &root, &x->e), 0);
	assert_int_equal(root, 9);
}

static void test_spare(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(borrow_text_spare(x->b, &x->e), -EINVAL);
	assert_int_equal(x->f.n_traps, 3);
	assert_int_equal(borrow_text_lock(x->b, LONG_US, LONG_US, &x->e), 0);
	assert_int_equal(borrow_text_spare(x->b, &x->e), 0);
	assert_int_equal(x->f.n_traps, BORROW_TRAPS_KEPT);
	unsigned before = sleeps(x);
	for (int i = 0; i < 1000 && sleeps(x) < before + 3; i++)
		assert_int_equal(borrow_let_run(x->b, SHORT_US, &x->e), 0);
	assert_int_equal(borrow_text_held(x->b, &x->e), 1);
	assert_int_equal(borrow_text_unlock(x->b, LONG_US, &x->e), 0);
	assert_int_equal(x->f.n_traps, 3);
	assert_int_equal(square_root(x, 36), 6);
}

struct told {
	struct backend_pause_hook hook;
	unsigned times;
};

static int tell(struct backend_pause_hook *hook, bool was_running, struct err *e)
{
	struct told *told = container_of(hook, struct told, hook);

	assert_true(was_running);
	return told->times++ ? err_set(e, ERR_FAILED, EIO, "", "told to fail") : 0;
}

/* The stop is announced to who asked for that, and does not happen when he fails. */
static void test_hook(void **state)
{
	struct fixture *x = *state;
	struct told told = { .hook.before = tell };
	struct borrow_config config = {
		.backend = &x->f.base, .guest = x->g, .nonce = { x->f.nonce[0], x->f.nonce[1] }, .hook = &told.hook,
	};
	struct borrow_stats stats;

	borrow_end(TAKE_PTR(x->b), NULL);
	assert_int_equal(borrow_begin(&config, &x->b, &x->e), 0);
	assert_int_equal(told.times, 1);
	assert_int_equal(square_root(x, 49), 7);
	borrow_stats(x->b, &stats);
	assert_true(stats.stopped_us && stats.longest_stop_us);
	borrow_end(TAKE_PTR(x->b), NULL);
	assert_int_equal(borrow_begin(&config, &x->b, &x->e), -EIO);
	assert_false(x->f.paused);
}

static void test_rcu_tasks(void **state)
{
	struct fixture *x = *state;

	assert_false(borrow_has(x->b, BORROW_SYNCHRONIZE_RCU_TASKS));
	assert_int_equal(borrow_rcu_tasks(x->b, LONG_US, &x->e), 0);
}

static void test_exec(void **state)
{
	struct fixture *x = *state;
	struct borrow_exec m;
	uint64_t result = 0;

	assert_int_equal(borrow_exec_alloc(x->b, 5000, LONG_US, &m, &x->e), 0);
	assert_int_equal(m.size, 8192);
	assert_true(m.gva == FB_MODULE);
	assert_int_equal(borrow_exec_write(x->b, &m, 0, "\x2a", 1, &x->e), 0);
	assert_int_equal(borrow_exec_write(x->b, &m, 8191, "ab", 2, &x->e), -EFAULT);
	assert_int_equal(borrow_exec_write(x->b, &m, (size_t)-1, "ab", 2, &x->e), -EFAULT);
	assert_int_equal(borrow_exec_call(x->b, &m, 0, NULL, 0, LONG_US, &result, &x->e), 0);
	assert_int_equal(result, 0x2a);
	assert_int_equal(borrow_exec_call(x->b, &m, 8192, NULL, 0, LONG_US, &result, &x->e), -EFAULT);
	assert_int_equal(borrow_exec_free(x->b, &m, LONG_US, &x->e), 0);
	assert_int_equal(x->f.module_size, 0);
	assert_int_equal(borrow_exec_free(x->b, &m, LONG_US, &x->e), -EFAULT);
}

static void test_exec_refused(void **state)
{
	struct fixture *x = *state;
	struct borrow_exec m = { .gva = IMAGE_FUNC & ~4095ull, .size = 4096 };

	assert_int_equal(borrow_exec_alloc(x->b, 0, LONG_US, &m, &x->e), -EINVAL);
	assert_int_equal(borrow_exec_alloc(x->b, BORROW_EXEC_MAX + 1, LONG_US, &m, &x->e), -EINVAL);
	assert_int_equal(borrow_exec_alloc(x->b, 0x3000, LONG_US, &m, &x->e), -ENOMEM);
	/* the kernel's own text is no payload */
	assert_int_equal(borrow_exec_free(x->b, &m, LONG_US, &x->e), -EFAULT);
	assert_int_equal(borrow_exec_write(x->b, &m, 0, "x", 1, &x->e), -EFAULT);
	/* permissions that were not changed: given back */
	x->f.odd_pages = true;
	assert_int_equal(borrow_exec_alloc(x->b, 4096, LONG_US, &m, &x->e), -EIO);
	assert_int_equal(x->f.module_size, 0);
}

static void test_reboot(void **state)
{
	struct fixture *x = *state;
	uint64_t ms = 10;

	x->f.never = true;
	assert_int_equal(borrow_start(x->b, BORROW_MSLEEP, &ms, 1, &x->e), 0);
	assert_int_equal(borrow_wait(x->b, SHORT_US, NULL, &x->e), -ETIMEDOUT);
	uint8_t *banner = guest_image_at(&x->f.image, x->f.image.banner);
	banner[20] ^= 1;
	assert_int_equal(borrow_wait(x->b, LONG_US, NULL, &x->e), -ESTALE);
	banner[20] ^= 1;
}

/* Ends the host's part after so many steps of the guest. */
static void count_down(struct fake_borrow *f)
{
	if (f->steps >= f->die_at)
		f->n_traps = 0; /* as a debugger that goes away takes them with it */
}

static void op_call(struct fixture *x)
{
	uint64_t n = 10;

	borrow_call(x->b, BORROW_INT_SQRT, &n, 1, 2000, NULL, NULL);
}

static void op_sleep(struct fixture *x)
{
	uint64_t n = 10;

	borrow_call(x->b, BORROW_MSLEEP, &n, 1, 2000, NULL, NULL);
}

static void op_lock(struct fixture *x)
{
	if (borrow_text_lock(x->b, 2000, 2000, NULL) == 0) {
		borrow_let_run(x->b, 500, NULL);
		borrow_text_unlock(x->b, 2000, NULL);
	}
}

static void op_kept(struct fixture *x)
{
	if (borrow_text_lock(x->b, 2000, 2000, NULL) == 0) {
		borrow_rcu_tasks(x->b, 2000, NULL);
		borrow_text_unlock(x->b, 2000, NULL);
	}
}

/* Every operation is left after every step of the guest: traps gone, nobody answers. */
static void test_leave_anywhere(void **state)
{
	static void (*const ops[])(struct fixture * x) = { op_call, op_sleep, op_lock, op_kept };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		for (unsigned leave_at = 1; leave_at < 50; leave_at++) {
			struct fixture *x = fixture_new(false);
			assert_int_equal(begin(x), 0);
			x->f.before = count_down;
			x->f.die_at = leave_at;
			ops[i](x);
			x->f.before = NULL;
			void *s = x;
			teardown(&s);
		}
	}
}

static void test_no_traps(void **state)
{
	struct fixture *x = *state;

	borrow_end(TAKE_PTR(x->b), NULL);
	x->f.caps &= ~(unsigned)BACKEND_TRAP_HW;
	assert_int_equal(begin(x), -EOPNOTSUPP);
	x->f.caps |= BACKEND_TRAP_HW;
	x->f.running = false;
	assert_int_equal(begin(x), -EHOSTDOWN);
	x->f.running = true;
	/* no RET in the syscall function */
	uint8_t *code = guest_image_at(&x->f.image, FB_LEAVE);
	*code = 0x90;
	assert_int_equal(begin(x), -EOPNOTSUPP);
	*code = 0xc3;
}

static char trial_file[64];
static unsigned trial_naps;

/* The guest is seen asleep for a while before it may go on. */
static void trial_watch(struct fake_borrow *f)
{
	if (access(trial_file, F_OK) == 0 && f->sleeping == 1 && ++trial_naps == 3)
		unlink(trial_file);
}

static void trial_run(struct fixture *x, unsigned row, unsigned missed)
{
	char spec[96];

	snprintf(trial_file, sizeof(trial_file), "/tmp/vmpoke-trial.%d", (int)getpid());
	snprintf(spec, sizeof(spec), "%u:%x:%s", row, missed, trial_file);
	unlink(trial_file);
	trial_naps = 0;
	x->f.before = trial_watch;
	assert_int_equal(borrow_trial_set(spec), 0);
}

/* Asleep before each row, and nothing is different afterwards. */
static void test_trial(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(borrow_trial_set("22:0:/tmp/x"), -EINVAL);
	assert_int_equal(borrow_trial_set("1:0"), -EINVAL);
	assert_int_equal(borrow_trial_rows(), 21);
	for (unsigned row = 1; row <= 10; row++) {
		bool call = row <= 2, wait = row == 6 || row == 7;
		trial_run(x, row, row == 9 ? 1u << 8 : 0);
		if (call) {
			assert_int_equal(square_root(x, 64), 8);
		} else {
			assert_int_equal(borrow_text_lock(x->b, LONG_US, LONG_US, &x->e), 0);
			for (int i = 0; row == 5 && i < 1000 && trial_naps < 3; i++)
				assert_int_equal(borrow_let_run(x->b, 1000, &x->e), 0);
			if (wait)
				assert_int_equal(borrow_rcu_tasks(x->b, LONG_US, &x->e), 0);
			assert_int_equal(borrow_text_unlock(x->b, LONG_US, &x->e), 0);
		}
		assert_int_equal(trial_naps, 3);
		assert_ptr_equal(x->f.broken, NULL);
	}
	/* The end of a call that is not reported is told. */
	trial_run(x, 15, 1u << 2);
	uint64_t n = 4;
	assert_int_equal(borrow_call(x->b, BORROW_INT_SQRT, &n, 1, LONG_US, NULL, &x->e), -ENODATA);
	assert_int_equal(trial_naps, 3);
	assert_int_equal(borrow_trial_set(NULL), 0);
	x->f.before = NULL;
	assert_int_equal(square_root(x, 49), 7);
}

#define BOTH(test)                                                   \
	cmocka_unit_test_setup_teardown(test, setup, teardown),      \
	{                                                            \
#test " live", test, setup_live, teardown_live, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(test_calls),
		BOTH(test_arguments),
		cmocka_unit_test_setup_teardown(test_wrong_nonce, setup, teardown),
		cmocka_unit_test_setup_teardown(test_clobbered, setup, teardown),
		cmocka_unit_test_setup_teardown(test_late, setup, teardown),
		BOTH(test_text_lock),
		BOTH(test_text_unlock),
		cmocka_unit_test_setup_teardown(test_text_lock_late, setup, teardown),
		cmocka_unit_test_setup_teardown(test_text_lock_absent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_text_held, setup, teardown),
		BOTH(test_rcu_tasks),
		BOTH(test_rcu_tasks_kept),
		cmocka_unit_test_setup_teardown(test_rcu_tasks_kept_late, setup, teardown),
		{ "test_spare live", test_spare, setup_live, teardown_live, NULL },
		cmocka_unit_test_setup_teardown(test_hook, setup, teardown),
		BOTH(test_exec),
		cmocka_unit_test_setup_teardown(test_exec_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reboot, setup, teardown),
		cmocka_unit_test(test_leave_anywhere),
		cmocka_unit_test_setup_teardown(test_no_traps, setup, teardown),
		cmocka_unit_test_setup_teardown(test_trial, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
