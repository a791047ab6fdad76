// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An arm64 guest: table entries, what is found where no symbol names it, what contradicts itself, and
 * every place a return address may be at, signed ones included.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake/guest_arm64.h"
#include "vmm/guest/arm64.h"
#include "vmm/guest/sites.h"
#include "vmm/guest/stacks.h"

struct rig {
	struct guest_arm64 image;
	struct guest *guest;
};

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	if (!rig)
		return -1;
	guest_arm64_build(&rig->image);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	guest_free(rig->guest);
	free(rig);
	return 0;
}

static int probe(struct rig *rig, struct err *e)
{
	*e = (struct err){ 0 };
	guest_free(rig->guest);
	rig->guest = NULL;
	return guest_probe(&rig->image.mem, rig->image.regs, ARM_CPUS, &rig->guest, e);
}

static void test_entries(void **state)
{
	static const struct {
		uint64_t raw;
		unsigned level;
		bool present, leaf, exec, write, guarded;
	} rows[] = {
		{ 0x1000, 1, false, false, false, false, false }, /* invalid */
		{ 0x1001, 1, false, false, false, false, false }, /* reserved at the bottom */
		{ 0x1003, 1, true, true, true, true, false },
		{ 0x1003 | 1ull << 7, 1, true, true, true, false, false },
		{ 0x1003 | 1ull << 7 | 1ull << 51, 1, true, true, true, true, false }, /* not dirty yet */
		{ 0x1003 | 1ull << 53, 1, true, true, false, true, false },
		{ 0x1003 | 1ull << 54, 1, true, true, true, true, false }, /* UXN is for user mode */
		{ 0x1003 | 1ull << 50, 1, true, true, true, true, true },
		{ 0x200001, 2, true, true, true, true, false }, /* a block */
		{ 0x1003, 2, true, false, true, true, false },	/* a table */
		{ 0x1003 | 1ull << 59, 3, true, false, false, true, false },
		{ 0x1003 | 1ull << 62, 3, true, false, true, false, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct walk_entry e = walk_arm64.entry(rows[i].raw, rows[i].level);
		assert_int_equal(e.present, rows[i].present);
		if (!e.present)
			continue;
		assert_int_equal(e.leaf, rows[i].leaf);
		assert_int_equal(e.exec, rows[i].exec);
		assert_int_equal(e.write, rows[i].write);
		assert_int_equal(e.guarded, rows[i].guarded);
		assert_int_equal(e.addr, rows[i].raw & 0x0000fffffffff000);
	}
	assert_int_equal(walk_arm64.entry(0x00ff000012345003, 1).addr, 0x12345000);
}

static void test_walk(void **state)
{
	struct rig *rig = *state;
	struct walk_page page;
	struct walk w;

	assert_int_equal(walk_init_as(&w, &walk_arm64, &rig->image.mem, ARM_TABLES | 1 | 0x2aull << 48, 4), 0);
	assert_int_equal(walk_translate(&w, ARM_TEXT + 0x12345, &page, NULL), 0);
	assert_int_equal(page.gpa, 0x12345);
	assert_int_equal(page.left, 0x200000 - 0x12345);
	assert_true(page.exec && !page.write);
	assert_int_equal(walk_translate(&w, ARM_DATA + 0x123, &page, NULL), 0);
	assert_int_equal(page.gpa, 0x200123);
	assert_false(page.exec);
	assert_int_equal(walk_translate(&w, ARM_TEXT & 0x0000ffffffffffff, &page, NULL), -EFAULT); /* TTBR0's half */
	assert_int_equal(walk_translate(&w, ARM_TEXT ^ 1ull << 50, &page, NULL), -EFAULT);
	assert_int_equal(walk_translate(&w, 0xffff000000000000, &page, NULL), -EFAULT); /* a hole, not an odd address */
	assert_int_equal(page.left, 1ull << 39);
	walk_done(&w);
}

static void test_probe(void **state)
{
	struct rig *rig = *state;
	struct guest_symbol s;
	uint64_t addr, size;
	struct err e;

	assert_int_equal(probe(rig, &e), 0);
	const struct guest_facts *f = guest_facts(rig->guest);
	assert_string_equal(f->release, "6.1.0-test-arm64");
	assert_string_equal(f->build_id_hex, "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3");
	assert_int_equal(f->base, ARM_TEXT);
	assert_int_equal(f->kaslr_offset, ARM_TEXT - 0xffff800008010000);
	assert_int_equal(f->text_end, ARM_ETEXT);
	assert_int_equal(f->kernel_cr3, ARM_TABLES);
	assert_false(f->kpti);
	/* As the worker checks that a patch is of this boot. */
	assert_int_equal(ARM_FUNC - 0xffffffff80000000 + (uint64_t)f->phys_base, 0x2000);
	assert_int_equal(guest_symbol_find(rig->guest, "do_nothing", &addr, NULL, NULL), 0);
	assert_int_equal(addr, ARM_FUNC);
	assert_int_equal(guest_symbol_at(rig->guest, ARM_FUNC + 8, &s, &size), 0);
	assert_int_equal(size, 0x40);
	assert_int_equal(guest_revalidate(rig->guest, rig->image.regs, ARM_CPUS, &e), 0);
	*guest_arm64_at(&rig->image, rig->image.notes + 20) ^= 1;
	assert_int_equal(guest_revalidate(rig->guest, rig->image.regs, ARM_CPUS, &e), -ESTALE);
}

/* In user mode a vCPU stands on the trampoline's table, which maps nothing of the image. */
static void test_kpti(void **state)
{
	struct rig *rig = *state;
	struct err e;

	for (int i = 0; i < ARM_CPUS; i++)
		rig->image.regs[i].arm64.ttbr1 -= 0x2000;
	assert_int_equal(probe(rig, &e), 0);
	assert_int_equal(guest_facts(rig->guest)->kernel_cr3, ARM_TABLES);
	assert_true(guest_facts(rig->guest)->kpti);
	assert_int_equal(guest_revalidate(rig->guest, rig->image.regs, ARM_CPUS, &e), 0);
}

static void test_derived(void **state)
{
	struct rig *rig = *state;
	uint64_t start, stop;
	struct err e;

	assert_int_equal(probe(rig, &e), 0);
	assert_int_equal(guest_symbol_find(rig->guest, "__start___jump_table", &start, NULL, NULL), 0);
	assert_int_equal(guest_symbol_find(rig->guest, "__stop___jump_table", &stop, NULL, NULL), 0);
	assert_int_equal(start, rig->image.jump_table);
	assert_int_equal(stop, rig->image.jump_table_end);
	assert_int_equal(guest_symbol_find(rig->guest, "__start___ex_table", &start, NULL, NULL), 0);
	assert_int_equal(start, rig->image.jump_table_end);
	/* An entry that leads nowhere: it is no such table. */
	*guest_arm64_at(&rig->image, rig->image.jump_table + 16 + 7) ^= 0x40;
	assert_int_equal(probe(rig, &e), 0);
	assert_int_equal(guest_symbol_find(rig->guest, "__start___jump_table", &start, NULL, NULL), 0);
	assert_int_not_equal(start, rig->image.jump_table);
	*guest_arm64_at(&rig->image, rig->image.jump_table + 16 + 7) ^= 0x40;
	/* Where they cannot be told nobody may go on as if there were none. */
	memset(guest_arm64_at(&rig->image, ARM_TEXT + 0x1000), 0, 16);
	assert_int_equal(probe(rig, &e), 0);
	assert_int_equal(guest_symbol_find(rig->guest, "__start___jump_table", &start, NULL, NULL), 0);
	assert_int_equal(guest_symbol_find(rig->guest, "__stop___jump_table", &stop, NULL, NULL), 0);
	assert_true(stop < start);
}

/* By the two functions that take and give it back, when both say the same. */
static void test_mutex(void **state)
{
	struct rig *rig = *state;
	struct guest_patching p;
	uint64_t addr;
	struct err e;

	assert_int_equal(probe(rig, &e), 0);
	assert_int_equal(guest_symbol_find(rig->guest, "jump_label_mutex", &addr, NULL, NULL), 0);
	assert_int_equal(addr, rig->image.mutex);
	/* Nobody here takes text_mutex for a key. */
	assert_int_equal(guest_patching_prepare(rig->guest, &p, &e), 0);
	assert_int_equal(guest_patching_look(rig->guest, &p, 0, &e), 0);
	guest_arm64_put64(&rig->image, rig->image.mutex, 0xffff000012345678);
	assert_int_equal(guest_patching_look(rig->guest, &p, 0, &e), 1);
	assert_true(e.kind == ERR_TIMEOUT && e.addr == rig->image.mutex);
	/* ADD x0, x0, #...: another address in the second. */
	*guest_arm64_at(&rig->image, ARM_TEXT + 0x1224 + 1) ^= 0x40;
	assert_int_equal(probe(rig, &e), 0);
	assert_int_equal(guest_symbol_find(rig->guest, "jump_label_mutex", &addr, NULL, NULL), -ENOENT);
	assert_int_equal(guest_patching_prepare(rig->guest, &p, &e), -EOPNOTSUPP);
}

/* It loads modules, and where their list is nobody says. */
static void test_modules(void **state)
{
	struct guest_sites s = { 0 };
	struct rig *rig = *state;
	struct err e;

	assert_int_equal(probe(rig, &e), 0);
	assert_int_equal(guest_sites_read(rig->guest, GUEST_SITE_STATIC_KEY, &s, &e), 0);
	assert_true(s.n == 3 && !s.whole && strstr(s.modules_why, "no name"));
	guest_sites_clear(&s);
}

static void refused(struct rig *rig, int error, const char *rule)
{
	struct err e;

	assert_int_equal(probe(rig, &e), -error);
	assert_string_equal(e.rule, rule);
	guest_arm64_build(&rig->image);
}

static void test_contradictions(void **state)
{
	struct rig *rig = *state;
	struct guest_arm64 *g = &rig->image;
	uint64_t *block = (uint64_t *)(void *)(g->ram + ARM_TABLES + 0x2000) + (ARM_TEXT >> 21 & 511);

	for (int i = 0; i < ARM_CPUS; i++)
		g->regs[i].arm64.tcr = 0x015001f575503510; /* 64 KiB granule */
	refused(rig, EOPNOTSUPP, "paging");
	for (int i = 0; i < ARM_CPUS; i++)
		g->regs[i].arm64.tcr += 9 << 16; /* 39 bits */
	refused(rig, EOPNOTSUPP, "paging");
	for (int i = 0; i < ARM_CPUS; i++)
		g->regs[i].arm64.ttbr1 = 0; /* not set up yet */
	refused(rig, ENOENT, "no-kernel");
	*block |= 1ull << 53;
	refused(rig, ENOENT, "no-kernel");
	*block |= 1ull << 50;
	refused(rig, EOPNOTSUPP, "guarded");
	*guest_arm64_at(g, g->banner) = 'l';
	refused(rig, EBADMSG, "kernel-contradicts");
	memset(guest_arm64_at(g, g->notes), 0, 16); /* the vDSO's is left */
	refused(rig, EBADMSG, "kernel-contradicts");
	*guest_arm64_at(g, g->num_syms) ^= 1;
	refused(rig, ENOENT, "no-kallsyms");
}

static void test_addresses(void **state)
{
	/* adrp x0, +0x1000; nop; add x1, x0, #0x10; add x2, x3, #1; adrp x5, -0x1000; add x5, x5, #0xfff */
	static const uint32_t code[] = { 0xb0000000, 0xd503201f, 0x91004001, 0x91000462, 0xf0ffffe5, 0x913ffca5 };
	uint64_t out[4];

	(void)state;
	assert_int_equal(arm64_addresses((const uint8_t *)code, sizeof(code), 0xffff800008010004, out, 4), 2);
	assert_int_equal(out[0], 0xffff800008011010);
	assert_int_equal(out[1], 0xffff80000800ffff);
	assert_int_equal(arm64_addresses((const uint8_t *)code, sizeof(code), 0xffff800008010004, out, 1), 1);
	assert_int_equal(arm64_addresses((const uint8_t *)code, 11, 0, out, 4), 0);
}

/* --- stacks --- */

static int scan(struct rig *rig, struct guest_blocker *ret)
{
	struct guest_range range = { ARM_FUNC, ARM_FUNC_END };
	struct err e = { 0 };

	return guest_stacks_scan(rig->guest, rig->image.regs, ARM_CPUS, &range, 1, GUEST_STACKS_ALL, ret, &e);
}

static void busy(struct rig *rig, const char *where)
{
	struct guest_blocker b = { 0 };

	assert_int_equal(scan(rig, &b), 1);
	if (strcmp(b.where, where) != 0)
		fail_msg("%s (0x%llx) instead of %s", b.where, (unsigned long long)b.address, where);
}

static void clean(struct rig *rig)
{
	struct guest_blocker b = { 0 };

	if (scan(rig, &b) != 0)
		fail_msg("%s: 0x%llx", b.where, (unsigned long long)b.address);
}

static void test_sleeping(void **state)
{
	const uint64_t inside = ARM_FUNC + 8, sign = 0x0074000000000000; /* PACIASP puts a code there ... */
	struct rig *rig = *state;
	struct guest_arm64 *g = &rig->image;
	uint64_t slot = g->stack[ARM_SLEEPER] + ARM_STACK - 64;
	struct err e;

	assert_int_equal(probe(rig, &e), 0);
	clean(rig);
	guest_arm64_put64(g, slot, inside);
	busy(rig, "task stack");
	guest_arm64_put64(g, slot, inside ^ sign);
	busy(rig, "task stack");
	guest_arm64_put64(g, slot, inside ^ sign ^ 0x5a00000000000000); /* ... and there */
	busy(rig, "task stack");
	guest_arm64_put64(g, slot, inside & ~(1ull << 55)); /* a user's address */
	clean(rig);
	guest_arm64_put64(g, slot, ARM_FUNC); /* the first byte is no middle */
	clean(rig);
	guest_arm64_put64(g, g->stack[ARM_SLEEPER] + ARM_STACK - 300, inside); /* below SP */
	clean(rig);
	guest_arm64_put64(g, g->task[ARM_SLEEPER] + ARM_TASK_CONTEXT + 96, inside); /* where it goes on */
	busy(rig, "task stack");
}

static void test_running(void **state)
{
	struct rig *rig = *state;
	struct guest_arm64 *g = &rig->image;
	struct vcpu_arm64 *kernel = &g->regs[0].arm64, *user = &g->regs[1].arm64;
	struct err e;

	assert_int_equal(probe(rig, &e), 0);
	kernel->x[30] = (ARM_FUNC + 4) ^ 0x0031000000000000;
	busy(rig, "register of vCPU 0");
	kernel->x[30] = 0;
	kernel->elr = ARM_FUNC + 4;
	busy(rig, "register of vCPU 0");
	kernel->elr = 0;
	g->regs[0].rip = ARM_FUNC + 4;
	busy(rig, "vCPU 0");
	g->regs[0].rip = ARM_TEXT;
	user->x[3] = user->elr = ARM_FUNC + 4; /* of no kernel */
	guest_arm64_put64(g, g->stack[ARM_USER] + ARM_STACK - 64, ARM_FUNC + 4);
	clean(rig);
	user->pstate = 0x60000000;
	clean(rig);
	guest_arm64_put64(g, g->stack[ARM_KERNEL] + ARM_STACK - 600, ARM_FUNC + 4); /* below SP */
	clean(rig);
	guest_arm64_put64(g, g->stack[ARM_KERNEL] + ARM_STACK - 512, ARM_FUNC + 4);
	busy(rig, "task stack");
	kernel->sp = g->stack[ARM_KERNEL] + ARM_STACK; /* at the kernel's first instruction */
	clean(rig);
}

static void test_irq_stack(void **state)
{
	struct rig *rig = *state;
	struct guest_arm64 *g = &rig->image;
	uint64_t irq = g->per_cpu[0] + 0x1000;
	struct err e;

	assert_int_equal(probe(rig, &e), 0);
	g->regs[0].arm64.sp = irq + ARM_STACK - 128;
	clean(rig);
	guest_arm64_put64(g, irq + ARM_STACK - 200, ARM_FUNC + 4);
	clean(rig);
	guest_arm64_put64(g, irq + ARM_STACK - 128, ARM_FUNC + 4);
	busy(rig, "irq stack of vCPU 0");
	guest_arm64_put64(g, irq + ARM_STACK - 128, 0);
	g->regs[0].arm64.sp = irq + ARM_STACK; /* the handler begins */
	clean(rig);
	/* Its task's stack is below: all of that counts. */
	guest_arm64_put64(g, g->stack[ARM_KERNEL] + 64, ARM_FUNC + 4);
	busy(rig, "task stack");
	guest_arm64_put64(g, g->stack[ARM_KERNEL] + 64, 0);
	g->regs[0].arm64.sp = ARM_DATA;
	busy(rig, "unknown stack of vCPU 0");
}

static int prepared(struct rig *rig)
{
	struct err e;

	assert_int_equal(probe(rig, &e), 0);
	int r = guest_stacks_prepare(rig->guest, &e);
	assert_true(r == 0 || strcmp(e.rule, "no-stack-scan") == 0 || strcmp(e.rule, "no-btf") == 0);
	guest_arm64_build(&rig->image);
	return r;
}

static void test_no_layout(void **state)
{
	struct rig *rig = *state;
	struct guest_arm64 *g = &rig->image;

	assert_int_equal(prepared(rig), 0);
	*guest_arm64_at(g, g->btf + 1) ^= 1;
	assert_int_equal(prepared(rig), -EOPNOTSUPP);
	*guest_arm64_at(g, g->task[ARM_IDLE] + ARM_TASK_COMM) = 'S';
	assert_int_equal(prepared(rig), -EOPNOTSUPP);
	g->regs[1].arm64.tpidr += 0x1000; /* one vCPU's area that does not fit the other's */
	assert_int_equal(prepared(rig), -EOPNOTSUPP);
	g->regs[1].arm64.tpidr = 0; /* a vCPU that was never started is no CPU */
	assert_int_equal(prepared(rig), 0);
	*guest_arm64_pte(g, g->stack[ARM_SLEEPER] + ARM_STACK) = 0x210003; /* three pages of stack */
	assert_int_equal(prepared(rig), -EOPNOTSUPP);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_entries),
		TEST(test_walk),
		TEST(test_probe),
		TEST(test_kpti),
		TEST(test_derived),
		TEST(test_mutex),
		TEST(test_modules),
		TEST(test_contradictions),
		cmocka_unit_test(test_addresses),
		TEST(test_sleeping),
		TEST(test_running),
		TEST(test_irq_stack),
		TEST(test_no_layout),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
