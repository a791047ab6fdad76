// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The gate before an excluded range: closed at the first try that finds somebody inside, open again however the
 * transaction ends; who comes there gets a free lock, is put back before its call, or goes in.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fake/fake_poke.h"
#include "vmm/vcpu.h"

#define ENTRY	 0xffffffff81f00000u
#define GATE	 (ENTRY + 4)
#define CALL	 0xffffffff81000300u /* call ENTRY */
#define CALL_LEN 5u
#define LOCK	 0xffff888000001000u
#define STACK	 0xffffc90000000ff8u
#define LMA	 (UINT64_C(1) << 10)

static struct fake_poke p;
static struct backend_ops ops;
static struct {
	struct backend_hit_handler *handler;
	uint64_t hw[4];
	size_t n_hw;
	unsigned armed, arm_fails, trap_fails, clear_fails;
	uint64_t back; /* on the stack */
	bool no_stack;
	uint8_t code[CALL_LEN];
	uint32_t lock;
	bool taken_meanwhile; /* between the look at the lock and the exchange */
	bool paused_when_armed;
} live;

static int live_arm(struct backend *b, struct backend_hit_handler *h, struct err *e)
{
	(void)b;
	if (live.arm_fails) {
		live.arm_fails--;
		return err_set(e, ERR_FAILED, EBUSY, "", "in use");
	}
	live.handler = h;
	live.armed++;
	live.paused_when_armed = p.backend.paused;
	return 0;
}

static int live_disarm(struct backend *b, struct backend_hit_handler *h, struct err *e)
{
	(void)b;
	(void)e;
	assert_ptr_equal(h, live.handler);
	live.handler = NULL;
	return 0;
}

static int live_trap_hw(struct backend *b, struct backend_hit_handler *h, const uint64_t *gvas, size_t n,
			struct backend_barrier *ret, struct err *e)
{
	unsigned *fails = n ? &live.trap_fails : &live.clear_fails;

	(void)b;
	(void)ret;
	assert_ptr_equal(h, live.handler);
	if (*fails) {
		--*fails;
		return err_set(e, ERR_REFUSED, ENOSPC, "hw-traps", "in use");
	}
	if (n)
		memcpy(live.hw, gvas, n * sizeof(*gvas));
	live.n_hw = n;
	return 0;
}

static int live_read_virtual(struct backend *b, size_t vcpu, uint64_t gva, void *buf, size_t len,
			     struct backend_fault *fault)
{
	(void)b;
	(void)vcpu;
	(void)fault;
	if (gva == STACK && len == sizeof(live.back) && !live.no_stack)
		memcpy(buf, &live.back, len);
	else if (gva == CALL && len == CALL_LEN)
		memcpy(buf, live.code, len);
	else if (gva == LOCK && len == sizeof(live.lock))
		memcpy(buf, &live.lock, len);
	else
		return -EFAULT;
	return 0;
}

static int live_exchange_virtual(struct backend *b, size_t vcpu, uint64_t gva, uint32_t expected, uint32_t desired,
				 struct backend_fault *fault)
{
	(void)b;
	(void)vcpu;
	(void)fault;
	assert_int_equal(gva, LOCK);
	assert_int_equal(expected, 0);
	assert_int_equal(desired, 1);
	if (live.taken_meanwhile)
		live.lock = 0x101;
	if (live.lock != expected)
		return 0;
	live.lock = desired;
	return 1;
}

static const struct backend_live_ops live_ops = {
	.arm = live_arm, .disarm = live_disarm, .trap_hw = live_trap_hw, .read_virtual = live_read_virtual,
	.exchange_virtual = live_exchange_virtual,
};

static void code_is_call(uint64_t target)
{
	int32_t distance = (int32_t)(target - (CALL + CALL_LEN));

	live.code[0] = 0xe8;
	memcpy(live.code + 1, &distance, sizeof(distance));
}

static void init(unsigned busy_scans, bool running)
{
	memset(&live, 0, sizeof(live));
	live.back = CALL + CALL_LEN;
	code_is_call(ENTRY);
	fake_poke_init(&p, 2, running);
	fake_poke_site(&p, 5, 5, 1);
	fake_poke_seal(&p);
	ops = *p.backend.base.ops;
	ops.live = &live_ops;
	p.backend.base.ops = &ops;
	p.backend.caps |= BACKEND_TRAP_HW;
	p.plan.needs_quiescence = true;
	p.plan.n_exclusions = 2;
	p.plan.exclusions[0] = (struct poke_exclusion){ .start = ENTRY, .end = ENTRY + 0x100, .gate = GATE };
	p.plan.exclusions[1] = (struct poke_exclusion){ .start = ENTRY + 0x1000, .end = ENTRY + 0x1100 };
	p.busy_scans = busy_scans;
}

static int run(struct poke_stats *stats, struct err *e)
{
	*e = (struct err){ 0 };
	return poke_run(&p.backend.base, &arch_x86_64, &p.plan, &p.quiesce, &p.log, 100000, stats, e);
}

static struct vcpu_regs regs_at(uint64_t rip)
{
	struct vcpu_regs regs = { .rip = rip, .efer = LMA };

	regs.gpr[VCPU_RSP] = STACK;
	regs.gpr[VCPU_RDI] = LOCK;
	return regs;
}

static enum backend_verdict come(struct vcpu_regs *regs)
{
	struct backend_fault fault;

	return live.handler->hit(live.handler, &p.backend.base, 1, BACKEND_TRAP_KIND_HW, regs, &fault);
}

static void expect_at(const struct vcpu_regs *regs, uint64_t rip, bool left)
{
	assert_int_equal(regs->rip, rip);
	assert_int_equal(regs->gpr[VCPU_RSP], STACK + (left ? 8 : 0));
	assert_int_equal(regs->gpr[VCPU_RDI], LOCK);
}

/* Every word but a free one stays what it is, whoever else it belongs to. */
static void at_the_gate(struct fake_backend *f)
{
	static const uint32_t held[] = { 1, 3, 0x100, 0x101, 0x40000, 0x40001, UINT32_MAX };
	struct vcpu_regs regs = regs_at(GATE);

	f->on_run = NULL;
	assert_int_equal(live.n_hw, 1);
	assert_int_equal(live.hw[0], GATE);
	assert_int_equal(come(&regs), BACKEND_HIT_RESUME);
	expect_at(&regs, CALL + CALL_LEN, true);
	assert_int_equal(live.lock, 1);
	for (size_t i = 0; i < ARRAY_SIZE(held); i++) {
		live.lock = held[i];
		regs = regs_at(GATE);
		assert_int_equal(come(&regs), BACKEND_HIT_RESUME);
		expect_at(&regs, CALL, true);
		assert_int_equal(live.lock, held[i]);
	}
	live.lock = 0;
	live.taken_meanwhile = true;
	regs = regs_at(GATE);
	assert_int_equal(come(&regs), BACKEND_HIT_RESUME);
	expect_at(&regs, CALL, true);
	assert_int_equal(live.lock, 0x101);
}

/* Whom nothing can be done for goes in. */
static void gone_in(void)
{
	struct vcpu_regs regs = regs_at(GATE);

	assert_int_equal(come(&regs), BACKEND_HIT_RESUME);
	expect_at(&regs, GATE, false);
}

static void past_the_gate(struct fake_backend *f)
{
	f->on_run = NULL;
	live.lock = 1;
	code_is_call(ENTRY + 1);
	gone_in();
	code_is_call(ENTRY);
	live.code[0] = 0xe9;
	gone_in();
	live.lock = 0;
	live.no_stack = true;
	gone_in();
	assert_int_equal(live.lock, 0);
	live.no_stack = false;
	live.code[0] = 0xe8;
	struct vcpu_regs regs = regs_at(GATE);
	regs.gpr[VCPU_RDI] = LOCK + 2; /* no lock is there: put back */
	assert_int_equal(come(&regs), BACKEND_HIT_RESUME);
	assert_int_equal(regs.rip, CALL);
}

static void foreign(struct fake_backend *f)
{
	struct vcpu_regs regs = regs_at(ENTRY);

	f->on_run = NULL;
	assert_int_equal(come(&regs), BACKEND_HIT_FOREIGN);
	regs = regs_at(GATE);
	regs.cs = 0x33; /* user mode, whatever is mapped there */
	assert_int_equal(come(&regs), BACKEND_HIT_FOREIGN);
	regs = regs_at(GATE);
	regs.efer = 0;
	assert_int_equal(come(&regs), BACKEND_HIT_FOREIGN);
	assert_int_equal(live.lock, 0);
}

static void closed_and_open(void **state)
{
	static void (*const scripts[])(struct fake_backend *) = { at_the_gate, past_the_gate, foreign };
	static const unsigned came[] = { 9, 4, 0 };
	struct poke_stats stats;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
		init(3, true);
		p.backend.on_run = scripts[i];
		assert_int_equal(run(&stats, &e), 0);
		assert_null(p.broken);
		assert_null(p.backend.on_run);
		assert_true(fake_poke_holds(&p, true));
		assert_int_equal(live.armed, 1);
		assert_true(live.paused_when_armed);
		assert_null(live.handler);
		assert_int_equal(live.n_hw, 0);
		assert_int_equal(stats.retries, 3);
		assert_int_equal(stats.gated, came[i]);
	}
}

static void not_needed(void **state)
{
	struct poke_stats stats;
	struct err e;

	(void)state;
	init(0, true);
	assert_int_equal(run(&stats, &e), 0);
	assert_int_equal(live.armed, 0);
	init(1, false); /* nothing moves in a paused VM */
	assert_int_equal(run(&stats, &e), -ETIMEDOUT);
	assert_int_equal(live.armed, 0);
}

static void not_to_be_had(void **state)
{
	struct poke_stats stats;
	struct err e;

	(void)state;
	for (int why = 0; why < 4; why++) {
		init(2, true);
		if (why == 0)
			p.backend.caps &= ~(unsigned)BACKEND_TRAP_HW;
		live.arm_fails = why == 1;
		live.trap_fails = why == 2;
		if (why == 3)
			p.plan.exclusions[0].gate = 0;
		assert_int_equal(run(&stats, &e), 0);
		assert_int_equal(stats.retries, 2);
		assert_null(live.handler);
		assert_int_equal(stats.gated, 0);
	}
}

/* Given up: as it was, and the gate is open. */
static void given_up(void **state)
{
	struct poke_stats stats;
	struct err e;

	(void)state;
	init(1000000, true);
	assert_int_equal(run(&stats, &e), -ETIMEDOUT);
	assert_true(fake_poke_holds(&p, false));
	assert_int_equal(live.armed, 1);
	assert_null(live.handler);
	assert_int_equal(live.n_hw, 0);
}

static void does_not_open(void **state)
{
	struct poke_stats stats;
	struct err e;

	(void)state;
	init(1, true);
	live.clear_fails = 2;
	assert_int_equal(run(&stats, &e), 0);
	assert_null(live.handler);
	init(1, true);
	live.clear_fails = 1000;
	assert_int_equal(run(&stats, &e), -EUCLEAN);
	assert_int_equal(e.kind, ERR_ATTENTION);
	assert_true(fake_poke_holds(&p, true));
	struct vcpu_regs regs = regs_at(GATE); /* it may still be asked */
	assert_int_equal(come(&regs), BACKEND_HIT_RESUME);
	expect_at(&regs, CALL + CALL_LEN, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(closed_and_open), cmocka_unit_test(not_needed),    cmocka_unit_test(not_to_be_had),
		cmocka_unit_test(given_up),	   cmocka_unit_test(does_not_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
