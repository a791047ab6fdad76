// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The work of a vCPU: run every site, look at every result, round after round,
 * until the host says stop. smp.h says which results are legal when. Must never
 * judge by more than it read itself: seq, result, seq again.
 */
#include "guest.h"

uint64_t self_index(void)
{
	uint64_t rsp;

	__asm__ volatile("mov %%rsp, %0" : "=r"(rsp));
	return (rsp - SMP_STACKS) / SMP_STACK_SIZE;
}

struct smp_vcpu *self(void)
{
	return (struct smp_vcpu *)SMP_VCPUS + self_index();
}

/* Keeps the first one whole; counts all. */
void violation(enum smp_violation kind, uint64_t site, uint64_t value, uint64_t expected, uint64_t seq)
{
	struct smp_vcpu *v = self();

	count(&v->violations[kind]);
	if (v->kind != SMP_VIOLATION_NONE)
		return;
	v->kind = kind;
	v->site = site;
	v->value = value;
	v->expected = expected;
	v->seq = seq;
	report(self_index(), v);
}

static uint64_t group_seq(uint32_t group)
{
	return __atomic_load_n(&((struct smp_group *)SMP_GROUPS)[group].seq, __ATOMIC_SEQ_CST);
}

static uint64_t site_run(const struct smp_site *site)
{
	return ((uint64_t(*)(void))site->entry)();
}

/* 0 old, 1 new, -1 neither. */
static int site_version(const struct smp_site *site, uint64_t result)
{
	return result == site->results[0] ? 0 : result == site->results[1] ? 1 : -1;
}

static void check_site(uint32_t index)
{
	const struct smp_site *site = (const struct smp_site *)SMP_SITES + index;
	struct smp_vcpu *v = self();
	uint64_t before = group_seq(site->group);
	uint64_t result = site_run(site);
	uint64_t after = group_seq(site->group);
	int stable = before & 2 ? 1 : 0;

	count(&v->checks);
	if (site_version(site, result) < 0) {
		violation(SMP_VIOLATION_RESULT, index, result, site->results[stable], before);
	} else if (before == after && !(before & 1)) {
		count(&v->exact);
		if (site_version(site, result) != stable)
			violation(SMP_VIOLATION_STALE, index, result, site->results[stable], before);
	}
}

void check_sites(enum smp_context context)
{
	uint32_t first = CONTROL->sites[context].first, n = CONTROL->sites[context].count;

	for (uint32_t i = 0; i < n; i++)
		check_site(first + i);
}

/*
 * The halves are run in both orders in turn, so that a change that is not atomic
 * shows whichever half it does first. At most one change lies between the two
 * readings of seq when they are no further apart than from stable to stable.
 */
static void check_pair(const struct smp_pair *pair, unsigned turn)
{
	const struct smp_site *first = (const struct smp_site *)SMP_SITES + pair->sites[turn];
	const struct smp_site *second = (const struct smp_site *)SMP_SITES + pair->sites[!turn];
	struct smp_vcpu *v = self();
	uint64_t before = group_seq(first->group), before_second = group_seq(second->group);
	int a = site_version(first, site_run(first));
	int b = site_version(second, site_run(second));
	uint64_t after = group_seq(first->group), after_second = group_seq(second->group);
	int from = ((before & ~1ul) & 2) ? 1 : 0;

	if (a < 0 || b < 0 || (before & ~1ul) != (before_second & ~1ul) || after > (before & ~1ul) + 2 ||
	    after_second > (before & ~1ul) + 2)
		return; /* bad results are counted where that site is looked at alone */
	count(&v->pairs_checked);
	if (a == from && b != from)
		count(&v->pairs_between);
	if (a != from && b == from)
		violation(SMP_VIOLATION_PAIR, pair->sites[turn], (uint64_t)a, (uint64_t)b, before);
}

void check_pairs(uint64_t round)
{
	for (uint32_t i = 0; i < CONTROL->pairs; i++)
		check_pair((const struct smp_pair *)SMP_PAIRS + i, (unsigned)round & 1);
}

/* Machine checks reach a vCPU only after this; without it one is a shutdown. */
static void machine_checks_on(void)
{
	uint64_t cr4;

	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	__asm__ volatile("mov %0, %%cr4" : : "r"(cr4 | 1ul << 6) : "memory");
}

void guest_main(uint64_t vcpu)
{
	struct smp_vcpu *v = (struct smp_vcpu *)SMP_VCPUS + vcpu;

	trap_install();
	if (CONTROL->use_mce)
		machine_checks_on();
	if (CONTROL->has_apic)
		apic_timer_start();
	__asm__ volatile("sti");
	__atomic_store_n(&v->running, 1, __ATOMIC_SEQ_CST);
	while (!CONTROL->stop) {
		if (CONTROL->iret)
			iret_here();
		check_sites(SMP_IN_MAIN);
		check_pairs(v->iterations);
		count(&v->iterations);
	}
	__atomic_store_n(&v->resting, 1, __ATOMIC_SEQ_CST);
	rest();
	__builtin_unreachable();
}
