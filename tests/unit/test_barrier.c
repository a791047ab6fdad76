// SPDX-License-Identifier: GPL-2.0-or-later
/* Barriers are paid per transaction, not per site: counted for 1, 100 and all the sites a plan may have. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/util.h"
#include "vmm/poke/plan.h"

#define GPA   0x1000000u
#define VCPUS 4

/* Only counts; guests that execute are in fake_live. */
struct counting {
	struct backend base;
	uint8_t *ram;
	unsigned barriers, flips, arms, disarms;
	size_t pages;
	bool guest_mode; /* every vCPU is in it */
};

static struct counting c;

static int info(struct backend *b, struct backend_info *ret, struct err *e)
{
	(void)b;
	(void)e;
	*ret = (struct backend_info){ .caps = BACKEND_NONSTOP | BACKEND_REMAP | BACKEND_TRAP_INT3,
				      .vcpus = VCPUS,
				      .state = BACKEND_RUNNING };
	return 0;
}

static int read_ram(struct backend *b, uint64_t gpa, void *buf, size_t len, struct err *e)
{
	(void)b;
	(void)e;
	memcpy(buf, c.ram + (gpa - GPA), len);
	return 0;
}

static int write_ram(struct backend *b, uint64_t gpa, const void *buf, size_t len, struct err *e)
{
	(void)b;
	(void)e;
	memcpy(c.ram + (gpa - GPA), buf, len);
	return 0;
}

static int arm(struct backend *b, struct backend_hit_handler *h, struct err *e)
{
	(void)b;
	(void)h;
	(void)e;
	c.arms++;
	return 0;
}

static int disarm(struct backend *b, struct backend_hit_handler *h, struct err *e)
{
	(void)b;
	(void)h;
	(void)e;
	c.disarms++;
	return 0;
}

static void count(struct backend_barrier *ret)
{
	*ret = (struct backend_barrier){ .kicked = c.guest_mode ? VCPUS : 0,
					 .already_out = c.guest_mode ? 0 : VCPUS,
					 .waited_us = 7 };
}

static int barrier(struct backend *b, const uint64_t *gpas, size_t n, struct backend_barrier *ret, struct err *e)
{
	(void)b;
	(void)e;
	for (size_t i = 0; i < n; i++)
		assert_true(gpas[i] % 4096 == 0 && (i == 0 || gpas[i] > gpas[i - 1]));
	c.barriers++;
	c.pages = n;
	count(ret);
	return 0;
}

static int flip(struct backend *b, const struct backend_flip *flips, size_t n, struct backend_barrier *ret,
		struct err *e)
{
	for (size_t i = 0; i < n; i++)
		write_ram(b, flips[i].gpa, flips[i].bytes, flips[i].len, e);
	c.flips++;
	count(ret);
	return 0;
}

static int release(struct backend *b, struct err *e)
{
	(void)b;
	(void)e;
	return 0;
}

static const struct backend_live_ops live = {
	.arm = arm, .disarm = disarm, .write = write_ram, .barrier = barrier, .flip = flip, .release = release
};
static const struct backend_ops ops = { .name = "counting", .live = &live, .info = info, .read = read_ram };

static int log_state(struct poke_log *log, enum poke_state state, bool was_running, struct err *e)
{
	(void)log;
	(void)state;
	(void)was_running;
	(void)e;
	return 0;
}

/* n sites, 32 bytes apart. */
static struct poke_plan *plan_of(size_t n, const char *new_hex)
{
	struct plan_want *wants = calloc(n, sizeof(*wants));
	struct poke_plan *p = NULL;
	struct err e;

	assert_non_null(wants);
	memset(&c, 0, sizeof(c));
	c.base.ops = &ops;
	c.ram = malloc(n * 32 + 64);
	assert_non_null(c.ram);
	memset(c.ram, 0x90, n * 32 + 64);
	for (size_t i = 0; i < n; i++) {
		struct plan_want *w = &wants[i];
		size_t at = i * 32 + 8;

		*w = (struct plan_want){ .gva = 0xffffffff81000000u + at, .gpa = GPA + at, .new_is_code = true };
		hex_decode("e800001000909090", c.ram + at, 8);
		memcpy(w->present, c.ram + at, 5);
		w->present_len = 5;
		w->len = w->split = (uint8_t)hex_decode(new_hex, w->new_bytes, sizeof(w->new_bytes));
	}
	assert_int_equal(
		plan_build(&arch_x86_64, BACKEND_NONSTOP | BACKEND_REMAP | BACKEND_TRAP_INT3, wants, n, &p, &e), 0);
	free(wants);
	return p;
}

static void exits(size_t n, enum poke_mode mode, const char *new_hex, unsigned expected)
{
	struct poke_log log = { .state = log_state };
	struct poke_stats stats;
	struct err e = { 0 };

	for (int in_guest = 0; in_guest < 2; in_guest++) {
		_cleanup_(plan_free) struct poke_plan *p = plan_of(n, new_hex);

		c.guest_mode = in_guest;
		assert_int_equal(plan_set_mode(p, mode, &e), 0);
		assert_int_equal(poke_run(&c.base, &arch_x86_64, p, NULL, &log, 0, &stats, &e), 0);
		assert_int_equal(stats.barriers, expected);
		assert_int_equal(c.barriers + c.flips, expected);
		assert_int_equal(stats.kicked, in_guest ? expected * VCPUS : 0);
		assert_int_equal(stats.forced_exits, stats.kicked);
		assert_int_equal(stats.already_out, in_guest ? 0 : expected * VCPUS);
		assert_int_equal(stats.waited_us, expected * 7);
		assert_int_equal(c.arms, mode != POKE_MODE_FLIPPED);
		assert_int_equal(c.disarms, c.arms);
		assert_true(mode == POKE_MODE_FLIPPED || c.pages == (n * 32 + 4095) / 4096);
		for (size_t i = 0; i < p->n_sites; i++)
			assert_memory_equal(c.ram + (p->sites[i].gpa - GPA), p->sites[i].new_bytes, p->sites[i].len);
		free(c.ram);
	}
}

static void forced_exits(void **state)
{
	static const size_t sizes[] = { 1, 100, 10000, POKE_SITES_MAX };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		exits(sizes[i], POKE_MODE_FLIPPED, "e900002000", 1);
		exits(sizes[i], POKE_MODE_STAGED, "e900002000", 3);
		exits(sizes[i], POKE_MODE_HELD, "e900002000", 3);
	}
}

/* Only first bytes differ: the stage of the tails has nothing to do and is left out. */
static void stage_without_work(void **state)
{
	(void)state;
	exits(100, POKE_MODE_STAGED, "e900001000", 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forced_exits),
		cmocka_unit_test(stage_without_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
