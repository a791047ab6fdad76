// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Changing text of running vCPUs of our own VMM. Each vCPU calls a function for
 * ever and counts, per value, what it returned; after a change has been made and
 * its barrier passed, no call that begins later may return the old value.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/ioctl.h>

#include "tests/unit/kvm_guest.h"
#include "vmm/kvm/machine_private.h"

#define SECOND	 1000000u
#define FUNCTION 0x101000ull /* mov eax, imm32; ret */
#define RESULTS	 0x200000ull /* per vCPU 64 bytes: u64 last value, u64 calls */
#define STACKS	 0x300000ull /* per vCPU 4 KiB */
#define VCPUS	 4

/*
 * sti; mov rbx, rdi; shl rbx, 6; add rbx, RESULTS; mov rsp, rdi; inc rsp; shl rsp, 12; add rsp, STACKS;
 * again: call FUNCTION; mov [rbx], rax; inc qword [rbx+8]; jmp again
 */
static const uint8_t caller[] = {
	0xfb, 0x48, 0x89, 0xfb, 0x48, 0xc1, 0xe3, 0x06, 0x48, 0x81, 0xc3, 0x00, 0x00, 0x20, 0x00,	 /* 0x0f */
	0x48, 0x89, 0xfc, 0x48, 0xff, 0xc4, 0x48, 0xc1, 0xe4, 0x0c, 0x48, 0x81, 0xc4, 0x00, 0x00, 0x30, 0x00, /* 0x20 */
	0xe8, 0xdb, 0x0f, 0x00, 0x00, 0x48, 0x89, 0x03, 0x48, 0xff, 0x43, 0x08, 0xeb, 0xf2,
};
static const uint8_t function[] = { 0xb8, 0x01, 0x00, 0x00, 0x00, 0xc3 };

/* Rounds: many, but where the host has fewer CPUs than there are vCPUs each costs a turn of its scheduler. */
#define ROUNDS_MIN  8
#define ROUNDS_TIME (2 * SECOND)
#define ROUNDS(v, first, last)                                                           \
	for (uint64_t until = now_us() + ROUNDS_TIME, done = 0; !done; done = 1)         \
		for (uint32_t v = (first); v < (last) && (v < (first) + ROUNDS_MIN || now_us() < until); v++)

#define TABLES	0x400000ull /* pointers to IDT and GDT, 16 bytes apart; the tables, a page each, after it */
#define CHECKS	0x500000ull /* u64: machine checks taken */
#define HANDLER 0x102000ull

/*
 * As caller, on vCPU 0 only, but machine checks are taken:
 * sti; lidt [TABLES]; lgdt [TABLES+16]; mov rax, cr4; or rax, MCE; mov cr4, rax; mov esp, 0x310000;
 * again: call FUNCTION; mov [RESULTS], rax; inc qword [RESULTS+8]; jmp again
 */
static const uint8_t checked_caller[] = {
	0xfb, 0x0f, 0x01, 0x1c, 0x25, 0x00, 0x00, 0x40, 0x00, 0x0f, 0x01, 0x14, 0x25, 0x10, 0x00, 0x40, 0x00,
	0x0f, 0x20, 0xe0, 0x48, 0x83, 0xc8, 0x40, 0x0f, 0x22, 0xe0, 0xbc, 0x00, 0x00, 0x31, 0x00, /* 0x20 */
	0xe8, 0xdb, 0x0f, 0x00, 0x00, 0x48, 0x89, 0x04, 0x25, 0x00, 0x00, 0x20, 0x00,
	0x48, 0xff, 0x04, 0x25, 0x08, 0x00, 0x20, 0x00, 0xeb, 0xe9,
};
/* inc qword [CHECKS]; again: hlt; jmp again */
static const uint8_t check_handler[] = { 0x48, 0xff, 0x04, 0x25, 0x00, 0x00, 0x50, 0x00, 0xf4, 0xeb, 0xfd };

static struct machine *machine;
static struct backend *b;
static unsigned n_vcpus;
static unsigned caps;

/* An IDT whose last gate is the machine check's, and a GDT for it. */
static int write_tables(void)
{
	const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idt = { 19 * 16 - 1, TABLES + 0x1000 }, gdt = { 3 * 8 - 1, TABLES + 0x2000 };
	const uint64_t descriptors[] = { 0, 0x00af9b000000ffff, 0x00cf93000000ffff };
	const uint64_t gate = (HANDLER & 0xffff) | 0x8ull << 16 | 0x8e00ull << 32 | (HANDLER >> 16) << 48;

	return b->ops->write(b, TABLES, &idt, sizeof(idt), NULL) |
	       b->ops->write(b, TABLES + 16, &gdt, sizeof(gdt), NULL) |
	       b->ops->write(b, idt.base + 18 * 16, &gate, sizeof(gate), NULL) |
	       b->ops->write(b, gdt.base, descriptors, sizeof(descriptors), NULL) |
	       b->ops->write(b, HANDLER, check_handler, sizeof(check_handler), NULL);
}

static int start_with(const uint8_t *code, size_t len, unsigned vcpus)
{
	struct backend_info info;
	struct err e = { 0 };

	if (guest_missing())
		return 0;
	n_vcpus = vcpus;
	if (guest_create(code, len, vcpus, NULL, &machine, &e) < 0) {
		print_message("%s\n", e.text);
		return -1;
	}
	b = machine_backend(machine);
	b->ops->info(b, &info, NULL);
	caps = info.caps;
	return b->ops->write(b, FUNCTION, function, sizeof(function), NULL) | write_tables() |
	       machine_start(machine, NULL);
}

static int start(unsigned vcpus)
{
	return start_with(caller, sizeof(caller), vcpus);
}

static int start_one(void **state)
{
	(void)state;
	return start(1);
}

static int start_all(void **state)
{
	(void)state;
	return start(VCPUS);
}

static int start_checked(void **state)
{
	(void)state;
	return start_with(checked_caller, sizeof(checked_caller), 1);
}

static int stop(void **state)
{
	(void)state;
	machine_destroy(machine);
	machine = NULL;
	return 0;
}

#define NEED(cap)                                                                   \
	do {                                                                        \
		if (guest_missing() || ((cap) && !(caps & (cap)))) {                \
			print_message("skipped: %s\n", guest_missing() ? guest_missing() : "this KVM has no " #cap); \
			skip();                                                     \
		}                                                                   \
	} while (0)

static uint64_t result(size_t vcpu, unsigned word)
{
	uint64_t v;

	assert_int_equal(b->ops->read(b, RESULTS + 64 * vcpu + 8 * word, &v, sizeof(v), NULL), 0);
	return v;
}

/* Every vCPU has begun and ended a call since. */
static void wait_calls(void)
{
	uint64_t from[VCPUS], end = now_us() + 10 * SECOND;
	char reason[256];

	for (size_t i = 0; i < n_vcpus; i++)
		from[i] = result(i, 1);
	for (size_t i = 0; i < n_vcpus; i++) {
		while (result(i, 1) - from[i] < 2 && now_us() < end)
			sched_yield();
		if (result(i, 1) - from[i] < 2) {
			machine_wait(machine, 0, reason, sizeof(reason));
			fail_msg("vCPU %zu makes no calls: %s", i, reason);
		}
	}
}

static void expect(uint64_t value)
{
	wait_calls();
	for (size_t i = 0; i < n_vcpus; i++)
		assert_int_equal(result(i, 0), value);
}

static void flips(void **state)
{
	struct backend_barrier count;

	(void)state;
	NEED(BACKEND_REMAP);
	expect(1);
	ROUNDS(v, 2, 200) {
		const struct backend_flip f = { FUNCTION + 1, sizeof(v), (const uint8_t *)&v };
		assert_int_equal(b->ops->live->flip(b, &f, 1, &count, NULL), 0);
		assert_int_equal(count.kicked + count.already_out, n_vcpus);
		assert_true(count.by_notifier);
		expect(v);
	}
}

static void stores_and_barriers(void **state)
{
	const uint64_t gpa = FUNCTION;
	struct backend_barrier count;

	(void)state;
	NEED(BACKEND_NONSTOP);
	ROUNDS(v, 2, 200) {
		uint8_t byte = (uint8_t)v;
		assert_int_equal(b->ops->live->write(b, FUNCTION + 1, &byte, 1, NULL), 0);
		assert_int_equal(b->ops->live->barrier(b, &gpa, 1, &count, NULL), 0);
		assert_int_equal(count.kicked + count.already_out, n_vcpus);
		expect(v);
	}
	uint64_t bad = GUEST_MEMORY;
	assert_int_equal(b->ops->live->write(b, GUEST_MEMORY - 1, "ab", 2, NULL), -EFAULT);
	assert_int_equal(b->ops->live->barrier(b, &bad, 1, &count, NULL), -EFAULT);
}

/* Pages apart: the results page between them is written all the time and loses nothing. */
static void flip_over_written_pages(void **state)
{
	(void)state;
	NEED(BACKEND_REMAP);
	ROUNDS(v, 2, 100) {
		uint8_t far = (uint8_t)v;
		const struct backend_flip f[] = { { FUNCTION + 1, sizeof(v), (const uint8_t *)&v },
						  { RESULTS + 4096, 1, &far } };
		uint64_t calls[VCPUS];
		for (size_t i = 0; i < n_vcpus; i++)
			calls[i] = result(i, 1);
		assert_int_equal(b->ops->live->flip(b, f, 2, NULL, NULL), 0);
		for (size_t i = 0; i < n_vcpus; i++)
			assert_true(result(i, 1) >= calls[i]); /* the counter never goes back */
		expect(v);
	}
}

/* KVM's own counter of this name; UINT64_MAX when there is none. A vCPU's file must be open already: asking a running one for it waits for its exit. */
static uint64_t counter(int fd, const char *name)
{
	uint64_t n;
	off_t at;

	if (fd < 0 || stats_counter(fd, name, &at) < 0 || pread(fd, &n, sizeof(n), at) != sizeof(n))
		return UINT64_MAX;
	return n;
}

/*
 * Each round of kicks is a flush that KVM asks of its vCPUs. It counts those of its own
 * as well, which are few: a flip that needed two would be seen.
 */
static void flips_kick_once(void **state)
{
	const char *const name = "remote_tlb_flush";
	unsigned flips = 0;

	(void)state;
	NEED(BACKEND_REMAP);
	_cleanup_close_ int fd = ioctl(machine_of(b)->vm_fd, KVM_GET_STATS_FD, 0);
	uint64_t from = counter(fd, name);
	if (from == UINT64_MAX)
		skip();
	ROUNDS(v, 2, 400) {
		const struct backend_flip f[] = { { FUNCTION + 1, sizeof(v), (const uint8_t *)&v },
						  { FUNCTION + 100, sizeof(v), (const uint8_t *)&v } };
		assert_int_equal(b->ops->live->flip(b, f, 2, NULL, NULL), 0);
		wait_calls();
		flips++;
	}
	uint64_t flushes = counter(fd, name) - from;
	print_message("%u flips, %lu flushes\n", flips, (unsigned long)flushes);
	assert_true(flushes <= flips + flips / 4 + 2);
}

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
	for (uint64_t end = now_us() + 10 * SECOND; atomic_load(&a.hits) < n_vcpus && now_us() < end;)
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
	for (uint64_t end = now_us() + 10 * SECOND; atomic_load(&a.hits) < 2 * n_vcpus && now_us() < end;)
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
	for (uint64_t end = now_us() + 10 * SECOND; atomic_load(&a.hits) < 1 && now_us() < end;)
		sched_yield();
	assert_int_equal(a.hits, 1);
	if (machine_inject_mce(machine, 0, 1ull << 61 | 1ull << 63, 0, &e) < 0) {
		print_message("skipped: %s\n", e.text);
		skip();
	}
	assert_int_equal(checks(), 0);
	atomic_store(&a.hold, false);
	assert_int_equal(b->ops->live->release(b, NULL), 0);
	for (uint64_t end = now_us() + 10 * SECOND; !checks() && now_us() < end;)
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

	for (uint64_t end = now_us() + 10 * SECOND; atomic_load(&w->hits) == hits && now_us() < end;)
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
	for (uint64_t end = now_us() + 10 * SECOND; !atomic_load(&a.hits) && now_us() < end;)
		sched_yield();
	assert_int_equal(a.hits, 1);
	assert_int_equal(result(0, 1), calls);
	atomic_store(&a.hold, false);
	assert_int_equal(b->ops->live->trap_hw(b, &a.handler, NULL, 0, NULL, NULL), 0);
	assert_int_equal(b->ops->live->disarm(b, &a.handler, NULL), 0);
	expect(1);
}

static void virtual_access(void **state)
{
	const struct backend_live_ops *live = b ? b->ops->live : NULL;
	struct backend_fault fault = { 0 };
	uint8_t buf[16] = "0123456789abcde", got[16] = { 0 };
	bool was;

	(void)state;
	NEED(0);
	assert_int_equal(b->ops->pause(b, NULL, &was, NULL), 0);
	assert_int_equal(live->write_virtual(b, 0, 0x400ff8, buf, 16, &fault), 0); /* across a page */
	assert_int_equal(live->read_virtual(b, 0, 0x400ff8, got, 16, &fault), 0);
	assert_memory_equal(buf, got, 16);
	assert_int_equal(live->read_virtual(b, 0, 0x800000000000ull, got, 8, &fault), -EFAULT);
	assert_int_equal(fault.vector, 13);
	assert_int_equal(live->read_virtual(b, 0, 0x7ffffffffffcull, got, 8, &fault), -EFAULT);
	assert_int_equal(fault.vector, 13);
	assert_int_equal(live->write_virtual(b, 0, 0x4000000000ull, buf, 8, &fault), -EFAULT); /* not mapped */
	assert_int_equal(fault.vector, 14);
	assert_int_equal(fault.error_code, 2);
	assert_int_equal(fault.cr2, 0x4000000000ull);
	assert_int_equal(live->read_virtual(b, 0, GUEST_MEMORY, got, 8, &fault), -EFAULT); /* mapped, no RAM there */
	assert_int_equal(live->read_virtual(b, 0, 0, got, 8192, &fault), -EINVAL);
	assert_int_equal(live->read_virtual(b, n_vcpus, 0, got, 8, &fault), -EINVAL);
	uint32_t word = 0x101;
	assert_int_equal(live->write_virtual(b, 0, 0x400ff8, &word, 4, &fault), 0);
	assert_int_equal(live->exchange_virtual(b, 0, 0x400ff8, 0, 1, &fault), 0);
	assert_int_equal(live->exchange_virtual(b, 0, 0x400ff8, 0x101, 1, &fault), 1);
	assert_int_equal(live->read_virtual(b, 0, 0x400ff8, &word, 4, &fault), 0);
	assert_int_equal(word, 1);
	assert_int_equal(live->exchange_virtual(b, 0, 0x400ff9, 0, 1, &fault), -EINVAL);
	assert_int_equal(live->exchange_virtual(b, 0, 0x4000000000ull, 0, 1, &fault), -EFAULT);
	assert_int_equal(live->exchange_virtual(b, n_vcpus, 0x400ff8, 1, 0, &fault), -EINVAL);
	assert_int_equal(b->ops->resume(b, NULL), 0);
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

#define ON(n, test) cmocka_unit_test_setup_teardown(test, start_##n, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON(one, flips),		    ON(all, flips),
		ON(one, stores_and_barriers), ON(all, stores_and_barriers),
		ON(all, flip_over_written_pages),
		ON(one, flips_kick_once),   ON(all, flips_kick_once),
		ON(one, int3),		    ON(all, int3),
		ON(all, arming_disturbs_nobody),
		ON(all, int3_hold_and_release),
		ON(checked, machine_check_while_held),
		ON(one, hw_traps),	    ON(all, hw_traps),
		ON(one, two_handlers),	    ON(all, two_handlers),
		ON(one, hw_trap_despite_rf),
		ON(one, virtual_access),
		ON(one, mixed),		    ON(all, mixed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
