// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * KVM_SET_GUEST_DEBUG of a vCPU, made from what the machine wants as a whole. Each
 * call states everything anew: KVM keeps no bit it is not told again.
 *
 * It reaches a vCPU only out of KVM_RUN, and taking every vCPU out twice per
 * transaction costs more than the transaction. So int3 comes to us from the start and
 * stays so; what changes is who is asked (machine.armed). A guest that uses int3 a
 * lot pays an exit for each: a vCPU that met FOREIGN_MAX of them while nobody was
 * armed stops reporting them, and is taken out once by the next arm(). Must never be
 * off on a vCPU while somebody is armed, nor leave RFLAGS.RF where a debug register is set.
 */
#include <errno.h>
#include <sys/ioctl.h>

#include "vmm/kvm/machine_private.h"

#define FOREIGN_MAX 100 /* int3 of the guest; booting Linux takes a few, a probed function thousands a second */

#define DR7_FIXED  0x400u
#define DR7_GLOBAL 2u /* G0; execute and length 1 are type 0, so nothing more is to be set */
#define RFLAGS_RF  (1ull << 16)

bool debug_traps_at(struct machine *m, uint64_t gva)
{
	bool found = false;

	pthread_mutex_lock(&m->lock);
	for (size_t i = 0; i < m->n_armed; i++)
		for (size_t j = 0; j < m->armed[i].n_hw; j++)
			found |= m->armed[i].hw[j] == gva;
	pthread_mutex_unlock(&m->lock);
	return found;
}

/* Those of all who are armed, one register each; arm() and trap_hw() see to it that they fit. Caller holds the lock. */
static void set_registers(const struct machine *m, struct kvm_guest_debug *d)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n_armed; i++)
		for (size_t j = 0; j < m->armed[i].n_hw && n < CPU_DEBUG_REGISTERS; j++, n++) {
			d->arch.debugreg[n] = m->armed[i].hw[j];
			d->arch.debugreg[7] |= (uint64_t)DR7_GLOBAL << (2 * n);
		}
	if (!n)
		return;
	d->control |= KVM_GUESTDBG_USE_HW_BP;
	d->arch.debugreg[7] |= DR7_FIXED;
}

/*
 * A vCPU that stands at a site may have RF set from before: by resume_at() for the trap
 * of another transaction, or by an exit of the CPU's (Intel SDM vol. 3, "Saving RIP, RSP,
 * RFLAGS, and SSP"). The register just set would be silent once, and the vCPU execute half
 * of the old instruction and half of the new one.
 */
static int rf_forget(struct machine *m, struct cpu *c)
{
	struct vcpu_regs regs;
	int r = cpu_regs_at_exit(c, &regs);

	if (r < 0 || !(regs.rflags & RFLAGS_RF) || !debug_traps_at(m, regs.rip))
		return r;
	regs.rflags &= ~RFLAGS_RF;
	return cpu_regs_set(c, &regs);
}

int debug_apply(struct machine *m, struct cpu *c, uint32_t extra)
{
	struct kvm_guest_debug d = { .control = extra };

	pthread_mutex_lock(&m->lock);
	bool sw = m->sw_traps && !c->sw_off;
	if (sw)
		d.control |= KVM_GUESTDBG_USE_SW_BP;
	set_registers(m, &d);
	pthread_mutex_unlock(&m->lock);
	if (d.control)
		d.control |= KVM_GUESTDBG_ENABLE;
	if (ioctl(c->fd, KVM_SET_GUEST_DEBUG, &d) < 0)
		return -errno;
	pthread_mutex_lock(&m->lock);
	c->sw_applied = sw;
	pthread_mutex_unlock(&m->lock);
	return d.control & KVM_GUESTDBG_USE_HW_BP ? rf_forget(m, c) : 0;
}

int debug_start(struct machine *m)
{
	int r = 0;

	m->sw_traps = m->abilities.int3 == MACHINE_INT3_DEBUG_EXIT;
	for (size_t i = 0; m->sw_traps && r >= 0 && i < m->n_cpus; i++)
		r = debug_apply(m, &m->cpus[i], 0);
	return r;
}

/* On the vCPU's own thread. With the lock, as arm() looks at sw_off and adds the handler under it. */
int debug_foreign(struct cpu *c)
{
	struct machine *m = c->m;

	pthread_mutex_lock(&m->lock);
	bool off = m->sw_traps && !m->n_armed && !c->sw_off && ++c->foreign >= FOREIGN_MAX;
	if (off)
		c->sw_off = true;
	pthread_mutex_unlock(&m->lock);
	return off ? debug_apply(m, c, 0) : 0;
}
