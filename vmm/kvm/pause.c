// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Stopping and stepping. Paused means that every vCPU thread waits in
 * cpu_attend(). A vCPU that does not come out in time makes pause() fail and the
 * others run on; nothing may stay stopped behind the caller's back.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/kvm/live.h"
#include "vmm/kvm/machine_private.h"
#include "vmm/kvm/wait.h"

#define PAUSE_TIMEOUT_US 5000000u
#define STEP_TIMEOUT_US	 500000u
#define RFLAGS_RF	 (1ull << 16)
#define STEP_TRIES	 32 /* some KVMs report a step that did not move, once per EPT violation: page tables, code, stack */

/* Caller holds the lock. */
static int wait_stopped(struct machine *m, uint64_t deadline, struct err *e)
{
	for (size_t i = 0; i < m->n_cpus; i++) {
		struct cpu *c = &m->cpus[i];
		while (c->state == CPU_RUNNING)
			if (wait_until(&m->done, &m->lock, deadline) < 0 && c->state == CPU_RUNNING)
				return err_set(e, ERR_TIMEOUT, ETIMEDOUT, "vcpu-stuck",
					       "vCPU %zu does not leave guest mode", i);
	}
	return 0;
}

int run_pause(struct backend *b, struct backend_pause_hook *hook, bool *ret_was_running, struct err *e)
{
	struct machine *m = machine_of(b);

	if (m->stop)
		return err_set(e, ERR_FAILED, EALREADY, "", "the VM is already held");
	if (machine_ended(m))
		return err_set(e, ERR_INACTIVE, EHOSTDOWN, "run-state", "the VM has ended: %s", m->end_reason);
	bool running = m->started;
	int r = hook ? hook->before(hook, running, e) : 0;
	if (r < 0)
		return r;
	b->stop_asked_us = now_us();
	pthread_mutex_lock(&m->lock);
	m->stop = true;
	for (size_t i = 0; i < m->n_cpus; i++)
		if (m->cpus[i].state == CPU_RUNNING)
			cpu_kick(&m->cpus[i]);
	r = wait_stopped(m, b->stop_asked_us + PAUSE_TIMEOUT_US, e);
	if (r < 0) {
		m->stop = false;
		pthread_cond_broadcast(&m->go);
	}
	pthread_mutex_unlock(&m->lock);
	if (r == 0)
		*ret_was_running = running;
	return r;
}

int run_resume(struct backend *b, struct err *e)
{
	struct machine *m = machine_of(b);

	if (!m->stop)
		return err_set(e, ERR_FAILED, EINVAL, "", "the VM is not held");
	/* Tells the guest's watchdog that time was taken from it. Refused when the guest has no kvmclock: no matter. */
	for (size_t i = 0; i < m->n_cpus; i++)
		ioctl(m->cpus[i].fd, KVM_KVMCLOCK_CTRL, 0);
	pthread_mutex_lock(&m->lock);
	m->stop = false;
	pthread_cond_broadcast(&m->go);
	pthread_mutex_unlock(&m->lock);
	b->resumed_us = now_us();
	return 0;
}

/* RF comes and goes with the faults that the host handles meanwhile: it is no move. */
static bool has_moved(struct kvm_regs before, struct kvm_regs after)
{
	before.rflags &= ~RFLAGS_RF;
	after.rflags &= ~RFLAGS_RF;
	return memcmp(&before, &after, sizeof(after)) != 0;
}

/* 1: one instruction was executed; 0: the vCPU did not move. */
static int step_once(struct cpu *c)
{
	struct kvm_regs before, after;

	if (ioctl(c->fd, KVM_GET_REGS, &before) < 0)
		return -errno;
	int r = cpu_enter(c);
	/* -EINTR: asked to come back before the instruction was done, or between an exit and its completion. */
	if (r < 0)
		return r == -EINTR ? -ETIMEDOUT : r;
	if (c->run->exit_reason != KVM_EXIT_DEBUG)
		cpu_exit(c);
	if (c->io_pending) {
		c->run->immediate_exit = 1;
		ioctl(c->fd, KVM_RUN, 0);
		c->io_pending = c->synced = false;
	}
	if (ioctl(c->fd, KVM_GET_REGS, &after) < 0)
		return -errno;
	return has_moved(before, after);
}

int step_here(struct cpu *c)
{
	/* No breakpoints while stepping: the instruction at RIP may carry one, and all other vCPUs are frozen. */
	struct kvm_guest_debug d = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_BLOCKIRQ | KVM_GUESTDBG_USE_SW_BP,
	};
	int r = cpu_event_queued(c);

	/*
	 * KVM queues again what it could not deliver before the vCPU was made to leave, and
	 * BLOCKIRQ does not hold that back. Delivered in a step it would push the step's TF,
	 * and the guest's handler return into a #DB that is nobody's.
	 */
	if (r != 0)
		return r < 0 ? r : -EBUSY;
	if (!c->m->abilities.block_irq)
		d.control &= ~(uint32_t)KVM_GUESTDBG_BLOCKIRQ;
	if (ioctl(c->fd, KVM_SET_GUEST_DEBUG, &d) < 0)
		return -errno;
	for (int i = 0; r == 0 && i < STEP_TRIES && !machine_ended(c->m); i++)
		r = step_once(c);
	int back = debug_apply(c->m, c, 0);
	if (r == 0)
		r = -EIO;
	return r < 0 ? r : back;
}

static int step_job(struct cpu_job *job, struct cpu *c)
{
	(void)job;
	return step_here(c);
}

int run_step(struct backend *b, size_t vcpu, struct err *e)
{
	struct machine *m = machine_of(b);
	struct cpu_job job = { .run = step_job };

	if (!m->stop || vcpu >= m->n_cpus)
		return err_set(e, ERR_FAILED, EINVAL, "", "vCPU %zu is not held", vcpu);
	int r = cpus_call(m, vcpu, &job, STEP_TIMEOUT_US, NULL, e);
	if (r == -EBUSY)
		return err_set(e, ERR_TIMEOUT, EBUSY, "busy", "vCPU %zu is about to take an interrupt", vcpu);
	return r < 0 ? err_set(e, ERR_FAILED, -r, "stuck", "vCPU %zu does not move when stepped: %s", vcpu,
			       strerror(-r)) : 0;
}
