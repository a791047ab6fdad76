// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Exercises the qemu backend against a live x86-64 guest with an operating
 * system that takes page faults: every operation, every promise about run state,
 * and the figures. Usage: qemu-smoke QMP OTHER-QMP [--gdb PATH] [--kill]. OTHER-QMP is a
 * second monitor of the same VM, through which each claim is checked. Exits 0 when
 * all checks held. Must leave the guest as it found it (but for --kill, last of all).
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "vmm/backend/qemu.h"

#define TRAP_US 10000000u
#define CYCLES 100
#define PAGE 4096u

static unsigned checks, failures;
static struct backend *vm;
static struct qmp_client *other;
static struct backend_target target = { .vm = "smoke" };

static void check(bool ok, int line, const char *what, const struct err *e)
{
	checks++;
	if (ok)
		return;
	failures++;
	printf("FAILED line %d: %s%s%s\n", line, what, e && e->text[0] ? ": " : "", e ? e->text : "");
}

#define CHECK(cond)                                      \
	do {                                             \
		bool _ok = (cond);                       \
		check(_ok, __LINE__, #cond, &err);       \
		memset(&err, 0, sizeof(err));            \
	} while (0)

static struct err err;

/* --- the other monitor --- */

static json_t *other_call(const char *command, json_t *args)
{
	json_t *reply = NULL;

	if (qmp_client_call(other, command, args, 5000000, &reply, &err) < 0)
		printf("other monitor: %s: %s\n", command, err.text);
	json_decref(args);
	return reply;
}

static void other_do(const char *command)
{
	json_decref(other_call(command, NULL));
}

static void other_hmp(const char *line)
{
	json_decref(other_call("human-monitor-command", json_pack("{s:s}", "command-line", line)));
}

static bool running(void)
{
	json_t *reply = other_call("query-status", NULL);
	bool is = json_is_true(json_object_get(reply, "running"));

	json_decref(reply);
	return is;
}

static bool quiet(void)
{
	enum backend_event_kind kind;

	return vm->ops->event(vm, &kind, &err) == 0 && kind == BACKEND_EVENT_NONE;
}

static void settle_events(void)
{
	enum backend_event_kind kind;

	usleep(20000);
	do
		vm->ops->event(vm, &kind, NULL);
	while (kind != BACKEND_EVENT_NONE && kind != BACKEND_EVENT_GONE);
}

/* --- figures --- */

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void report(const char *what, uint64_t *us, size_t n)
{
	qsort(us, n, sizeof(*us), compare);
	printf("%-34s median %6llu us, p95 %6llu us\n", what, (unsigned long long)us[n / 2],
	       (unsigned long long)us[n * 95 / 100]);
}

/* --- tests --- */

static bool pause_vm(bool *was_running)
{
	return vm->ops->pause(vm, NULL, was_running, &err) == 0;
}

static void test_info(void)
{
	struct backend_range ranges[64];
	struct backend_info info;

	CHECK(vm->ops->info(vm, &info, &err) == 0);
	printf("QEMU %s, %s, %zu vCPUs, pid %d, caps 0x%x %s\n", info.version, info.accel, info.vcpus,
	       (int)info.pid, info.caps, info.live_read_why);
	CHECK(info.state == BACKEND_RUNNING && info.pid > 0 && info.pid_start > 0);
	CHECK(info.caps & BACKEND_LIVE_READ);
	int n = vm->ops->ram(vm, ranges, ARRAY_SIZE(ranges), &err);
	CHECK(n > 0 && ranges[0].gpa == 0);
	for (int i = 0; i < n; i++)
		printf("  RAM 0x%llx + 0x%llx\n", (unsigned long long)ranges[i].gpa,
		       (unsigned long long)ranges[i].len);
	CHECK(vm->ops->ram(vm, ranges, 0, &err) == -E2BIG);
	uint8_t byte;
	CHECK(vm->ops->read(vm, UINT64_MAX, &byte, 1, &err) == -EFAULT);
	CHECK(vm->ops->read(vm, 0xfee00000, &byte, 1, &err) == -EFAULT);
	CHECK(vm->ops->write(vm, 0x1000, &byte, 1, &err) == -EBUSY);
	CHECK(vm->ops->step(vm, 0, &err) == -EBUSY);
	CHECK(vm->ops->resume(vm, &err) == -EINVAL);
}

static void test_cycles(void)
{
	uint64_t held[CYCLES], whole[CYCLES], bare[CYCLES];
	bool was_running = false;

	for (int i = 0; i < CYCLES; i++) {
		uint64_t start = now_us();
		CHECK(pause_vm(&was_running) && was_running);
		if (i % 10 == 0) {
			CHECK(!running());
			CHECK(vm->ops->pause(vm, NULL, &was_running, &err) == -EALREADY);
		}
		CHECK(vm->ops->resume(vm, &err) == 0);
		held[i] = vm->resumed_us - vm->stop_asked_us;
		whole[i] = now_us() - start;
		CHECK(i % 10 || running());
		CHECK(quiet());
	}
	for (int i = 0; i < CYCLES; i++) {
		uint64_t start = now_us();
		other_do("stop");
		other_do("cont");
		bare[i] = now_us() - start;
	}
	report("pause + resume, VM stopped for", held, CYCLES);
	report("pause + resume, whole call pair", whole, CYCLES);
	report("QMP stop + cont, VM stopped for", bare, CYCLES);
	settle_events();
}

static void test_registers(size_t n)
{
	struct vcpu_regs live, held, changed;
	uint64_t us[CYCLES];
	bool was_running;

	for (size_t i = 0; i < n; i++) {
		CHECK(vm->ops->regs_get(vm, i, &live, &err) == 0);
		CHECK(live.has_idt && live.efer & 0x400 && live.cr3);
	}
	CHECK(vm->ops->regs_get(vm, n, &live, &err) == -EINVAL);
	for (int i = 0; i < CYCLES; i++) {
		CHECK(pause_vm(&was_running));
		uint64_t start = now_us();
		for (size_t k = 0; k < n; k++)
			CHECK(vm->ops->regs_get(vm, k, &held, &err) == 0);
		us[i] = now_us() - start;
		CHECK(vm->ops->resume(vm, &err) == 0);
	}
	report("registers of all vCPUs, VM held", us, CYCLES);

	CHECK(pause_vm(&was_running));
	CHECK(vm->ops->regs_get(vm, 0, &held, &err) == 0);
	CHECK(held.cr0 & 1 && held.efer == live.efer && held.idt_base);
	changed = held;
	changed.gpr[VCPU_R15] ^= 0x1234567890abcdef;
	changed.rip ^= 0x10;
	CHECK(vm->ops->regs_set(vm, 0, &changed, &err) == 0);
	qemu_vm(vm)->cpus[0].fresh = false;
	CHECK(vm->ops->regs_get(vm, 0, &live, &err) == 0);
	CHECK(live.rip == changed.rip && !memcmp(live.gpr, changed.gpr, sizeof(live.gpr)));
	CHECK(live.cr3 == held.cr3 && live.gs_base == held.gs_base && live.cs == held.cs);
	CHECK(vm->ops->regs_set(vm, 0, &held, &err) == 0);
	CHECK(vm->ops->resume(vm, &err) == 0 && running());
}

static void test_reads(void)
{
	enum { SIZE = 1 << 20 };
	static uint8_t live[SIZE], stub[SIZE];
	struct qemu_vm *q = qemu_vm(vm);
	bool was_running;

	uint64_t start = now_us();
	for (int i = 0; i < 64; i++)
		CHECK(vm->ops->read(vm, 0x1000000 + (uint64_t)(i % 16) * SIZE, live, SIZE, &err) == 0);
	printf("read from QEMU's memory            %.0f MB/s\n", 64.0 * SIZE / (double)(now_us() - start));

	CHECK(pause_vm(&was_running));
	CHECK(vm->ops->read(vm, 0x1000000, live, SIZE, &err) == 0);
	q->live_read = false;
	start = now_us();
	CHECK(vm->ops->read(vm, 0x1000000, stub, SIZE, &err) == 0);
	printf("read through the stub              %.1f MB/s\n", (double)SIZE / (double)(now_us() - start));
	CHECK(!memcmp(live, stub, SIZE));
	CHECK(vm->ops->read(vm, 0x9f123, stub, 5000, &err) == 0);
	q->live_read = true;
	CHECK(vm->ops->read(vm, 0x9f123, live, 5000, &err) == 0);
	CHECK(!memcmp(live, stub, 5000));
	CHECK(vm->ops->resume(vm, &err) == 0 && running());

	q->live_read = false; /* as without permission: short stops */
	start = now_us();
	CHECK(vm->ops->read(vm, 0x1000000, stub, 256 << 10, &err) == 0);
	printf("read of a running VM by stops      %.1f MB/s\n", 262144.0 / (double)(now_us() - start));
	q->live_read = true;
	CHECK(running() && quiet());
	CHECK(vm->ops->read(vm, 0xf0000, live, 4096, &err) == 0); /* ROM may be read */
	CHECK(access(q->gdb_own ? q->gdb_own : "/nonexistent", F_OK) < 0);
}

static bool is_zero(const uint8_t *p, size_t len)
{
	return !p[0] && !memcmp(p, p + 1, len - 1);
}

static void test_writes(void)
{
	struct backend_range ranges[64];
	uint8_t page[PAGE], pattern[PAGE], back[PAGE];
	struct qemu_vm *q = qemu_vm(vm);
	bool was_running, found = false;
	uint64_t us[CYCLES], gpa = 0;

	CHECK(pause_vm(&was_running));
	int n = vm->ops->ram(vm, ranges, ARRAY_SIZE(ranges), &err);
	const struct backend_range *top = &ranges[n - 1];
	for (gpa = top->gpa + top->len - 2 * PAGE; gpa > top->gpa + 2 * PAGE && !found; gpa -= PAGE)
		found = vm->ops->read(vm, gpa, page, PAGE, &err) == 0 && is_zero(page, PAGE);
	gpa += PAGE;
	CHECK(found);
	for (size_t i = 0; i < PAGE; i++)
		pattern[i] = (uint8_t)(i * 7 + 1);
	CHECK(vm->ops->write(vm, gpa + 3, pattern, 3000, &err) == 0);
	CHECK(vm->ops->read(vm, gpa + 3, back, 3000, &err) == 0 && !memcmp(back, pattern, 3000));
	q->live_read = false;
	CHECK(vm->ops->read(vm, gpa + 3, back, 3000, &err) == 0 && !memcmp(back, pattern, 3000));
	q->live_read = true;
	CHECK(vm->ops->read(vm, gpa, back, 3, &err) == 0 && is_zero(back, 3));
	CHECK(vm->ops->write(vm, gpa, page, PAGE, &err) == 0);
	CHECK(vm->ops->read(vm, gpa, back, PAGE, &err) == 0 && is_zero(back, PAGE));
	CHECK(vm->ops->write(vm, 0xf0000, page, 1, &err) == -EFAULT); /* ROM */
	CHECK(vm->ops->write(vm, top->gpa + top->len - 1, page, 2, &err) == -EFAULT);
	CHECK(vm->ops->resume(vm, &err) == 0 && running());
	for (int i = 0; i < CYCLES; i++) {
		CHECK(pause_vm(&was_running));
		CHECK(vm->ops->write(vm, gpa, page, 6, &err) == 0);
		CHECK(vm->ops->resume(vm, &err) == 0);
		us[i] = vm->resumed_us - vm->stop_asked_us;
	}
	report("pause + write 6 bytes + resume", us, CYCLES);
}

static void test_steps(size_t n)
{
	struct vcpu_regs before, after, bystander, bystander_after;
	unsigned moved = 0, halted = 0;
	bool was_running;

	for (int round = 0; round < 10; round++) {
		CHECK(pause_vm(&was_running));
		for (size_t i = 0; i < n; i++) {
			size_t j = (i + 1) % n;
			CHECK(vm->ops->regs_get(vm, i, &before, &err) == 0);
			CHECK(vm->ops->regs_get(vm, j, &bystander, &err) == 0);
			int r = vm->ops->step(vm, i, &err);
			CHECK(r == 0 || r == -ETIMEDOUT);
			CHECK(vm->ops->regs_get(vm, i, &after, &err) == 0);
			CHECK(vm->ops->regs_get(vm, j, &bystander_after, &err) == 0);
			CHECK(j == i || !memcmp(bystander.gpr, bystander_after.gpr, sizeof(bystander.gpr)));
			CHECK(j == i || bystander.rip == bystander_after.rip);
			moved += r == 0 && before.rip != after.rip;
			halted += r == -ETIMEDOUT;
		}
		CHECK(vm->ops->resume(vm, &err) == 0);
		CHECK(running() && quiet());
		usleep(10000);
	}
	printf("steps: %u moved RIP, %u halted, of %zu\n", moved, halted, 10 * n);
	CHECK(moved > 0);
}

/* One level at a time, as the MMU does; 0 when not mapped. */
static uint64_t translate(const struct vcpu_regs *regs, uint64_t gva)
{
	uint64_t table = regs->cr3 & 0xffffffffff000;

	for (int shift = regs->cr4 & 1 << 12 ? 48 : 39; shift >= 12; shift -= 9) {
		uint64_t entry, mask = (UINT64_C(1) << shift) - 1;

		if (vm->ops->read(vm, table + ((gva >> shift) & 511) * 8, &entry, 8, &err) < 0 || !(entry & 1))
			return 0;
		table = entry & 0xffffffffff000;
		if (shift == 12 || (shift <= 30 && entry & 0x80))
			return (table & ~mask) | (gva & mask);
	}
	return 0;
}

static uint64_t page_fault_handler(const struct vcpu_regs *regs)
{
	uint8_t gate[16];
	uint64_t low, high, gpa = translate(regs, regs->idt_base + 14 * 16);

	if (!gpa || vm->ops->read(vm, gpa, gate, sizeof(gate), &err) < 0)
		return 0;
	memcpy(&low, gate, 8);
	memcpy(&high, gate + 8, 8);
	return (low & 0xffff) | ((low >> 32) & 0xffff0000) | high << 32;
}

static void test_traps(enum backend_trap kind, bool *ret_again)
{
	struct backend_stop stop = { 0 };
	struct vcpu_regs regs;
	uint64_t handler, us[20] = { 0 };
	bool was_running;

	CHECK(pause_vm(&was_running));
	CHECK(vm->ops->regs_get(vm, 0, &regs, &err) == 0);
	handler = page_fault_handler(&regs);
	CHECK(handler >> 47 == 0x1ffff);
	CHECK(vm->ops->trap_clear(vm, kind, handler, &err) == -ENOENT);
	CHECK(vm->ops->run(vm, 50000, &stop, &err) == -ETIMEDOUT);
	CHECK(!running());
	CHECK(vm->ops->trap_set(vm, kind, handler, &err) == 0);
	CHECK(vm->ops->trap_set(vm, kind, handler, &err) == -EEXIST);
	for (int i = 0; i < 20; i++) {
		uint64_t start = now_us();
		int r = vm->ops->run(vm, TRAP_US, &stop, &err);
		us[i] = now_us() - start;
		CHECK(r == 0 && stop.trap && stop.rip == handler);
		CHECK(vm->ops->step(vm, stop.vcpu, &err) == 0);
		CHECK(vm->ops->regs_get(vm, stop.vcpu, &regs, &err) == 0 && regs.rip != handler);
		if (failures)
			break;
	}
	report(kind == BACKEND_TRAP_KIND_HW ? "run to a hardware trap" : "run to a software trap", us, 20);
	if (*ret_again) /* resume() removes what was left */
		CHECK(vm->ops->trap_clear(vm, kind, handler, &err) == 0);
	CHECK(vm->ops->resume(vm, &err) == 0 && running());
	usleep(200000);
	CHECK(running() && quiet());
}

static void test_found_paused(void)
{
	bool was_running = true;
	uint8_t byte;

	other_do("stop");
	CHECK(pause_vm(&was_running) && !was_running);
	CHECK(vm->ops->read(vm, 0x1000, &byte, 1, &err) == 0);
	CHECK(vm->ops->write(vm, 0x1000, &byte, 1, &err) == 0);
	CHECK(vm->ops->step(vm, 0, &err) <= 0);
	CHECK(vm->ops->resume(vm, &err) == 0 && !running());
	qemu_vm(vm)->live_read = false;
	CHECK(vm->ops->read(vm, 0x1000, &byte, 1, &err) == 0 && !running());
	qemu_vm(vm)->live_read = true;
	other_do("cont");
	CHECK(running());
	settle_events();
}

/* Somebody types "cont" while we hold the VM: we must notice, and can hold it again. */
static void test_resumed_by_other(void)
{
	bool was_running;
	uint8_t byte;

	CHECK(pause_vm(&was_running));
	CHECK(vm->ops->read(vm, 0x1000, &byte, 1, &err) == 0);
	other_do("cont");
	uint64_t start = now_us();
	CHECK(vm->ops->write(vm, 0x1000, &byte, 1, &err) < 0);
	CHECK(now_us() - start < 4000000);
	CHECK(!running());
	CHECK(vm->ops->write(vm, 0x1000, &byte, 1, &err) == 0);
	CHECK(vm->ops->resume(vm, &err) == 0 && running());
	settle_events();
}

static void test_foreign_stub(void)
{
	bool was_running;

	other_hmp("gdbserver tcp:127.0.0.1:0");
	CHECK(vm->ops->pause(vm, NULL, &was_running, &err) == -EBUSY && !strcmp(err.rule, "gdb-in-use"));
	CHECK(running() && quiet());
	other_hmp("gdbserver none");
	CHECK(pause_vm(&was_running) && vm->ops->resume(vm, &err) == 0 && running());
}

static bool reopen(void)
{
	vm = NULL;
	return backend_find("qemu")->open(&target, &vm, &err) == 0;
}

/* A worker that is killed leaves its VM paused, with traps in QEMU. */
static void test_orphan(void)
{
	struct vcpu_regs regs;
	struct backend_info info;
	bool was_running;

	CHECK(pause_vm(&was_running));
	CHECK(vm->ops->regs_get(vm, 0, &regs, &err) == 0);
	CHECK(vm->ops->trap_set(vm, BACKEND_TRAP_KIND_INT3, page_fault_handler(&regs), &err) == 0);
	struct qemu_vm *q = qemu_vm(vm);
	gdbstub_free(TAKE_PTR(q->stub));
	q->held = q->stub_open = false; /* close() knows of nothing to undo */
	backend_close(vm);
	CHECK(!running());
	CHECK(reopen());
	CHECK(vm->ops->info(vm, &info, &err) == 0 && info.state == BACKEND_PAUSED);
	CHECK(vm->ops->resume_orphan(vm, &err) == 0 && running());
	usleep(500000);
	CHECK(running() && quiet());
	CHECK(vm->ops->resume_orphan(vm, &err) == 0 && running());
	/* close() while held resumes */
	CHECK(pause_vm(&was_running));
	backend_close(vm);
	CHECK(running());
	CHECK(reopen());
}

static void test_kill(void)
{
	enum backend_event_kind kind;
	struct vcpu_regs regs;
	struct backend_info info;
	bool was_running;
	uint8_t byte = 0;

	CHECK(vm->ops->info(vm, &info, &err) == 0);
	CHECK(pause_vm(&was_running));
	kill(info.pid, SIGKILL);
	usleep(100000);
	uint64_t start = now_us();
	CHECK(vm->ops->write(vm, 0x1000, &byte, 1, &err) == -ENOTCONN);
	CHECK(vm->ops->read(vm, 0x1000, &byte, 1, &err) == -ENOTCONN);
	CHECK(vm->ops->regs_get(vm, 0, &regs, &err) == -ENOTCONN);
	CHECK(vm->ops->step(vm, 0, &err) == -ENOTCONN);
	CHECK(vm->ops->resume(vm, &err) == -ENOTCONN);
	CHECK(vm->ops->info(vm, &info, &err) == -ENOTCONN);
	CHECK(vm->ops->pause(vm, NULL, &was_running, &err) == -ENOTCONN);
	CHECK(vm->ops->read(vm, 0x1000, &byte, 1, &err) == -ENOTCONN);
	CHECK(vm->ops->resume_orphan(vm, &err) == -ENOTCONN);
	while (vm->ops->event(vm, &kind, &err) == 0 && kind != BACKEND_EVENT_GONE)
		CHECK(kind != BACKEND_EVENT_NONE);
	CHECK(now_us() - start < 1000000);
}

int main(int argc, char **argv)
{
	bool kill_last = false, clear = true;
	struct backend_info info;

	for (int i = 3; i < argc; i++) {
		if (!strcmp(argv[i], "--gdb") && i + 1 < argc)
			target.gdb = argv[++i];
		kill_last |= !strcmp(argv[i], "--kill");
	}
	if (argc < 3)
		return 2;
	target.qmp = argv[1];
	char dir[] = "/tmp/vmpoke-smoke.XXXXXX";
	target.runtime_dir = mkdtemp(dir);
	CHECK(qmp_client_connect(argv[2], 3000000, ERR_INACTIVE, &other, &err) == 0);
	uint64_t start = now_us();
	CHECK(reopen());
	if (!vm || !other)
		return 1;
	printf("open                               %llu us\n", (unsigned long long)(now_us() - start));
	CHECK(vm->ops->info(vm, &info, &err) == 0);
	test_info();
	test_cycles();
	test_registers(info.vcpus);
	test_reads();
	test_writes();
	test_steps(info.vcpus);
	test_traps(BACKEND_TRAP_KIND_INT3, &clear);
	clear = false;
	test_traps(BACKEND_TRAP_KIND_HW, &clear);
	test_found_paused();
	test_resumed_by_other();
	if (!target.gdb)
		test_foreign_stub();
	test_orphan();
	if (kill_last)
		test_kill();
	backend_close(vm);
	qmp_client_free(other);
	CHECK(rmdir(dir) == 0); /* no socket of ours is left */
	printf("%u checks, %u failed\n", checks, failures);
	return failures != 0;
}
