// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The stack scan: which part of which stack counts in each situation a vCPU can be in, and task
 * lists that lead nowhere.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake/guest_image.h"
#include "vmm/guest/ranges.h"

#define INSIDE	  (IMAGE_FUNC + 3)
#define TOP(m, t) ((m)->stack[t] + IMAGE_STACK)

struct fixture {
	struct guest_image image;
	struct guest *g;
	struct guest_blocker b;
	struct err e;
};

static int setup_as(void **state, bool hot)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	*state = f;
	guest_image_build(&f->image, &(struct guest_image_options){ .layout = hot ? IMAGE_64 : IMAGE_61, .hot = hot });
	return guest_probe(&f->image.mem, f->image.regs, IMAGE_CPUS, &f->g, NULL);
}

static int setup(void **state)
{
	return setup_as(state, false);
}

static int setup_hot(void **state)
{
	return setup_as(state, true);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	guest_free(f->g);
	free(f);
	return 0;
}

static int scan(struct fixture *f)
{
	const struct guest_range ranges[] = { { IMAGE_FUNC_END, IMAGE_FUNC_END + 9 }, { IMAGE_FUNC, IMAGE_FUNC + 5 } };

	memset(&f->b, 0, sizeof(f->b));
	return guest_stacks_scan(f->g, f->image.regs, IMAGE_CPUS, ranges, ARRAY_SIZE(ranges), GUEST_STACKS_ALL, &f->b, &f->e);
}

/* Puts a word there, scans, takes it away again. */
static int scan_with(struct fixture *f, uint64_t at, uint64_t word)
{
	uint64_t old;

	memcpy(&old, guest_image_at(&f->image, at), sizeof(old));
	guest_image_put64(&f->image, at, word);
	int r = scan(f);
	guest_image_put64(&f->image, at, old);
	return r;
}

static void busy(struct fixture *f, uint64_t at, int pid, const char *where)
{
	assert_int_equal(scan_with(f, at, INSIDE), 1);
	assert_int_equal(f->b.pid, pid);
	assert_string_equal(f->b.where, where);
	assert_true(f->b.address == INSIDE);
	assert_int_equal(f->b.range, 1);
}

static void clean(struct fixture *f, uint64_t at)
{
	assert_int_equal(scan_with(f, at, INSIDE), 0);
}

static void test_bounds_of_a_range(void **state)
{
	struct fixture *f = *state;
	uint64_t at = TOP(&f->image, TASK_ONE) - 64;

	assert_int_equal(scan(f), 0);
	assert_int_equal(scan_with(f, at, IMAGE_FUNC), 0);
	assert_int_equal(scan_with(f, at, IMAGE_FUNC + 1), 1);
	assert_int_equal(scan_with(f, at, IMAGE_FUNC + 4), 1);
	assert_int_equal(scan_with(f, at, IMAGE_FUNC + 5), 0);
	assert_int_equal(scan_with(f, at, IMAGE_FUNC_END + 8), 1);
	assert_int_equal(f->b.range, 0);
	assert_int_equal(scan_with(f, at, IMAGE_FUNC_END + 9), 0);
}

/* Sleeping tasks, a second thread and idle tasks: from thread.sp up. */
static void test_sleeping(void **state)
{
	struct fixture *f = *state;
	static const struct {
		enum image_task task;
		int pid;
	} sleeping[] = {
		{ TASK_INIT, 0 },
		{ TASK_ONE, 1 },
		{ TASK_THREAD, 3 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(sleeping); i++) {
		uint64_t top = TOP(&f->image, sleeping[i].task);
		busy(f, top - 8, sleeping[i].pid, "task stack");
		busy(f, top - 256, sleeping[i].pid, "task stack");
		clean(f, top - 264);
		clean(f, top - IMAGE_STACK);
	}
	busy(f, TOP(&f->image, TASK_THREAD) - 8, 3, "task stack");
	assert_string_equal(f->b.comm, "thread");
}

/* A task that is on a CPU nobody gave us, or whose thread.sp is not on its stack: all of it. */
static void test_uncertain_tasks(void **state)
{
	struct fixture *f = *state;

	guest_image_put32(&f->image, f->image.task[TASK_ONE] + TASK_ON_CPU, 1);
	busy(f, f->image.stack[TASK_ONE], 1, "task stack");
	guest_image_put32(&f->image, f->image.task[TASK_ONE] + TASK_ON_CPU, 0);
	clean(f, f->image.stack[TASK_ONE]);
	guest_image_put64(&f->image, f->image.task[TASK_ONE] + TASK_THREAD_SP, f->image.stack[TASK_ONE] - 8);
	busy(f, f->image.stack[TASK_ONE], 1, "task stack");
}

static void test_running_in_the_kernel(void **state)
{
	struct fixture *f = *state;

	busy(f, TOP(&f->image, TASK_TWO) - 512, 2, "task stack"); /* where RSP is */
	clean(f, TOP(&f->image, TASK_TWO) - 520);
	busy(f, TOP(&f->image, TASK_IDLE) - 512, 0, "task stack");
	clean(f, TOP(&f->image, TASK_IDLE) - 520);
	clean(f, f->image.per_cpu[0] + PCPU_IRQ + 4000); /* nothing is on the IRQ stack now */
	clean(f, f->image.per_cpu[0] + PCPU_EXCEPTION + 4000);
}

static void test_user_mode(void **state)
{
	struct fixture *f = *state;
	struct vcpu_regs *r = &f->image.regs[0];

	r->cs = 0x33;
	r->gpr[VCPU_RSP] = 0x7ffffff000;
	r->kernel_gs_base = r->gs_base;
	r->gs_base = f->image.per_cpu[1]; /* user mode may load what it likes */
	clean(f, TOP(&f->image, TASK_TWO) - 8);
	clean(f, f->image.stack[TASK_TWO]);
	r->kernel_gs_base = 0; /* whose CPU it is cannot be told: its task counts whole */
	busy(f, f->image.stack[TASK_TWO], 2, "task stack");
}

static void test_before_swapgs(void **state)
{
	struct fixture *f = *state;
	struct vcpu_regs *r = &f->image.regs[0];

	r->kernel_gs_base = r->gs_base;
	r->gs_base = 0x7f0000000000;
	clean(f, TOP(&f->image, TASK_TWO) - 520);
	busy(f, TOP(&f->image, TASK_TWO) - 512, 2, "task stack");
	r->gpr[VCPU_RSP] = 0x7ffffff000; /* SYSCALL: still the user's stack */
	busy(f, f->image.stack[TASK_TWO], 2, "task stack");
	r->gs_base = f->image.per_cpu[1]; /* both match a CPU: either */
	busy(f, f->image.per_cpu[0] + PCPU_IRQ + 8, -1, "irq stack cpu 0");
}

static void test_irq_stack(void **state)
{
	struct fixture *f = *state;
	uint64_t irq = f->image.per_cpu[0] + PCPU_IRQ;

	f->image.regs[0].gpr[VCPU_RSP] = irq + 4096 - 128;
	busy(f, irq + 4096 - 8, -1, "irq stack cpu 0");
	busy(f, irq + 4096 - 128, -1, "irq stack cpu 0");
	clean(f, irq + 4096 - 136);
	clean(f, f->image.per_cpu[1] + PCPU_IRQ + 4096 - 8);
	busy(f, f->image.stack[TASK_TWO], 2, "task stack"); /* interrupted below: all of it */
	f->image.regs[0].gpr[VCPU_RSP] = irq + 4096;	    /* one above: not on it */
	busy(f, irq, -1, "irq stack cpu 0");
}

static void test_exception_and_entry_stacks(void **state)
{
	struct fixture *f = *state;
	static const uint64_t on[] = { PCPU_EXCEPTION + 2000, PCPU_ENTRY + 4000 };

	for (size_t i = 0; i < ARRAY_SIZE(on); i++) {
		uint64_t p = f->image.per_cpu[1];
		f->image.regs[1].gpr[VCPU_RSP] = p + on[i];
		busy(f, p + PCPU_EXCEPTION, -1, "exception stacks cpu 1");
		busy(f, p + PCPU_ENTRY + 4088, -1, "entry stack cpu 1");
		busy(f, p + PCPU_IRQ, -1, "irq stack cpu 1");
		busy(f, f->image.stack[TASK_IDLE], 0, "task stack");
		clean(f, f->image.per_cpu[0] + PCPU_IRQ);
	}
}

/* On a stack nobody knows, on a CPU nobody knows: every CPU that is not another vCPU's. */
static void test_unknown_cpu(void **state)
{
	struct fixture *f = *state;

	f->image.regs[1].gs_base = 0x1234;
	f->image.regs[1].gpr[VCPU_RSP] = 0x5678;
	busy(f, f->image.per_cpu[1] + PCPU_EXCEPTION, -1, "exception stacks cpu 1");
	busy(f, f->image.stack[TASK_IDLE], 0, "task stack");
	clean(f, f->image.per_cpu[0] + PCPU_EXCEPTION);
}

/* current_task is written after the stack was switched: RSP tells the new task, the old one counts whole. */
static void test_between_two_tasks(void **state)
{
	struct fixture *f = *state;

	f->image.regs[0].gpr[VCPU_RSP] = TOP(&f->image, TASK_ONE) - 128;
	guest_image_put64(&f->image, f->image.task[TASK_ONE] + TASK_THREAD_SP, TOP(&f->image, TASK_ONE) - 128);
	busy(f, TOP(&f->image, TASK_ONE) - 128, 1, "task stack");
	clean(f, TOP(&f->image, TASK_ONE) - 136);
	busy(f, f->image.stack[TASK_TWO], 2, "task stack");
	guest_image_put32(&f->image, f->image.task[TASK_TWO] + TASK_ON_CPU, 0);
	busy(f, f->image.stack[TASK_TWO], 2, "task stack");
}

/* Right after SYSCALL, with an RSP that user mode had pointed at the end of another task's stack. */
static void test_forged_rsp(void **state)
{
	struct fixture *f = *state;
	uint64_t sp;

	memcpy(&sp, guest_image_at(&f->image, f->image.task[TASK_ONE] + TASK_THREAD_SP), sizeof(sp));
	assert_in_range(sp, f->image.stack[TASK_ONE], TOP(&f->image, TASK_ONE) - 16);
	f->image.regs[0].gpr[VCPU_RSP] = TOP(&f->image, TASK_ONE) - 8;
	busy(f, sp, 1, "task stack");
	clean(f, sp - 8);
	busy(f, f->image.stack[TASK_TWO], 2, "task stack");
}

static void test_rip_and_registers(void **state)
{
	struct fixture *f = *state;
	struct vcpu_regs *r = &f->image.regs[1];

	r->rip = IMAGE_FUNC;
	assert_int_equal(scan(f), 0);
	r->rip = INSIDE;
	assert_int_equal(scan(f), 1);
	assert_string_equal(f->b.where, "vCPU 1");
	assert_int_equal(f->b.pid, -1);
	r->rip = IMAGE_FUNC_END;
	r->gpr[VCPU_R12] = INSIDE;
	assert_int_equal(scan(f), 1);
	assert_string_equal(f->b.where, "register of vCPU 1");
	r->cs = 0x33; /* what user mode holds in a register is its own business */
	r->kernel_gs_base = f->image.per_cpu[1];
	assert_int_equal(scan(f), 0);
	r->efer = 0; /* not started: no context */
	r->cs = 0x10;
	assert_int_equal(scan(f), 0);
}

/* A tracer keeps the real return address where no stack shows it. */
static void test_hidden_return_address(void **state)
{
	struct fixture *f = *state;
	uint64_t at = TOP(&f->image, TASK_ONE) - 64;

	assert_int_equal(scan_with(f, at, IMAGE_BASE + 0x900), 1);
	assert_true(f->b.address == IMAGE_BASE + 0x900);
	assert_int_equal(guest_stacks_scan(f->g, f->image.regs, IMAGE_CPUS, NULL, 0, GUEST_STACKS_ALL, &f->b, &f->e), 0);
}

/* Of tasks something else is known: idle ones, CPUs and vCPUs are still looked at. */
static void test_not_tasks(void **state)
{
	const struct guest_range range = { IMAGE_FUNC, IMAGE_FUNC + 5 };
	struct fixture *f = *state;
	struct guest_image *m = &f->image;
	const int idle[] = { 0, 1 }, want[] = { 0, 1 };

	for (size_t i = 0; i < ARRAY_SIZE(idle); i++) {
		uint64_t at = TOP(m, idle[i] ? TASK_INIT : TASK_ONE) - 64;
		guest_image_put64(m, at, INSIDE);
		assert_int_equal(scan(f), 1);
		assert_int_equal(guest_stacks_scan(f->g, m->regs, IMAGE_CPUS, &range, 1, GUEST_STACKS_NOT_TASKS, &f->b, &f->e),
				 want[i]);
		guest_image_put64(m, at, 0);
	}
	m->regs[1].rip = INSIDE;
	assert_int_equal(guest_stacks_scan(f->g, m->regs, IMAGE_CPUS, &range, 1, GUEST_STACKS_NOT_TASKS, &f->b, &f->e), 1);
}

/* Exiting and preempted: in no list any more, but still runnable. */
static void test_unlisted_runnable_task(void **state)
{
	struct fixture *f = *state;
	struct guest_image *m = &f->image;

	guest_image_put64(m, m->task[TASK_ONE] + TASK_TASKS, m->task[TASK_INIT] + TASK_TASKS);
	clean(f, TOP(m, TASK_TWO) - 520);
	busy(f, TOP(m, TASK_TWO) - 512, 2, "task stack");
}

static void test_zombie(void **state)
{
	struct fixture *f = *state;

	guest_image_put64(&f->image, f->image.task[TASK_ONE] + TASK_STACK, 0);
	clean(f, TOP(&f->image, TASK_ONE) - 8);
	busy(f, TOP(&f->image, TASK_THREAD) - 8, 3, "task stack");
}

static void test_hostile_lists(void **state)
{
	struct fixture *f = *state;
	struct guest_image *m = &f->image;
	const struct {
		uint64_t at, value;
	} bad[] = {
		{ m->task[TASK_ONE] + TASK_TASKS, m->task[TASK_ONE] + TASK_TASKS }, /* never back at its head */
		{ m->task[TASK_TWO] + TASK_TASKS, m->task[TASK_ONE] + TASK_TASKS },
		{ m->task[TASK_ONE] + TASK_TASKS, 0 },
		{ m->task[TASK_ONE] + TASK_TASKS, 0xdeadbeef00000000 },
		{ m->task[TASK_THREAD] + TASK_NODE, m->task[TASK_THREAD] + TASK_NODE },
		{ m->task[TASK_ONE] + TASK_NODE, 16 },
		{ m->task[TASK_ONE] + TASK_STACK, m->stack[TASK_ONE] + 4 },
		{ m->per_cpu[0] + PCPU_CFS, m->task[TASK_ONE] + TASK_GROUP },
		{ m->per_cpu[1] + PCPU_CFS, 0 },
		{ m->per_cpu[1] + PCPU_IDLE, 0x1000 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		f->e = (struct err){ 0 };
		m->reads = 0;
		assert_int_equal(scan_with(f, bad[i].at, bad[i].value), -EBADMSG);
		assert_int_equal(f->e.error, EBADMSG);
		assert_true(m->reads < 200); /* gave up at once */
	}
	assert_int_equal(scan(f), 0);
}

static void test_cpu_count(void **state)
{
	static const uint32_t bad[] = { 0, 8193, 0xffffffff };
	struct fixture *f = *state;
	uint64_t at;

	assert_int_equal(guest_symbol_find(f->g, "nr_cpu_ids", &at, NULL, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(scan_with(f, at, bad[i]), -EBADMSG);
}

static void test_no_btf(void **state)
{
	struct fixture *f = *state;

	*guest_image_at(&f->image, f->image.btf) = 0; /* magic */
	assert_int_equal(guest_stacks_prepare(f->g, &f->e), -EOPNOTSUPP);
	assert_int_equal(scan(f), -EOPNOTSUPP);
	*guest_image_at(&f->image, f->image.btf) = 0x9f;
	assert_int_equal(guest_stacks_prepare(f->g, &f->e), 0);
	*guest_image_at(&f->image, f->image.btf) = 0; /* read once only */
	assert_int_equal(guest_stacks_prepare(f->g, &f->e), 0);
}

static void test_ranges(void **state)
{
	const struct guest_range many[] = { { 100, 110 }, { 10, 20 }, { 15, 30 }, { 30, 40 }, { 50, 50 }, { 60, 55 } };
	struct ranges r;
	size_t index;

	(void)state;
	assert_int_equal(ranges_build(&r, many, ARRAY_SIZE(many), (uint64_t[]){ 200 }, 1, NULL), 0);
	for (uint64_t w = 0; w < 256; w++) {
		bool want = w == 200;
		for (size_t i = 0; i < ARRAY_SIZE(many); i++)
			want |= w > many[i].start && w < many[i].end;
		assert_int_equal(ranges_hit(&r, w, &index), want);
		if (want)
			assert_true(index < ARRAY_SIZE(many));
	}
	assert_false(ranges_hit(&r, UINT64_MAX, &index));
	ranges_done(&r);
}

#define WITH(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
#define HOT(t)                                           \
	{                                                \
		"hot: " #t, t, setup_hot, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH(test_bounds_of_a_range),
		WITH(test_sleeping),
		WITH(test_uncertain_tasks),
		WITH(test_running_in_the_kernel),
		WITH(test_user_mode),
		WITH(test_before_swapgs),
		WITH(test_irq_stack),
		WITH(test_exception_and_entry_stacks),
		WITH(test_unknown_cpu),
		WITH(test_between_two_tasks),
		WITH(test_forged_rsp),
		WITH(test_rip_and_registers),
		WITH(test_hidden_return_address),
		WITH(test_not_tasks),
		WITH(test_unlisted_runnable_task),
		WITH(test_zombie),
		WITH(test_hostile_lists),
		WITH(test_cpu_count),
		WITH(test_no_btf),
		HOT(test_running_in_the_kernel),
		HOT(test_irq_stack),
		cmocka_unit_test(test_ranges),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
