// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Mode staged against vCPUs that execute between any two bytes it stores: thousands
 * of interleavings without a broken rule, whatever fails; and engines broken on
 * purpose, each of which the same checker must catch, or it proves nothing.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fake/fake_live.h"
#include "vmm/poke/plan.h"

static struct fake_live f; /* too much for a stack */

static int run(uint64_t timeout_us, struct poke_stats *stats, struct err *e)
{
	*e = (struct err){ 0 };
	fake_live_run(&f, 60);
	int r = poke_run(&f.base, &arch_x86_64, &f.plan, &f.quiesce, &f.log, timeout_us, stats, e);
	fake_live_run(&f, 120); /* whatever was left behind shows afterwards */
	return r;
}

static void scenario(uint64_t seed, bool multi)
{
	fake_live_init(&f, seed, 1 + seed % LIVE_VCPUS_MAX);
	fake_live_sites(&f, 1 + fake_live_random(&f) % (LIVE_SITES_MAX - 1), multi);
	f.plan.mode = POKE_MODE_STAGED;
}

static void check(uint64_t seed, int r, const struct err *e)
{
	if (f.broken)
		fail_msg("seed %lu: %s (%d: %s)", (unsigned long)seed, f.broken, r, e->text);
	if (r == -EUCLEAN)
		return;
	if (f.handler || f.paused || !f.running || f.n_hw || !fake_live_holds(&f, r == 0))
		fail_msg("seed %lu: left behind in disorder (%d: %s)", (unsigned long)seed, r, e->text);
}

/* With breakpoints a site on two pages costs one pause. */
static bool crosses(void)
{
	for (size_t i = 0; i < f.plan.n_sites; i++)
		if (f.plan.trap == BACKEND_TRAP_KIND_INT3 && f.plan.sites[i].split < f.plan.sites[i].len)
			return true;
	return false;
}

static void single_instructions(void **state)
{
	unsigned hits = 0, passes = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 5000; seed++) {
		struct poke_stats stats;
		struct err e;

		scenario(seed, false);
		int r = run(1000000, &stats, &e);
		check(seed, r, &e);
		assert_int_equal(r, 0);
		assert_in_range(stats.barriers, 2, 3);
		assert_int_equal(stats.barriers, f.barriers);
		for (size_t i = 0; i < f.n_vcpus; i++)
			assert_in_range(f.kicked[i], 0, 3);
		assert_int_equal(stats.kicked + stats.already_out, stats.barriers * f.n_vcpus);
		assert_int_equal(f.pauses, crosses());
		assert_int_equal(f.last_state, POKE_DONE);
		hits += stats.traps;
		passes += f.new_passes && f.old_passes;
	}
	assert_true(hits > 5000 && passes > 4000);
}

static void several_instructions(void **state)
{
	unsigned retries = 0, steps = 0, slept = 0, done = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 2500; seed++) {
		struct poke_stats stats;
		struct err e;

		scenario(seed, true);
		f.insomnia = seed % 4 != 0;
		int r = run(seed % 8 ? 20000 : 0, &stats, &e);
		check(seed, r, &e);
		assert_true(r == 0 || (r == -ETIMEDOUT && e.kind == ERR_TIMEOUT));
		assert_true(r == 0 || strcmp(e.rule, "busy") == 0);
		retries += stats.retries;
		steps += stats.steps;
		slept += f.mid_sleeps;
		done += r == 0;
	}
	assert_true(done > 1900 && retries > 100 && steps > 100 && slept > 1000);
}

/* Old, new, and whether waiting for all tasks proves that nobody is inside, staged and held. */
static const struct {
	const char *old, *new;
	bool staged, held;
} waits[] = {
	{ "554889e54883ec10", "e9000010000f1f00", true, false }, /* held: who comes has to wait, and RCU for him */
	{ "b811111111bb22222222", "b933333333b844444444", true, true },
	{ "b8111111110f1f00c3", "b822222222c30f1f00", true, true },
	{ "488d4708e800001000", "e900001000488d4708", false, false }, /* neither side by hand: he waits as well */
	{ "e8000010000f1f00", "b8444444440f1f00", false, false },     /* a callee sleeps, and returns inside */
	{ "55ffd055", "eb109090", false, false },		     /* the same through a register */
	{ "55488b075d", "eb10909090", false, false },		     /* a page fault inside sleeps */
};

static void wait_of(size_t which, uint64_t seed, enum poke_mode mode)
{
	bool helps = mode == POKE_MODE_STAGED ? waits[which].staged : waits[which].held;
	struct poke_stats stats;
	struct err e;

	fake_live_init(&f, seed, 1 + seed % LIVE_VCPUS_MAX);
	fake_live_site(&f, waits[which].old, waits[which].new);
	fake_live_tasks(&f);
	fake_live_slots(&f, LIVE_SLOTS_MAX);
	f.plan.mode = mode;
	f.ghosts = true;
	int r = run(helps ? 1000000 : 3000, &stats, &e);
	check(seed, r, &e);
	if (r != (helps ? 0 : -ETIMEDOUT) || stats.tasks_left != helps || f.leave_calls != helps)
		fail_msg("shape %zu, seed %lu: %d (%s), waited %u times", which, (unsigned long)seed, r, e.text, f.leave_calls);
}

/* The scan takes something for a context for ever: waiting for all tasks ends that, where it proves something. */
static void all_tasks_have_left(void **state)
{
	unsigned slept = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(waits); i++)
		for (uint64_t seed = 1; seed <= 150; seed++) {
			wait_of(i, seed, POKE_MODE_STAGED);
			slept += f.mid_sleeps;
			wait_of(i, seed, POKE_MODE_HELD);
		}
	assert_true(slept > 100);
	/* No room for copies: who is inside waits at the next trap. */
	fake_live_init(&f, 1, 2);
	fake_live_site(&f, waits[0].old, waits[0].new);
	fake_live_tasks(&f);
	f.plan.mode = POKE_MODE_STAGED;
	f.ghosts = true;
	struct poke_stats stats;
	struct err e;
	assert_int_equal(run(3000, &stats, &e), -ETIMEDOUT);
	assert_int_equal(f.leave_calls, 0);
}

/* Asked only when the scan finds somebody, once, and without exclusion ranges; failing it is no failure. */
static void all_tasks_when_needed(void **state)
{
	struct poke_stats stats;
	struct err e;

	(void)state;
	for (int i = 0; i < 3; i++) {
		fake_live_init(&f, 5, 2);
		fake_live_site(&f, waits[1].old, waits[1].new);
		fake_live_tasks(&f);
		f.plan.mode = POKE_MODE_HELD;
		f.insomnia = true;
		f.ghosts = i > 0;
		f.plan.n_exclusions = i > 1;
		f.plan.exclusions[0] = (struct poke_exclusion){ .start = LIVE_GVA + 0x2000, .end = LIVE_GVA + 0x2010 };
		int r = run(i ? 20000 : 1000000, &stats, &e);
		check(5, r, &e);
		assert_int_equal(r, i == 2 ? -ETIMEDOUT : 0);
		assert_int_equal(f.leave_calls, i == 1);
		assert_int_equal(stats.tasks_left, i == 1);
	}
}

/* With room for copies: nobody breaks a rule, fewer have to wait, the padding is as it was; also when something fails. */
static void copies(void **state)
{
	unsigned held[2] = { 0 }, copied = 0, failed = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 4000; seed++) {
		struct poke_stats stats;
		struct err e;
		bool room = seed & 1;

		scenario(seed / 2, true);
		if (room)
			fake_live_slots(&f, LIVE_SLOTS_MAX);
		if (seed % 16 > 13)
			f.fail_at = 1 + (unsigned)(seed % 40);
		int r = run(20000, &stats, &e);
		check(seed, r, &e);
		if (r != -EUCLEAN)
			assert_true(fake_live_padded(&f));
		held[room] += f.holds;
		copied += stats.copied;
		failed += r < 0;
		assert_int_equal(stats.copied, f.copies);
		assert_true(room || !f.copies);
	}
	assert_true(copied > 1000 && failed > 100 && held[true] < held[false]);
}

/* A crash left copies, one of them half written, and vCPUs before and behind one. */
static void slots_settle(void **state)
{
	struct vcpu_regs *first = &f.vcpus[0].context.regs, *second = &f.vcpus[1].context.regs;
	struct err e = { 0 };

	(void)state;
	fake_live_init(&f, 1, 2);
	fake_live_site(&f, "488b0500000000", "488b0508000000");
	fake_live_slots(&f, 3);
	f.plan.mode = POKE_MODE_HELD;
	assert_int_equal(plan_copies_wanted(&arch_x86_64, &f.plan), 0);
	f.plan.mode = POKE_MODE_STAGED;
	assert_int_equal(plan_copies_wanted(&arch_x86_64, &f.plan), 2);
	f.paused = true;
	uint8_t *slot = f.ram + LIVE_SLOTS;
	uint64_t site = f.sites[0].gva, gva = f.slots[0].gva;
	assert_int_equal(arch_x86_64.relocate(f.sites[0].new_bytes, 7, site, gva, slot, 16), 7);
	memcpy(slot + POKE_SLOT_LEN, "\x48\x8b\x05", 3);
	first->rip = gva;
	second->rip = gva + 7;
	assert_int_equal(poke_settle_slots(&f.base, &f.plan, &e), 0);
	assert_true(fake_live_padded(&f));
	assert_true(first->rip == site && second->rip == site + 7);
	/* Somebody else wrote there. */
	slot[3] = slot[2 * POKE_SLOT_LEN] = 0x90;
	assert_int_equal(poke_settle_slots(&f.base, &f.plan, &e), 0);
	assert_true(slot[3] == 0x90 && slot[2 * POKE_SLOT_LEN] == 0x90);
	first->rip = gva + 3;
	assert_int_equal(poke_settle_slots(&f.base, &f.plan, &e), -EUCLEAN);
	assert_int_equal(e.kind, ERR_ATTENTION);
}

/* In the address space a vCPU hits in the slot leads elsewhere: it is held, not sent there. */
static void slot_not_mapped(void **state)
{
	struct poke_stats stats;
	unsigned held = 0;
	struct err e;

	(void)state;
	for (uint64_t seed = 1; seed <= 50; seed++) {
		fake_live_init(&f, seed, 3);
		fake_live_site(&f, "488b0500000000", "488b0508000000");
		fake_live_slots(&f, 4);
		f.hide_slots = true;
		f.plan.mode = POKE_MODE_STAGED;
		fake_live_run(&f, 100);
		int r = run(20000, &stats, &e);
		check(seed, r, &e);
		assert_int_equal(stats.copied, 0);
		held += f.holds;
	}
	assert_true(held > 0);
}

static void copy_wants_padding(void **state)
{
	struct poke_stats stats;
	struct err e;

	(void)state;
	fake_live_init(&f, 1, 1);
	fake_live_site(&f, "488b0500000000", "488b0508000000");
	fake_live_slots(&f, 1);
	f.plan.mode = POKE_MODE_STAGED;
	f.ram[LIVE_SLOTS + 9] = 0x90;
	assert_int_equal(poke_run(&f.base, &arch_x86_64, &f.plan, &f.quiesce, &f.log, 1000000, &stats, &e), -EBUSY);
	assert_string_equal(e.rule, "slot");
	assert_int_equal(f.ram[LIVE_SLOTS + 9], 0x90);
	f.ram[LIVE_SLOTS + 9] = 0xcc;
	assert_true(fake_live_holds(&f, false) && fake_live_padded(&f) && !f.handler);
	f.caps &= ~(unsigned)BACKEND_STEP;
	assert_int_equal(poke_run(&f.base, &arch_x86_64, &f.plan, &f.quiesce, &f.log, 1000000, &stats, &e), -EINVAL);
}

/* At most four instructions, none of which can fault, behind debug registers. */
static void debug_registers(void **state)
{
	static const char *const fit[][2] = { { "0f1f440000", "e900001000" },
					      { "e800001000", "e800002000" },
					      { "b811111111", "488d4710f8" },
					      { "b811111111bb22222222", "e900001000b844444444" } };
	unsigned hits = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 4000; seed++) {
		struct poke_stats stats;
		struct err e;

		fake_live_init(&f, seed, 1 + seed % LIVE_VCPUS_MAX);
		f.plan.mode = POKE_MODE_STAGED;
		f.plan.trap = BACKEND_TRAP_KIND_HW;
		for (size_t i = 0; i < 1 + seed % 2; i++) {
			size_t shape = fake_live_random(&f) % ARRAY_SIZE(fit);
			fake_live_site(&f, fit[shape][0], fit[shape][1]);
		}
		int r = run(100000, &stats, &e);
		check(seed, r, &e);
		assert_true(r == 0 || r == -ETIMEDOUT);
		for (size_t i = 0; i < f.n_stores; i++)
			assert_int_not_equal(f.stores[i].before, 0xcc);
		assert_true(r < 0 || stats.barriers == 3);
		hits += stats.traps;
	}
	assert_true(hits > 4000);

	/* Too many, and one that may fault (see mode.c). */
	for (int i = 0; i < 2; i++) {
		struct poke_stats stats;
		struct err e;

		fake_live_init(&f, 1, 2);
		f.plan.mode = POKE_MODE_STAGED;
		f.plan.trap = BACKEND_TRAP_KIND_HW;
		for (size_t j = 0; i == 0 && j < 5; j++)
			fake_live_site(&f, "90", "f8");
		if (i == 1)
			fake_live_site(&f, "488b07", "0f1f00");
		assert_int_equal(run(0, &stats, &e), -EOPNOTSUPP);
		assert_string_equal(e.rule, "mode");
		assert_int_equal(f.n_stores, 0);
		check(1, -EOPNOTSUPP, &e);
	}
}

/* Every call fails once, or from there on; records fail; the caller gives up. */
static void failures(void **state)
{
	unsigned attention = 0, undone = 0, done = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 5000; seed++) {
		struct poke_stats stats;
		struct err e;

		scenario(seed, seed % 2);
		if (seed % 5 == 0) {
			f.plan.n_sites = 0;
			f.plan.needs_quiescence = false;
			f.plan.trap = BACKEND_TRAP_KIND_HW;
			fake_live_site(&f, "0f1f440000", "b844332211");
		}
		f.insomnia = seed % 4 != 0;
		f.fail_at = 1 + (unsigned)(fake_live_random(&f) % 100);
		f.fail_for = fake_live_random(&f) % 4 ? 1 + (unsigned)(fake_live_random(&f) % 2) : 1000000;
		if (seed % 16 == 0)
			f.fail_state = (int)(fake_live_random(&f) % POKE_STATE_COUNT);
		if (seed % 16 == 1)
			f.cancel_after = 1 + (unsigned)(fake_live_random(&f) % 4);
		int r = run(5000, &stats, &e);
		check(seed, r, &e);
		assert_true(r == 0 || (e.kind != ERR_NONE && e.text[0]));
		assert_int_equal(r == -EUCLEAN, e.kind == ERR_ATTENTION);
		if (f.fail_for <= 2)
			assert_int_not_equal(r, -EUCLEAN);
		attention += r == -EUCLEAN;
		undone += r < 0 && r != -EUCLEAN;
		done += r == 0;
	}
	assert_true(attention > 60 && undone > 600 && done > 600);
}

/* New code runs already when the read-back fails: the way back counts who is inside it. */
static void back_from_new_code(void **state)
{
	unsigned undone = 0, ran_new = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 1500; seed++) {
		struct poke_stats stats;
		struct err e;

		scenario(seed, true);
		f.insomnia = seed % 4 != 0;
		f.fail_state = POKE_VERIFIED;
		int r = run(20000, &stats, &e);
		check(seed, r, &e);
		assert_true(r < 0);
		undone += r == -ENOSPC;
		ran_new += f.new_passes > 0;
	}
	assert_true(undone > 1000 && ran_new > 750);
}

static bool caught(enum live_sabotage sabotage, uint64_t seeds, bool multi)
{
	for (uint64_t seed = 1; seed <= seeds; seed++) {
		struct poke_stats stats;
		struct err e;

		scenario(seed, multi);
		f.sabotage = sabotage;
		run(10000, &stats, &e);
		if (f.broken)
			return true;
	}
	return false;
}

static void broken_engines_are_caught(void **state)
{
	(void)state;
	assert_false(caught(LIVE_HONEST, 100, true));
	assert_true(caught(LIVE_NO_BARRIER_AFTER_TRAPPED, 300, false));
	assert_true(caught(LIVE_NO_BARRIER_AFTER_TAILED, 300, false));
	assert_true(caught(LIVE_HEAD_BEFORE_TAIL, 300, false));
	assert_true(caught(LIVE_RELEASE_BEFORE_QUIESCENCE, 300, true));
}

/* A VM that its operator has paused is changed and stays paused. */
static void found_paused(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct poke_stats stats;
		struct err e;

		scenario(seed, true);
		fake_live_run(&f, 100);
		f.running = false;
		int r = run(0, &stats, &e);
		assert_null(f.broken);
		assert_true(r == 0 || r == -ETIMEDOUT);
		assert_false(f.running || f.paused);
		assert_true(fake_live_holds(&f, r == 0));
		f.running = true;
		fake_live_run(&f, 200);
		assert_null(f.broken);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(single_instructions), cmocka_unit_test(several_instructions),
		cmocka_unit_test(copies),	       cmocka_unit_test(copy_wants_padding),
		cmocka_unit_test(slots_settle),	       cmocka_unit_test(slot_not_mapped),
		cmocka_unit_test(debug_registers),     cmocka_unit_test(failures),
		cmocka_unit_test(back_from_new_code),  cmocka_unit_test(broken_engines_are_caught),
		cmocka_unit_test(found_paused),	       cmocka_unit_test(all_tasks_have_left),
		cmocka_unit_test(all_tasks_when_needed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
