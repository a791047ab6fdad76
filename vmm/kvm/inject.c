// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Delivers to the guest what is its own: exceptions, NMI, machine checks. Registers
 * must be set before an exception is queued: KVM_SET_REGS drops a pending one.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/kvm/machine_private.h"

#define VECTOR_PF 14
#define MCE_TIMEOUT_US 2000000u

static int set_cr2(struct cpu *c, uint64_t cr2)
{
	struct kvm_sregs s;

	if (ioctl(c->fd, KVM_GET_SREGS, &s) < 0)
		return -errno;
	s.cr2 = cr2;
	return ioctl(c->fd, KVM_SET_SREGS, &s) < 0 ? -errno : 0;
}

int cpu_event_queued(struct cpu *c)
{
	struct kvm_vcpu_events events;

	if (ioctl(c->fd, KVM_GET_VCPU_EVENTS, &events) < 0)
		return -errno;
	return events.exception.injected || events.exception.pending || events.interrupt.injected ||
	       events.nmi.injected;
}

int cpu_inject(struct cpu *c, const struct backend_fault *fault)
{
	struct kvm_vcpu_events events;

	if (fault->vector == VECTOR_PF) {
		int r = set_cr2(c, fault->cr2);
		if (r < 0)
			return r;
	}
	if (ioctl(c->fd, KVM_GET_VCPU_EVENTS, &events) < 0)
		return -errno;
	/* "injected", not "pending": the trap was taken; on Intel a #BP then goes in with the length of its exit. */
	events.exception.injected = 1;
	events.exception.nr = fault->vector;
	events.exception.has_error_code = fault->has_error_code;
	events.exception.error_code = fault->error_code;
	events.flags = 0; /* what another vCPU may change between get and set stays as it is */
	return ioctl(c->fd, KVM_SET_VCPU_EVENTS, &events) < 0 ? -errno : 0;
}

/* On the vCPU's thread: KVM_NMI takes vcpu->mutex, which KVM_RUN holds. */
static int nmi_job(struct cpu_job *job, struct cpu *c)
{
	(void)job;
	if (ioctl(c->fd, KVM_NMI, 0) < 0)
		return -errno;
	pthread_mutex_lock(&c->m->lock);
	c->halted = false;
	pthread_mutex_unlock(&c->m->lock);
	return 0;
}

static int check_vcpu(const struct machine *m, size_t vcpu, struct err *e)
{
	return vcpu < m->n_cpus ? 0 : err_set(e, ERR_FAILED, EINVAL, "", "there is no vCPU %zu", vcpu);
}

int machine_inject_nmi(struct machine *m, size_t vcpu, struct err *e)
{
	struct cpu_job job = { .run = nmi_job };
	int r = check_vcpu(m, vcpu, e);

	return r < 0 ? r : cpus_call(m, vcpu, &job, MCE_TIMEOUT_US, NULL, e);
}

struct mce_job {
	struct cpu_job job;
	uint64_t status, addr;
};

/* VAL | UC | EN | ADDRV and what the caller adds; MCG: MCIP | RIPV (Intel SDM vol. 3, 15.3). */
static int mce_job(struct cpu_job *job, struct cpu *c)
{
	const struct mce_job *j = container_of(job, struct mce_job, job);
	struct kvm_x86_mce mce = { .status = j->status, .addr = j->addr, .mcg_status = 1 << 2 | 1 << 0, .bank = 1 };

	return ioctl(c->fd, KVM_X86_SET_MCE, &mce) < 0 ? -errno : 0;
}

int machine_inject_mce(struct machine *m, size_t vcpu, uint64_t status, uint64_t addr, struct err *e)
{
	struct mce_job job = { .job.run = mce_job, .status = status | 0xbull << 60 | 1ull << 58, .addr = addr };
	int r = check_vcpu(m, vcpu, e);

	if (r >= 0 && !m->has_mce)
		r = err_set(e, ERR_FAILED, ENOTSUP, "", "this KVM has no machine checks");
	return r < 0 ? r : cpus_call(m, vcpu, &job.job, MCE_TIMEOUT_US, NULL, e);
}
