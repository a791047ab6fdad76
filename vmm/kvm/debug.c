// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * KVM_SET_GUEST_DEBUG of a vCPU, made from what the machine wants as a whole. Each
 * call states everything anew: KVM keeps no bit it is not told again.
 */
#include <errno.h>
#include <sys/ioctl.h>

#include "vmm/kvm/machine_private.h"

#define DR7_FIXED  0x400u
#define DR7_GLOBAL 2u /* G0; execute and length 1 are type 0, so nothing more is to be set */

int debug_apply(struct machine *m, struct cpu *c, uint32_t extra)
{
	struct kvm_guest_debug d = { .control = extra };

	pthread_mutex_lock(&m->lock);
	if (m->sw_traps)
		d.control |= KVM_GUESTDBG_USE_SW_BP;
	if (m->n_hw_traps) {
		d.control |= KVM_GUESTDBG_USE_HW_BP;
		d.arch.debugreg[7] = DR7_FIXED;
		for (size_t i = 0; i < m->n_hw_traps; i++) {
			d.arch.debugreg[i] = m->hw_traps[i];
			d.arch.debugreg[7] |= (uint64_t)DR7_GLOBAL << (2 * i);
		}
	}
	pthread_mutex_unlock(&m->lock);
	if (d.control)
		d.control |= KVM_GUESTDBG_ENABLE;
	return ioctl(c->fd, KVM_SET_GUEST_DEBUG, &d) < 0 ? -errno : 0;
}
