// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * hit() asked directly: whose trap it is, what the vCPU goes on with in each phase,
 * how a fault reaches the guest; and by many threads at once while the phase changes.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fake/fake_live.h"
#include "vmm/poke/trap.h"

#define EFER_LMA (UINT64_C(1) << 10)
#define RSP_TOP	 (LIVE_STACK_GVA + LIVE_STACK_SIZE)

static struct fake_live f;
static struct poke_traps *traps;
static struct vcpu_regs regs;
static struct backend_fault fault;

static void begin(enum poke_mode mode, const char *old_hex, const char *new_hex)
{
	struct err e;

	fake_live_init(&f, 1, 2);
	f.running = false; /* the vCPUs of this test are its own */
	fake_live_site(&f, old_hex, new_hex);
	f.plan.mode = mode;
	assert_int_equal(poke_traps_new(&arch_x86_64, &f.plan, 2, &traps, &e), 0);
	regs = (struct vcpu_regs){ .rip = f.sites[0].gva, .cs = 0x10, .efer = EFER_LMA, .rflags = 0x202 };
	regs.gpr[VCPU_RSP] = RSP_TOP - 8;
	for (size_t i = 0; i < f.sites[0].len; i++)
		if (f.sites[0].boundaries >> i & 1)
			f.ram[f.sites[0].gva - LIVE_GVA + i] = 0xcc;
}

static void end(void)
{
	poke_traps_free(traps);
	traps = NULL;
}

static enum backend_verdict ask(void)
{
	return traps->handler.hit(&traps->handler, &f.base, 0, BACKEND_TRAP_KIND_INT3, &regs, &fault);
}

static void foreign(void **state)
{
	struct vcpu_regs good;

	(void)state;
	begin(POKE_MODE_STAGED, "55 4889e5", "31c0 90 c3");
	good = regs;
	regs.cs = 0x33; /* user mode */
	assert_int_equal(ask(), BACKEND_HIT_FOREIGN);
	regs = good;
	regs.efer = 0; /* 32-bit code at the same linear address */
	assert_int_equal(ask(), BACKEND_HIT_FOREIGN);
	regs = good;
	for (int offset = -1; offset <= f.sites[0].len; offset++) {
		uint8_t *byte = f.ram + (good.rip - LIVE_GVA) + offset, was = *byte;
		struct vcpu_regs before;

		if (offset >= 0 && offset < f.sites[0].len && (f.sites[0].boundaries >> offset & 1))
			continue;
		regs.rip = good.rip + (uint64_t)(int64_t)offset;
		*byte = 0xcc; /* the guest's own, where no instruction of ours begins */
		assert_int_equal(ask(), BACKEND_HIT_FOREIGN);
		*byte = 0x90; /* gone by now: left by the transaction before */
		before = regs;
		assert_int_equal(ask(), BACKEND_HIT_RESUME);
		assert_memory_equal(&before, &regs, sizeof(regs));
		*byte = was;
	}
	regs = good;
	f.ram[regs.rip - LIVE_GVA + 2] ^= 0x10; /* this address space has something else there */
	assert_int_equal(ask(), BACKEND_HIT_FOREIGN);
	f.ram[regs.rip - LIVE_GVA + 2] ^= 0x10;
	assert_int_equal(traps->handler.hit(&traps->handler, &f.base, 2, BACKEND_TRAP_KIND_INT3, &regs, &fault),
			 BACKEND_HIT_FOREIGN); /* no such vCPU */
	assert_int_equal(atomic_load(&traps->hits), 0);
	assert_int_equal(ask(), BACKEND_HIT_HOLD);
	assert_int_equal(atomic_load(&traps->hits), 1);
	end();
}

/* Old and new can both be done by hand: which one? */
static void which_code(void **state)
{
	(void)state;
	begin(POKE_MODE_STAGED, "b811111111", "b822222222");
	uint64_t at = regs.rip;
	assert_int_equal(ask(), BACKEND_HIT_RESUME);
	assert_int_equal(regs.gpr[VCPU_RAX], 0x22222222);
	assert_int_equal(regs.rip, at + 5);
	regs.rip = at;
	poke_traps_phase(traps, POKE_PHASE_BACK);
	assert_int_equal(ask(), BACKEND_HIT_RESUME);
	assert_int_equal(regs.gpr[VCPU_RAX], 0x11111111);
	end();

	begin(POKE_MODE_HELD, "b811111111", "b822222222");
	assert_int_equal(ask(), BACKEND_HIT_HOLD);
	poke_traps_phase(traps, POKE_PHASE_SWITCH);
	assert_int_equal(ask(), BACKEND_HIT_HOLD);
	assert_int_equal(atomic_load(&traps->held), 1); /* one hold, asked twice */
	end();

	/* New is nothing for hands: the old one, as long as nobody can have fetched the new. */
	begin(POKE_MODE_STAGED, "0f1f4000", "488d4708");
	at = regs.rip;
	assert_int_equal(ask(), BACKEND_HIT_RESUME);
	assert_int_equal(regs.rip, at + 4);
	regs.rip = at;
	poke_traps_phase(traps, POKE_PHASE_SWITCH);
	f.ram[at - LIVE_GVA] = 0x48;
	assert_int_equal(ask(), BACKEND_HIT_HOLD);
	end();
}

static void inside_a_range(void **state)
{
	(void)state;
	begin(POKE_MODE_STAGED, "b811111111 bb22222222", "e900001000 b833333333");
	uint64_t at = regs.rip;
	regs.rip = at + 5;
	assert_int_equal(ask(), BACKEND_HIT_RESUME); /* walked out on the old code */
	assert_true(regs.rip == at + 10 && regs.gpr[VCPU_RBX] == 0x22222222);
	regs.rip = at;
	assert_int_equal(ask(), BACKEND_HIT_RESUME); /* who comes now takes the new one */
	assert_true(regs.rip == at + 0x100005);
	end();

	/* A call would leave a way back into the range: from the inside yes, from the entry no. */
	begin(POKE_MODE_STAGED, "90 e800001000 0f1f00", "488d4708 488d4710 90");
	at = regs.rip;
	assert_int_equal(ask(), BACKEND_HIT_HOLD);
	regs.rip = at + 1; /* another vCPU */
	assert_int_equal(traps->handler.hit(&traps->handler, &f.base, 1, BACKEND_TRAP_KIND_INT3, &regs, &fault),
			 BACKEND_HIT_RESUME);
	assert_true(regs.rip == at + 0x100006);
	end();

	/* Stepped out of the range while it was held: nothing is left to wait for. */
	begin(POKE_MODE_STAGED, "55 4889e5", "31c0 90 c3");
	at = regs.rip;
	regs.rip = at + 1;
	assert_int_equal(ask(), BACKEND_HIT_HOLD);
	regs.rip = at + 4;
	assert_int_equal(ask(), BACKEND_HIT_RESUME);
	assert_true(regs.rip == at + 4);
	end();
}

static void late(void **state)
{
	(void)state;
	begin(POKE_MODE_STAGED, "b811111111", "b822222222");
	uint64_t at = regs.rip;
	memcpy(f.ram + (at - LIVE_GVA), f.sites[0].new_bytes, 5);
	poke_traps_phase(traps, POKE_PHASE_OVER);
	assert_int_equal(ask(), BACKEND_HIT_RESUME); /* executes what is there */
	assert_true(regs.rip == at && regs.gpr[VCPU_RAX] == 0);
	f.ram[at - LIVE_GVA] = 0xcc; /* the guest's kprobe, set in the meantime */
	assert_int_equal(ask(), BACKEND_HIT_FOREIGN);
	end();
}

static void faults(void **state)
{
	struct vcpu_regs before;

	(void)state;
	begin(POKE_MODE_STAGED, "0f1f440000", "e800001000");
	regs.gpr[VCPU_RSP] = 0x8000000000000000u; /* not canonical */
	before = regs;
	assert_int_equal(ask(), BACKEND_HIT_FAULT);
	assert_true(fault.vector == 12 && fault.has_error_code && fault.error_code == 0);
	assert_memory_equal(&before, &regs, sizeof(regs));
	regs.gpr[VCPU_RSP] = LIVE_STACK_GVA + 4; /* half of the word is on a page that is not there */
	before = regs;
	assert_int_equal(ask(), BACKEND_HIT_FAULT);
	assert_true(fault.vector == 14 && fault.cr2 == LIVE_STACK_GVA - 4);
	assert_memory_equal(&before, &regs, sizeof(regs));
	regs.gpr[VCPU_RSP] = RSP_TOP - 8;
	regs.rflags |= 0x100; /* stepped by a debugger: each instruction owes a #DB */
	assert_int_equal(ask(), BACKEND_HIT_HOLD);
	end();
}

/* Twelve thousand answers on four threads, each all old or all new; the phase only ever goes on. */
struct asker {
	pthread_t thread;
	size_t vcpu;
	unsigned resumed, held, wrong;
};

static void *ask_many(void *arg)
{
	struct asker *a = arg;

	for (int i = 0; i < 3000; i++) {
		struct vcpu_regs r = { .rip = f.sites[0].gva, .cs = 0x10, .efer = EFER_LMA, .rflags = 0x202 };
		struct backend_fault why;
		enum backend_verdict v =
			traps->handler.hit(&traps->handler, &f.base, a->vcpu, BACKEND_TRAP_KIND_INT3, &r, &why);

		a->resumed += v == BACKEND_HIT_RESUME;
		a->held += v == BACKEND_HIT_HOLD;
		a->wrong += v == BACKEND_HIT_RESUME && (r.gpr[VCPU_RAX] != 0x22222222 || r.rip != f.sites[0].gva + 5);
		a->wrong += v != BACKEND_HIT_RESUME && v != BACKEND_HIT_HOLD;
	}
	return NULL;
}

static void threads(void **state)
{
	struct asker askers[4] = { 0 };
	struct poke_stats stats = { 0 };
	unsigned answered = 0;

	(void)state;
	begin(POKE_MODE_STAGED, "b811111111", "b822222222");
	poke_traps_free(traps);
	struct err e;
	assert_int_equal(poke_traps_new(&arch_x86_64, &f.plan, 4, &traps, &e), 0);
	for (size_t i = 0; i < 4; i++) {
		askers[i].vcpu = i;
		assert_int_equal(pthread_create(&askers[i].thread, NULL, ask_many, &askers[i]), 0);
	}
	for (int i = 0; i < 200; i++)
		poke_traps_phase(traps, i % 2 ? POKE_PHASE_GATHER : POKE_PHASE_SWITCH);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(askers[i].thread, NULL), 0);
		assert_int_equal(askers[i].wrong, 0);
		answered += askers[i].resumed + askers[i].held;
	}
	poke_traps_count(traps, &stats);
	assert_int_equal(answered, 12000);
	assert_int_equal(stats.traps, 12000);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(foreign), cmocka_unit_test(which_code), cmocka_unit_test(inside_a_range),
		cmocka_unit_test(late),	   cmocka_unit_test(faults),	 cmocka_unit_test(threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
