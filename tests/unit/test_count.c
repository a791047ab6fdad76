// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Counting hits: the cap on hits per second; the way that stops the VM for each, on a
 * scripted stub; the way that does not, on a scripted backend and on this machine's KVM
 * with guests that know how often they called.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/kvm_guest.h"
#include "vmm/poke/count.h"
#include "vmm/vcpu.h"

#define PLACE 0xffffffff81000010ull
#define NOP5  { 0x0f, 0x1f, 0x44, 0x00, 0x00 }

/* --- the cap --- */

static void test_rate(void **state)
{
	struct count_rate rate = { .max = 1000, .since_us = 1000000 };

	(void)state;
	/* As many as allowed, evenly: never. */
	for (uint64_t i = 1; i <= 5000; i++)
		assert_false(count_rate_passed(&rate, i, 1000000 + i * 1000));
	/* A quarter of a second's worth at once is let pass, one more is not. */
	rate = (struct count_rate){ .max = 1000, .since_us = 1000000 };
	assert_false(count_rate_passed(&rate, 250, 1000001));
	assert_true(count_rate_passed(&rate, 251, 1000002));
	/* Looked at late: judged by the time that passed. */
	rate = (struct count_rate){ .max = 1000, .since_us = 1000000 };
	assert_false(count_rate_passed(&rate, 2000, 3000000));
	assert_true(count_rate_passed(&rate, 4100, 5000000));
	/* A low cap still lets two come together. */
	rate = (struct count_rate){ .max = 1, .since_us = 0 };
	assert_false(count_rate_passed(&rate, 2, 10));
	assert_true(count_rate_passed(&rate, 3, 20));
}

/* --- a stub: each run() ends as the script says --- */

enum step { HIT, BUSY_HIT, OTHER_STOP, QUIET, FAIL };

static struct stub {
	struct backend base;
	unsigned caps;
	const enum step *script;
	size_t at, n;
	bool running, paused, trapped, found_paused, step_busy;
	unsigned steps, runs, wrong, resume_fails;
} stub;

static int stub_info(struct backend *b, struct backend_info *ret, struct err *e)
{
	(void)b;
	(void)e;
	*ret = (struct backend_info){ .caps = stub.caps, .vcpus = 2, .state = BACKEND_RUNNING };
	return 0;
}

static int stub_pause(struct backend *b, struct backend_pause_hook *hook, bool *ret, struct err *e)
{
	(void)b;
	(void)hook;
	(void)e;
	stub.wrong += stub.paused;
	stub.paused = true;
	stub.running = false;
	*ret = !stub.found_paused;
	return 0;
}

static int stub_resume(struct backend *b, struct err *e)
{
	(void)b;
	if (stub.resume_fails) {
		stub.resume_fails--;
		return err_set(e, ERR_FAILED, EIO, "", "no");
	}
	stub.wrong += !stub.paused;
	stub.paused = false;
	stub.running = !stub.found_paused;
	return 0;
}

static int stub_trap(struct backend *b, enum backend_trap kind, uint64_t gva, struct err *e)
{
	(void)b;
	(void)e;
	stub.wrong += !stub.paused || kind != BACKEND_TRAP_KIND_HW || gva != PLACE;
	stub.trapped = !stub.trapped;
	return 0;
}

static int stub_run(struct backend *b, uint64_t timeout_us, struct backend_stop *ret, struct err *e)
{
	enum step step = stub.at < stub.n ? stub.script[stub.at] : QUIET;

	(void)b;
	stub.wrong += !stub.trapped || !stub.paused;
	stub.runs++;
	stub.at++;
	stub.step_busy = step == BUSY_HIT;
	*ret = (struct backend_stop){ .vcpu = 1, .trap = step != OTHER_STOP, .rip = PLACE };
	if (step == FAIL)
		return err_set(e, ERR_INACTIVE, ENOTCONN, "", "gone");
	if (step != QUIET)
		return 0;
	usleep((useconds_t)(timeout_us < 20000 ? timeout_us : 20000));
	return err_set(e, ERR_TIMEOUT, ETIMEDOUT, "", "no trap");
}

static int stub_step(struct backend *b, size_t vcpu, struct err *e)
{
	(void)b;
	stub.wrong += vcpu != 1;
	stub.steps++;
	return stub.step_busy ? err_set(e, ERR_TIMEOUT, EBUSY, "", "event first") : 0;
}

static const struct backend_ops stub_ops = {
	.name = "stub", .info = stub_info, .pause = stub_pause, .resume = stub_resume, .trap_set = stub_trap,
	.trap_clear = stub_trap, .run = stub_run, .step = stub_step,
};

struct watch {
	struct count_watch ops;
	uint64_t end_at; /* hits */
	unsigned ticks;
};

static bool watch_tick(struct count_watch *w, const struct count_figures *now)
{
	struct watch *me = container_of(w, struct watch, ops);

	me->ticks++;
	return now->hits >= me->end_at;
}

#define PATIENCE_US 60000000 /* it ends before, by what the script does */
static uint64_t duration_us = PATIENCE_US;

static int stub_count(const enum step *script, size_t n, struct watch *w, unsigned rate, struct count_figures *f,
		      struct err *e)
{
	const struct count_request request = {
		.gva = PLACE, .insn = NOP5, .insn_len = 5, .duration_us = duration_us, .max_rate = rate,
	};

	w->ops.tick = watch_tick;
	stub.base.ops = &stub_ops;
	stub.script = script;
	stub.n = n;
	stub.running = true;
	*e = (struct err){ 0 };
	return poke_count(&stub.base, &arch_x86_64, &request, &w->ops, f, e);
}

static int stub_setup(void **state)
{
	(void)state;
	stub = (struct stub){ .caps = BACKEND_TRAP_HW | BACKEND_STEP };
	return 0;
}

static void stub_is_as_found(void)
{
	assert_int_equal(stub.wrong, 0);
	assert_false(stub.trapped);
	assert_false(stub.paused);
	assert_int_equal(stub.running, !stub.found_paused);
}

static void test_stopped(void **state)
{
	static const enum step script[] = { HIT, QUIET, HIT, BUSY_HIT, HIT };
	struct watch w = { .end_at = 3 };
	struct count_figures f;
	struct err e;

	(void)state;
	assert_int_equal(stub_count(script, ARRAY_SIZE(script), &w, 1000, &f, &e), 0);
	assert_int_equal(f.hits, 3); /* the one that was interrupted first is counted when it comes again */
	assert_int_equal(f.end, COUNT_END_ASKED);
	assert_int_equal(stub.steps, 4);
	assert_int_equal(stub.runs, 5);
	assert_int_equal(f.stops, 5);
	assert_true(f.longest_us <= f.stopped_us);
	stub_is_as_found();
	stub_setup(NULL);
	duration_us = 50000;
	assert_int_equal(stub_count(NULL, 0, &w, 1000, &f, &e), 0);
	duration_us = PATIENCE_US;
	assert_int_equal(f.hits, 0);
	assert_int_equal(f.end, COUNT_END_TIME);
	assert_true(f.elapsed_us >= 50000);
	stub_is_as_found();
}

static void test_stopped_ends(void **state)
{
	static const enum step storm[] = { HIT, HIT, HIT, HIT, HIT, HIT }, other[] = { HIT, OTHER_STOP, HIT },
			       gone[] = { HIT, FAIL };
	struct watch w = { .end_at = 2 }, patient = { .end_at = 100 };
	struct count_figures f;
	struct err e;

	(void)state;
	assert_int_equal(stub_count(storm, ARRAY_SIZE(storm), &w, 1000, &f, &e), 0);
	assert_int_equal(f.end, COUNT_END_ASKED);
	assert_int_equal(f.hits, 2);
	stub_setup(NULL);
	assert_int_equal(stub_count(storm, ARRAY_SIZE(storm), &patient, 12, &f, &e), 0);
	assert_int_equal(f.end, COUNT_END_RATE);
	assert_int_equal(f.hits, 4);
	stub_setup(NULL);
	assert_int_equal(stub_count(other, ARRAY_SIZE(other), &patient, 1000, &f, &e), 0);
	assert_int_equal(f.end, COUNT_END_STOPPED);
	assert_int_equal(f.hits, 1);
	stub_is_as_found();
	stub_setup(NULL);
	assert_int_equal(stub_count(gone, ARRAY_SIZE(gone), &patient, 1000, &f, &e), -ENOTCONN);
	assert_int_equal(e.kind, ERR_INACTIVE);
	assert_int_equal(f.hits, 1);
	stub_is_as_found();
}

static void test_stopped_refuses(void **state)
{
	static const enum step script[] = { HIT };
	struct watch w = { .end_at = 100 };
	struct count_figures f;
	struct err e;

	(void)state;
	stub.caps = BACKEND_STEP;
	assert_int_equal(stub_count(script, 1, &w, 0, &f, &e), -EOPNOTSUPP);
	assert_string_equal(e.rule, "trap");
	stub.caps = BACKEND_TRAP_HW;
	assert_int_equal(stub_count(script, 1, &w, 0, &f, &e), -EOPNOTSUPP);
	stub.caps |= BACKEND_STEP;
	stub.found_paused = true;
	assert_int_equal(stub_count(script, 1, &w, 0, &f, &e), -EHOSTDOWN);
	assert_int_equal(stub.runs, 0);
	stub_is_as_found();
	stub_setup(NULL);
	w.end_at = 1;
	stub.resume_fails = 2; /* transient */
	assert_int_equal(stub_count(script, 1, &w, 0, &f, &e), 0);
	stub_is_as_found();
	stub_setup(NULL);
	stub.resume_fails = 3;
	assert_int_equal(stub_count(script, 1, &w, 0, &f, &e), -EUCLEAN);
	assert_int_equal(e.kind, ERR_ATTENTION);
}

/* --- a backend that answers traps while vCPUs run --- */

static struct live {
	struct backend base;
	struct backend_hit_handler *handler;
	uint64_t hw;
	size_t n_hw;
	uint8_t text[8];
	unsigned disarm_fails;
} live;

static int live_info(struct backend *b, struct backend_info *ret, struct err *e)
{
	(void)b;
	(void)e;
	*ret = (struct backend_info){ .caps = BACKEND_TRAP_HW | BACKEND_NONSTOP, .vcpus = 2 };
	return 0;
}

static int live_arm(struct backend *b, struct backend_hit_handler *h, struct err *e)
{
	(void)b;
	(void)e;
	live.handler = h;
	return 0;
}

static int live_disarm(struct backend *b, struct backend_hit_handler *h, struct err *e)
{
	(void)b;
	assert_ptr_equal(h, live.handler);
	if (live.disarm_fails) {
		live.disarm_fails--;
		return err_set(e, ERR_TIMEOUT, ETIMEDOUT, "", "stuck");
	}
	live.handler = NULL;
	return 0;
}

static int live_trap_hw(struct backend *b, struct backend_hit_handler *h, const uint64_t *gvas, size_t n,
			struct backend_barrier *ret, struct err *e)
{
	(void)b;
	(void)e;
	assert_ptr_equal(h, live.handler);
	assert_true(n <= 1);
	*ret = (struct backend_barrier){ 0 };
	live.n_hw = n;
	live.hw = n ? gvas[0] : 0;
	return 0;
}

static int live_read_virtual(struct backend *b, size_t vcpu, uint64_t gva, void *buf, size_t len,
			     struct backend_fault *fault)
{
	(void)b;
	(void)vcpu;
	(void)fault;
	if (gva != PLACE || len > sizeof(live.text))
		return -EFAULT;
	memcpy(buf, live.text, len);
	return 0;
}

static const struct backend_live_ops live_ops = {
	.arm = live_arm, .disarm = live_disarm, .trap_hw = live_trap_hw, .read_virtual = live_read_virtual,
};
static const struct backend_ops live_backend = { .name = "live", .live = &live_ops, .info = live_info };

struct hits {
	struct count_watch ops;
	unsigned ticks;
	void (*script)(void);
};

static bool hits_tick(struct count_watch *w, const struct count_figures *now)
{
	struct hits *me = container_of(w, struct hits, ops);

	(void)now;
	if (me->ticks++ == 0)
		me->script();
	return me->ticks > 1;
}

static int live_count(const uint8_t *insn, size_t len, void (*script)(void), struct count_figures *f, struct err *e)
{
	struct hits w = { .ops.tick = hits_tick, .script = script };
	struct count_request request = { .gva = PLACE, .insn_len = (uint8_t)len, .duration_us = 5000000 };

	memcpy(request.insn, insn, len);
	memcpy(live.text, insn, len);
	live.base.ops = &live_backend;
	*e = (struct err){ 0 };
	return poke_count(&live.base, &arch_x86_64, &request, &w.ops, f, e);
}

static enum backend_verdict hit_at(uint64_t rip, unsigned cpl, enum backend_trap kind, struct vcpu_regs *regs)
{
	struct backend_fault fault = { 0 };

	*regs = (struct vcpu_regs){ .rip = rip, .efer = 1 << 10, .cs = (uint16_t)(0x10 | cpl) };
	return live.handler->hit(live.handler, &live.base, 1, kind, regs, &fault);
}

static void by_hand(void)
{
	struct vcpu_regs regs;

	assert_int_equal(live.hw, PLACE);
	assert_int_equal(hit_at(PLACE, 0, BACKEND_TRAP_KIND_HW, &regs), BACKEND_HIT_RESUME);
	assert_true(regs.rip == PLACE + 5);
	/* The guest has changed it meanwhile: counted, and left to the CPU. */
	live.text[0] = 0xe8;
	assert_int_equal(hit_at(PLACE, 0, BACKEND_TRAP_KIND_HW, &regs), BACKEND_HIT_RESUME);
	assert_true(regs.rip == PLACE);
	/* Not ours: whoever else is armed is asked. */
	assert_int_equal(hit_at(PLACE + 8, 0, BACKEND_TRAP_KIND_HW, &regs), BACKEND_HIT_FOREIGN);
	assert_int_equal(hit_at(PLACE, 0, BACKEND_TRAP_KIND_INT3, &regs), BACKEND_HIT_FOREIGN);
	assert_int_equal(hit_at(PLACE, 3, BACKEND_TRAP_KIND_HW, &regs), BACKEND_HIT_FOREIGN);
}

static void not_by_hand(void)
{
	struct vcpu_regs regs;

	for (int i = 0; i < 3; i++) {
		assert_int_equal(hit_at(PLACE, 0, BACKEND_TRAP_KIND_HW, &regs), BACKEND_HIT_RESUME);
		assert_true(regs.rip == PLACE);
	}
}

static void nobody(void)
{
}

static void storm(void)
{
	struct vcpu_regs regs;

	for (int i = 0; i < COUNT_RATE_LIVE; i++)
		hit_at(PLACE, 0, BACKEND_TRAP_KIND_HW, &regs);
}

static int live_setup(void **state)
{
	(void)state;
	live = (struct live){ 0 };
	return 0;
}

static void test_live(void **state)
{
	static const uint8_t nop5[] = NOP5, inc[] = { 0x48, 0xff, 0x43, 0x08 };
	struct count_figures f;
	struct err e;

	(void)state;
	assert_int_equal(live_count(nop5, sizeof(nop5), by_hand, &f, &e), 0);
	assert_int_equal(f.hits, 2);
	assert_int_equal(f.end, COUNT_END_ASKED);
	assert_int_equal(f.stops, 0);
	assert_int_equal(live_count(inc, sizeof(inc), not_by_hand, &f, &e), 0);
	assert_int_equal(f.hits, 3);
	assert_null(live.handler);
	assert_int_equal(live.n_hw, 0);
	live.disarm_fails = 2;
	assert_int_equal(live_count(nop5, sizeof(nop5), nobody, &f, &e), 0);
}

static void test_live_storm(void **state)
{
	static const uint8_t nop5[] = NOP5;
	struct count_figures f;
	struct err e;

	(void)state;
	assert_int_equal(live_count(nop5, sizeof(nop5), storm, &f, &e), 0);
	assert_int_equal(f.end, COUNT_END_RATE);
	assert_int_equal(f.hits, COUNT_RATE_LIVE);
	assert_null(live.handler);
}

static void test_live_stuck(void **state)
{
	static const uint8_t nop5[] = NOP5;
	struct count_figures f;
	struct vcpu_regs regs;
	struct err e;

	(void)state;
	live.disarm_fails = 100;
	assert_int_equal(live_count(nop5, sizeof(nop5), storm, &f, &e), -EUCLEAN);
	assert_int_equal(e.kind, ERR_ATTENTION);
	/* A late vCPU still gets an answer. */
	assert_int_equal(hit_at(PLACE, 0, BACKEND_TRAP_KIND_HW, &regs), BACKEND_HIT_RESUME);
}

/* --- this machine's KVM --- */

#define FUNCTION 0x101000ull
#define RESULTS	 0x200000ull /* per vCPU 64 bytes: -, u64 calls made, u64 calls to make */
#define INCREASE (GUEST_CODE + 0x2e)
#define CALLS	 500u
#define VCPUS	 2u

/*
 * rbx = RESULTS + 64 * index, a stack; wait: mov rcx, [rbx+16]; test rcx, rcx; jz wait;
 * again: call FUNCTION; inc qword [rbx+8]; dec rcx; jnz again; mov [rbx+16], rcx; jmp wait
 */
static const uint8_t caller[] = {
	0xfb, 0x48, 0x89, 0xfb, 0x48, 0xc1, 0xe3, 0x06, 0x48, 0x81, 0xc3, 0x00, 0x00, 0x20, 0x00,
	0x48, 0x89, 0xfc, 0x48, 0xff, 0xc4, 0x48, 0xc1, 0xe4, 0x0c, 0x48, 0x81, 0xc4, 0x00, 0x00, 0x30, 0x00, /* 0x20 */
	0x48, 0x8b, 0x4b, 0x10, 0x48, 0x85, 0xc9, 0x74, 0xf7, 0xe8, 0xd2, 0x0f, 0x00, 0x00, /* 0x2e */
	0x48, 0xff, 0x43, 0x08, 0x48, 0xff, 0xc9, 0x75, 0xf2, 0x48, 0x89, 0x4b, 0x10, 0xeb, 0xe3,
};
static const uint8_t function[] = { 0xb8, 0x01, 0x00, 0x00, 0x00, 0xc3 };

static struct machine *machine;

struct callers {
	struct count_watch ops;
	bool begun;
};

static bool callers_tick(struct count_watch *w, const struct count_figures *now)
{
	struct callers *me = container_of(w, struct callers, ops);
	struct backend *b = machine_backend(machine);
	uint64_t calls = CALLS, made = 0, sum = 0;

	(void)now;
	for (uint64_t i = 0; i < VCPUS; i++) {
		if (!me->begun)
			b->ops->write(b, RESULTS + 64 * i + 16, &calls, sizeof(calls), NULL);
		b->ops->read(b, RESULTS + 64 * i + 8, &made, sizeof(made), NULL);
		sum += made;
	}
	me->begun = true;
	return sum >= (uint64_t)VCPUS * CALLS;
}

/* As often as the guest has counted itself. */
static void guest_counts(uint64_t gva, const uint8_t *insn, size_t len)
{
	struct callers w = { .ops.tick = callers_tick };
	struct count_request request = { .gva = gva, .insn_len = (uint8_t)len, .duration_us = 60000000, .max_rate = 1000000 };
	struct count_figures f = { 0 };
	struct err e = { 0 };

	if (guest_missing()) {
		print_message("skipped: %s\n", guest_missing());
		skip();
	}
	memcpy(request.insn, insn, len);
	assert_int_equal(guest_create(caller, sizeof(caller), VCPUS, NULL, &machine, &e), 0);
	struct backend *b = machine_backend(machine);
	assert_int_equal(b->ops->write(b, FUNCTION, function, sizeof(function), NULL), 0);
	assert_int_equal(machine_start(machine, NULL), 0);
	int r = poke_count(b, &arch_x86_64, &request, &w.ops, &f, &e);
	machine_destroy(machine);
	if (r == -EOPNOTSUPP) {
		print_message("skipped: %s\n", e.text);
		skip();
	}
	assert_int_equal(r, 0);
	assert_int_equal(f.hits, VCPUS * CALLS);
	assert_int_equal(f.end, COUNT_END_ASKED);
}

static void test_kvm_by_hand(void **state)
{
	(void)state;
	guest_counts(FUNCTION, function, 5);
}

static void test_kvm_past(void **state)
{
	(void)state;
	guest_counts(INCREASE, caller + 0x2e, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rate),
		cmocka_unit_test_setup(test_stopped, stub_setup),
		cmocka_unit_test_setup(test_stopped_ends, stub_setup),
		cmocka_unit_test_setup(test_stopped_refuses, stub_setup),
		cmocka_unit_test_setup(test_live, live_setup),
		cmocka_unit_test_setup(test_live_storm, live_setup),
		cmocka_unit_test_setup(test_live_stuck, live_setup),
		cmocka_unit_test(test_kvm_by_hand),
		cmocka_unit_test(test_kvm_past),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
