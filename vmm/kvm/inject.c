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
#define MSR_MCG_STATUS 0x17au
#define CALL_TIMEOUT_US 2000000u
#define NMI_MERGED	1

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

/*
 * Would KVM keep one more? As process_nmi() in arch/x86/kvm/x86.c: two, or one while the
 * guest handles one. What is more it drops without a word, as a CPU does.
 */
static bool nmi_has_room(const struct kvm_vcpu_events *now)
{
	return now->nmi.pending < (now->nmi.masked || now->nmi.injected ? 1 : 2);
}

/* On the vCPU's thread: KVM_NMI takes vcpu->mutex, which KVM_RUN holds. */
static int nmi_job(struct cpu_job *job, struct cpu *c)
{
	struct kvm_vcpu_events now;

	(void)job;
	if (ioctl(c->fd, KVM_GET_VCPU_EVENTS, &now) < 0)
		return -errno;
	if (!nmi_has_room(&now))
		return NMI_MERGED;
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
	struct cpu_request request = { .job.run = nmi_job };
	int r = check_vcpu(m, vcpu, e);

	return r < 0 ? r : cpu_request(m, vcpu, &request, CALL_TIMEOUT_US, e);
}

struct mce_job {
	struct cpu_request request;
	uint64_t status, addr;
};

/*
 * VAL | UC | EN | ADDRV and what the caller adds; MCG: MCIP | RIPV (Intel SDM vol. 3, 15.3).
 * Not while KVM holds an interrupt, NMI or fault whose delivery a kick has cut short: it
 * injects the machine check instead of that one, and at the next exit forgets what it did
 * not inject (__vmx_complete_interrupts(), arch/x86/kvm/vmx/vmx.c). An interrupt lost that
 * way leaves its bit in the local APIC's ISR set for ever.
 */
static int mce_job(struct cpu_job *job, struct cpu *c)
{
	const struct mce_job *j = container_of(container_of(job, struct cpu_request, job), struct mce_job, request);
	struct kvm_x86_mce mce = { .status = j->status, .addr = j->addr, .mcg_status = 1 << 2 | 1 << 0, .bank = 1 };
	int r = cpu_event_queued(c);

	if (r != 0)
		return r < 0 ? r : -EAGAIN;
	return ioctl(c->fd, KVM_X86_SET_MCE, &mce) < 0 ? -errno : 0;
}

int machine_inject_mce(struct machine *m, size_t vcpu, uint64_t status, uint64_t addr, struct err *e)
{
	struct mce_job job = { .request.job.run = mce_job, .status = status | 0xbull << 60 | 1ull << 58, .addr = addr };
	int r = check_vcpu(m, vcpu, e);

	if (r >= 0 && !m->has_mce)
		r = err_set(e, ERR_FAILED, ENOTSUP, "", "this KVM has no machine checks");
	return r < 0 ? r : cpu_request(m, vcpu, &job.request, CALL_TIMEOUT_US, e);
}

struct events_job {
	struct cpu_request request;
	struct machine_events found;
};

static int mcg_status(struct cpu *c, uint64_t *ret)
{
	_cleanup_free_ struct kvm_msrs *msrs = calloc(1, sizeof(*msrs) + sizeof(msrs->entries[0]));

	if (!msrs)
		return -ENOMEM;
	msrs->nmsrs = 1;
	msrs->entries[0].index = MSR_MCG_STATUS;
	if (ioctl(c->fd, KVM_GET_MSRS, msrs) != 1)
		return -EIO;
	*ret = msrs->entries[0].data;
	return 0;
}

static int events_job(struct cpu_job *job, struct cpu *c)
{
	struct events_job *j =
		container_of(container_of(job, struct cpu_request, job), struct events_job, request);
	struct kvm_vcpu_events now;

	if (ioctl(c->fd, KVM_GET_VCPU_EVENTS, &now) < 0)
		return -errno;
	j->found = (struct machine_events){ .nmi_pending = now.nmi.pending,
					    .nmi_injected = now.nmi.injected,
					    .nmi_masked = now.nmi.masked,
					    .exception = now.exception.injected || now.exception.pending };
	return c->m->has_mce ? mcg_status(c, &j->found.mcg_status) : 0;
}

int machine_events(struct machine *m, size_t vcpu, struct machine_events *ret, struct err *e)
{
	struct events_job job = { .request.job.run = events_job };
	int r = check_vcpu(m, vcpu, e);

	if (r >= 0)
		r = cpu_request(m, vcpu, &job.request, CALL_TIMEOUT_US, e);
	if (r >= 0)
		*ret = job.found;
	return r;
}
