// SPDX-License-Identifier: GPL-2.0-or-later
/* Traps in text of running vCPUs of our own VMM: taken, answered, held, released; and flips beside them (kvm_caller.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>

#include "tests/unit/kvm_caller.h"

/* Answers traps at FUNCTION: as if it were "mov eax, value; ret". */
struct answer {
	struct backend_hit_handler handler;
	atomic_uint value, hits;
	atomic_bool hold;
	enum backend_trap kind;
};

static enum backend_verdict hit(struct backend_hit_handler *h, struct backend *be, size_t vcpu, enum backend_trap kind,
				struct vcpu_regs *regs, struct backend_fault *fault)
{
	struct answer *a = container_of(h, struct answer, handler);
	uint64_t back;

	if (regs->rip != FUNCTION || kind != a->kind)
		return BACKEND_HIT_FOREIGN;
	atomic_fetch_add(&a->hits, 1);
	if (atomic_load(&a->hold))
		return BACKEND_HIT_HOLD;
	if (atomic_load(&a->value) == 0)
		return BACKEND_HIT_RESUME; /* execute what is there */
	if (be->ops->live->read_virtual(be, vcpu, regs->gpr[VCPU_RSP], &back, sizeof(back), fault) < 0)
		return BACKEND_HIT_FAULT;
	regs->gpr[VCPU_RAX] = atomic_load(&a->value);
	regs->gpr[VCPU_RSP] += 8;
	regs->rip = back;
	return BACKEND_HIT_RESUME;
}

static void store(uint8_t byte)
{
	const uint64_t gpa = FUNCTION;

	assert_int_equal(b->ops->live->write(b, FUNCTION, &byte, 1, NULL), 0);
	assert_int_equal(b->ops->live->barrier(b, &gpa, 1, NULL, NULL), 0);
}

static void int3(void **state)
{
	struct answer a = { .handler.hit = hit, .kind = BACKEND_TRAP_KIND_INT3 };

	(void)state;
	NEED(BACKEND_TRAP_INT3);
	ROUNDS(v, 10, 60) {
		atomic_store(&a.value, v);
		assert_int_equal(b->ops->live->arm(b, &a.handler, NULL), 0);
		store(0xcc);
		expect(v);
		store(0xb8);
		assert_int_equal(b->ops->live->disarm(b, &a.handler, NULL), 0);
		expect(1);
	}
	assert_true(a.hits > 0);
}

/* Nobody is taken out of guest mode to be told: KVM counts the times a signal did that. */
static void arming_disturbs_nobody(void **state)
{
	struct answer a = { .handler.hit = hit, .kind = BACKEND_TRAP_KIND_INT3 };
	uint64_t from[VCPUS];

	(void)state;
	NEED(BACKEND_TRAP_INT3);
	wait_calls();
	for (size_t i = 0; i < n_vcpus; i++)
		from[i] = counter(machine_of(b)->cpus[i].stats_fd, "signal_exits");
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(b->ops->live->arm(b, &a.handler, NULL), 0);
		assert_int_equal(b->ops->live->disarm(b, &a.handler, NULL), 0);
	}
	for (size_t i = 0; i < n_vcpus; i++)
		assert_int_equal(counter(machine_of(b)->cpus[i].stats_fd, "signal_exits"), from[i]);
	/* The counter is the right one. */
	bool was;
	assert_int_equal(b->ops->pause(b, NULL, &was, NULL), 0);
	assert_int_equal(b->ops->resume(b, NULL), 0);
	uint64_t moved = 0;
	for (size_t i = 0; i < n_vcpus && from[i] != UINT64_MAX; i++)
		moved += counter(machine_of(b)->cpus[i].stats_fd, "signal_exits") - from[i];
	print_message("a pause made %lu vCPUs leave\n", (unsigned long)moved);
}

static void int3_hold_and_release(void **state)
{
	struct answer a = { .handler.hit = hit, .kind = BACKEND_TRAP_KIND_INT3, .hold = true, .value = 5 };
	uint64_t calls[VCPUS];
	bool was;

	(void)state;
	NEED(BACKEND_TRAP_INT3);
	assert_int_equal(b->ops->live->arm(b, &a.handler, NULL), 0);
	store(0xcc);
	for (uint64_t end = now_us() + 60 * SECOND; atomic_load(&a.hits) < n_vcpus && now_us() < end;)
		sched_yield();
	assert_int_equal(a.hits, n_vcpus);
	for (size_t i = 0; i < n_vcpus; i++)
		calls[i] = result(i, 1);
	/* Held vCPUs count as stopped, and stay held. */
	assert_int_equal(b->ops->pause(b, NULL, &was, NULL), 0);
	assert_int_equal(b->ops->resume(b, NULL), 0);
	usleep(20000);
	for (size_t i = 0; i < n_vcpus; i++)
		assert_int_equal(result(i, 1), calls[i]);
	assert_int_equal(a.hits, n_vcpus);
	/* Asked again: still held. Then let go. */
	assert_int_equal(b->ops->live->release(b, NULL), 0);
	for (uint64_t end = now_us() + 60 * SECOND; atomic_load(&a.hits) < 2 * n_vcpus && now_us() < end;)
		sched_yield();
	assert_int_equal(a.hits, 2 * n_vcpus);
	atomic_store(&a.hold, false);
	assert_int_equal(b->ops->live->release(b, NULL), 0);
	expect(5);
	/* Disarming frees the held, too. */
	atomic_store(&a.hold, true);
	usleep(10000);
	store(0xb8);
	assert_int_equal(b->ops->live->disarm(b, &a.handler, NULL), 0);
	expect(1);
}

static uint64_t checks(void)
{
	uint64_t n = 0;

	assert_int_equal(b->ops->read(b, CHECKS, &n, sizeof(n), NULL), 0);
	return n;
}

/* Setting registers must not drop what came while the vCPU was held. */
static void machine_check_while_held(void **state)
{
	struct answer a = { .handler.hit = hit, .kind = BACKEND_TRAP_KIND_INT3, .hold = true, .value = 5 };
	struct err e = { 0 };

	(void)state;
	NEED(BACKEND_TRAP_INT3);
	wait_calls(); /* by now it takes machine checks */
	assert_int_equal(b->ops->live->arm(b, &a.handler, NULL), 0);
	store(0xcc);
	for (uint64_t end = now_us() + 60 * SECOND; atomic_load(&a.hits) < 1 && now_us() < end;)
		sched_yield();
	assert_int_equal(a.hits, 1);
	if (machine_inject_mce(machine, 0, 1ull << 61 | 1ull << 63, 0, &e) < 0) {
		print_message("skipped: %s\n", e.text);
		skip();
	}
	assert_int_equal(checks(), 0);
	atomic_store(&a.hold, false);
	assert_int_equal(b->ops->live->release(b, NULL), 0);
	for (uint64_t end = now_us() + 60 * SECOND; !checks() && now_us() < end;)
		sched_yield();
	assert_int_equal(checks(), 1);
}

static void hw_traps(void **state)
{
	struct answer a = { .handler.hit = hit, .kind = BACKEND_TRAP_KIND_HW, .value = 9 };
	const uint64_t gvas[] = { FUNCTION, 1, 2, 3, 4 };
	struct backend_barrier count;

	(void)state;
	NEED(BACKEND_TRAP_HW);
	assert_int_equal(b->ops->live->arm(b, &a.handler, NULL), 0);
	assert_int_equal(b->ops->live->trap_hw(b, &a.handler, gvas, 5, &count, NULL), -ENOSPC);
	assert_int_equal(b->ops->live->trap_hw(b, &a.handler, gvas, 1, &count, NULL), 0);
	assert_int_equal(count.kicked + count.already_out, n_vcpus);
	expect(9);
	/* Resumed on the trap itself: the instruction under it runs. */
	atomic_store(&a.value, 0);
	unsigned hits = atomic_load(&a.hits);
	expect(1);
	assert_true(atomic_load(&a.hits) > hits);
	assert_int_equal(b->ops->live->trap_hw(b, &a.handler, NULL, 0, &count, NULL), 0);
	assert_int_equal(b->ops->live->disarm(b, &a.handler, NULL), 0);
	hits = atomic_load(&a.hits);
	expect(1);
	assert_int_equal(a.hits, hits);
}

/* At the RET of FUNCTION, which everybody may execute. */
struct watcher {
	struct backend_hit_handler handler;
	atomic_uint hits;
};

static enum backend_verdict watch(struct backend_hit_handler *h, struct backend *be, size_t vcpu, enum backend_trap kind,
				  struct vcpu_regs *regs, struct backend_fault *fault)
{
	struct watcher *w = container_of(h, struct watcher, handler);

	(void)be, (void)vcpu, (void)fault;
	if (kind != BACKEND_TRAP_KIND_HW || regs->rip != FUNCTION + 5)
		return BACKEND_HIT_FOREIGN;
	atomic_fetch_add(&w->hits, 1);
	return BACKEND_HIT_RESUME;
}

static bool watched(struct watcher *w)
{
	unsigned hits = atomic_load(&w->hits);

	for (uint64_t end = now_us() + 60 * SECOND; atomic_load(&w->hits) == hits && now_us() < end;)
		sched_yield();
	return atomic_load(&w->hits) > hits;
}

/* The one stays armed and is asked all the time, the other comes, holds vCPUs and goes. */
static void two_handlers(void **state)
{
	struct answer a = { .handler.hit = hit, .kind = BACKEND_TRAP_KIND_HW };
	struct watcher w = { .handler.hit = watch }, third = w;
	const uint64_t here = FUNCTION + 5, gvas[] = { FUNCTION, 1, 2, 3 };
	const struct backend_live_ops *live = b ? b->ops->live : NULL;

	(void)state;
	NEED(BACKEND_TRAP_HW);
	assert_int_equal(live->arm(b, &w.handler, NULL), 0);
	assert_int_equal(live->trap_hw(b, &w.handler, &here, 1, NULL, NULL), 0);
	ROUNDS(v, 10, 30) {
		assert_true(watched(&w));
		atomic_store(&a.value, v);
		assert_int_equal(live->arm(b, &a.handler, NULL), 0);
		assert_int_equal(live->arm(b, &a.handler, NULL), -EBUSY);
		assert_int_equal(live->arm(b, &third.handler, NULL), -EBUSY);
		assert_int_equal(live->trap_hw(b, &third.handler, gvas, 1, NULL, NULL), -EINVAL);
		assert_int_equal(live->trap_hw(b, &a.handler, gvas, 4, NULL, NULL), -ENOSPC);
		assert_int_equal(live->trap_hw(b, &a.handler, gvas, 1, NULL, NULL), 0);
		expect(v);
		atomic_store(&a.hold, v % 2);
		assert_int_equal(live->disarm(b, &a.handler, NULL), 0);
		atomic_store(&a.hold, false);
		expect(1);
	}
	assert_true(watched(&w));
	assert_int_equal(live->disarm(b, &w.handler, NULL), 0);
	assert_int_equal(live->disarm(b, &w.handler, NULL), 0);
	unsigned hits = atomic_load(&w.hits);
	expect(1);
	assert_int_equal(w.hits, hits);
}

/* Stands at FUNCTION, with RF from before. */
static void stand_with_rf(void)
{
	struct vcpu_regs regs = { 0 };
	bool was;

	assert_int_equal(b->ops->pause(b, NULL, &was, NULL), 0);
	for (int i = 0; i < 20 && regs.rip != FUNCTION; i++) {
		assert_int_equal(b->ops->step(b, 0, NULL), 0);
		assert_int_equal(b->ops->regs_get(b, 0, &regs, NULL), 0);
	}
	assert_int_equal(regs.rip, FUNCTION);
	regs.rflags |= 1ull << 16;
	assert_int_equal(b->ops->regs_set(b, 0, &regs, NULL), 0);
	machine_park(machine, 0, true);
	assert_int_equal(b->ops->resume(b, NULL), 0);
}

/* A register that is set while a vCPU stands at its address fires before anything is executed there. */
static void hw_trap_despite_rf(void **state)
{
	struct answer a = { .handler.hit = hit, .kind = BACKEND_TRAP_KIND_HW, .hold = true, .value = 9 };
	const uint64_t gva = FUNCTION;

	(void)state;
	NEED(BACKEND_TRAP_HW);
	wait_calls();
	stand_with_rf();
	uint64_t calls = result(0, 1);
	assert_int_equal(b->ops->live->arm(b, &a.handler, NULL), 0);
	assert_int_equal(b->ops->live->trap_hw(b, &a.handler, &gva, 1, NULL, NULL), 0);
	machine_park(machine, 0, false);
	for (uint64_t end = now_us() + 60 * SECOND; !atomic_load(&a.hits) && now_us() < end;)
		sched_yield();
	assert_int_equal(a.hits, 1);
	assert_int_equal(result(0, 1), calls);
	atomic_store(&a.hold, false);
	assert_int_equal(b->ops->live->trap_hw(b, &a.handler, NULL, 0, NULL, NULL), 0);
	assert_int_equal(b->ops->live->disarm(b, &a.handler, NULL), 0);
	expect(1);
}

/* Everything at once: flips and traps on one thread, pauses in between, nothing may get stuck. */
static void mixed(void **state)
{
	struct answer a = { .handler.hit = hit, .kind = BACKEND_TRAP_KIND_INT3, .value = 77 };
	bool was;

	(void)state;
	NEED(BACKEND_REMAP);
	ROUNDS(v, 2, 60) {
		const struct backend_flip f = { FUNCTION + 1, sizeof(v), (const uint8_t *)&v };
		assert_int_equal(b->ops->live->flip(b, &f, 1, NULL, NULL), 0);
		if (caps & BACKEND_TRAP_INT3) {
			assert_int_equal(b->ops->live->arm(b, &a.handler, NULL), 0);
			store(0xcc);
			assert_int_equal(b->ops->pause(b, NULL, &was, NULL), 0);
			assert_int_equal(b->ops->resume(b, NULL), 0);
			expect(77);
			store(0xb8);
			assert_int_equal(b->ops->live->disarm(b, &a.handler, NULL), 0);
		}
		expect(v);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON(one, int3),		    ON(all, int3),
		ON(all, arming_disturbs_nobody),
		ON(all, int3_hold_and_release),
		ON(checked, machine_check_while_held),
		ON(one, hw_traps),	    ON(all, hw_traps),
		ON(one, two_handlers),	    ON(all, two_handlers),
		ON(one, hw_trap_despite_rf),
		ON(one, mixed),		    ON(all, mixed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
