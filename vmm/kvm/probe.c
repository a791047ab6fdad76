// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What this /dev/kvm can do, found out by running a few guest instructions on it.
 * Versions and capability bits say what should work; KVM in KVM, in an emulator or
 * in an interpreter often differs. Done once per process: it is the host's property.
 * Guests here are straight-line code, so that each KVM_RUN ends.
 */
#include "vmm/kvm/probe.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/kvm/machine_private.h"

#define NOP  0x90
#define INT3 0xcc
#define HLT  0xf4
#define RFLAGS_RF (1ull << 16)
#define STEPS	  3
#define RUNS_MAX  16

int probe_machine(const struct machine_abilities *a, const uint8_t *code, size_t len, struct machine **ret,
		  struct err *e)
{
	const struct machine_config config = { .name = "probe", .vcpus = 1, .memory = PROBE_MEMORY, .no_irqchip = true };
	_cleanup_(machine_destroy) struct machine *m = NULL;
	int r = machine_create_empty(&config, a, &m, e);

	if (r >= 0)
		r = longmode_tables(m, e);
	if (r >= 0)
		r = memory_write(&m->memory, PROBE_CODE, code, len);
	if (r >= 0)
		r = longmode_enter(&m->cpus[0], PROBE_CODE, 0, 0, e);
	if (r >= 0)
		*ret = TAKE_PTR(m);
	return r;
}

static uint64_t rip_of(struct cpu *c)
{
	struct kvm_regs regs = { 0 };

	ioctl(c->fd, KVM_GET_REGS, &regs);
	return regs.rip;
}

static int probe_int3(struct machine_abilities *a, struct err *e)
{
	static const uint8_t code[] = { NOP, INT3, HLT };
	_cleanup_(machine_destroy) struct machine *m = NULL;
	int r = probe_machine(a, code, sizeof(code), &m, e);

	if (r < 0)
		return r;
	struct cpu *c = &m->cpus[0];
	a->int3 = MACHINE_INT3_NOT_REPORTED;
	m->sw_traps = true;
	if (debug_apply(m, c, 0) < 0 || cpu_enter(c) < 0 || rip_of(c) != PROBE_CODE + 1)
		return 0;
	if (c->run->exit_reason == KVM_EXIT_DEBUG && c->run->debug.arch.exception == 3)
		a->int3 = MACHINE_INT3_DEBUG_EXIT;
	else if (c->run->exit_reason == KVM_EXIT_INTERNAL_ERROR &&
		 c->run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION)
		a->int3 = MACHINE_INT3_EMULATION_ERROR;
	return 0;
}

static int probe_step(struct machine_abilities *a, struct err *e)
{
	static const uint8_t code[] = { NOP, NOP, NOP, HLT };
	_cleanup_(machine_destroy) struct machine *m = NULL;
	int r = probe_machine(a, code, sizeof(code), &m, e);
	int runs = 0;

	if (r < 0)
		return r;
	struct cpu *c = &m->cpus[0];
	a->step = MACHINE_STEP_NONE;
	if (debug_apply(m, c, KVM_GUESTDBG_SINGLESTEP) < 0)
		return 0;
	while (rip_of(c) < PROBE_CODE + STEPS && runs < RUNS_MAX) {
		if (cpu_enter(c) < 0 || c->run->exit_reason != KVM_EXIT_DEBUG)
			return 0;
		runs++;
	}
	if (rip_of(c) == PROBE_CODE + STEPS)
		a->step = runs == STEPS ? MACHINE_STEP_EXACT : MACHINE_STEP_REPEATS;
	return 0;
}

/* Does it fire, and does RF let the instruction pass then? */
static int probe_hw(struct machine_abilities *a, struct err *e)
{
	static const uint8_t code[] = { NOP, NOP, HLT };
	_cleanup_(machine_destroy) struct machine *m = NULL;
	struct kvm_regs regs;
	int r = probe_machine(a, code, sizeof(code), &m, e);

	if (r < 0)
		return r;
	struct cpu *c = &m->cpus[0];
	m->armed[0] = (struct armed){ .hw = { PROBE_CODE + 1 }, .n_hw = 1 };
	m->n_armed = 1;
	if (debug_apply(m, c, 0) < 0 || cpu_enter(c) < 0)
		return 0;
	if (c->run->exit_reason != KVM_EXIT_DEBUG || !(c->run->debug.arch.dr6 & 1) || rip_of(c) != PROBE_CODE + 1)
		return 0;
	a->hw_breakpoints = true;
	if (ioctl(c->fd, KVM_GET_REGS, &regs) < 0)
		return 0;
	regs.rflags |= RFLAGS_RF;
	if (ioctl(c->fd, KVM_SET_REGS, &regs) < 0 || cpu_enter(c) < 0)
		return 0;
	a->rf = c->run->exit_reason == KVM_EXIT_HLT;
	return 0;
}

static int probe_caps(struct machine_abilities *a, struct err *e)
{
	static const uint8_t code[] = { HLT };
	_cleanup_(machine_destroy) struct machine *m = NULL;
	int r = probe_machine(a, code, sizeof(code), &m, e);

	if (r < 0)
		return r;
	int debug = ioctl(m->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_SET_GUEST_DEBUG2);
	int sync = ioctl(m->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_SYNC_REGS);
	a->block_irq = debug > 0 && debug & KVM_GUESTDBG_BLOCKIRQ;
	a->sync_regs = sync > 0 && (unsigned)sync & KVM_SYNC_X86_REGS && (unsigned)sync & KVM_SYNC_X86_SREGS;
	a->stats = m->cpus[0].stats_fd >= 0;
	a->irqchip = ioctl(m->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQCHIP) > 0 &&
		     ioctl(m->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_PIT2) > 0;
	return 0;
}

static struct machine_abilities found;
static struct err found_err;
static int found_r;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void probe_all(void)
{
	struct machine_abilities a = { 0 };
	struct err *e = &found_err;
	int r = probe_caps(&a, e);

	if (r >= 0)
		r = probe_int3(&a, e);
	if (r >= 0)
		r = probe_step(&a, e);
	if (r >= 0)
		r = probe_hw(&a, e);
	if (r >= 0)
		r = probe_live(&a, e);
	found = a;
	found_r = r < 0 ? r : 0;
}

int machine_probe(struct machine_abilities *ret, struct err *e)
{
	pthread_once(&once, probe_all);
	if (found_r < 0) {
		if (e)
			*e = found_err;
		return found_r;
	}
	*ret = found;
	return 0;
}
