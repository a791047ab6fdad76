// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One vCPU and its thread: KVM_RUN, handle the exit, serve requests, again. The
 * way in and out is described in machine_private.h. Must never enter KVM_RUN
 * with a request pending, and never run a request while in it.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "vmm/kvm/kick.h"
#include "vmm/kvm/machine_private.h"

int cpu_create(struct machine *m, size_t index, struct err *e)
{
	struct cpu *c = &m->cpus[index];

	*c = (struct cpu){ .m = m, .index = index, .stats_fd = -1 };
	c->fd = ioctl(m->vm_fd, KVM_CREATE_VCPU, index);
	if (c->fd < 0)
		return err_set(e, ERR_FAILED, errno, "", "KVM_CREATE_VCPU %zu: %s", index, strerror(errno));
	int size = ioctl(m->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < (int)sizeof(*c->run))
		return err_set(e, ERR_FAILED, ENOTSUP, "", "KVM_GET_VCPU_MMAP_SIZE: %d", size);
	void *run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
	if (run == MAP_FAILED)
		return err_set(e, ERR_FAILED, errno, "", "cannot map vCPU %zu: %s", index, strerror(errno));
	c->run = run;
	if (m->abilities.sync_regs)
		c->run->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
	stats_find(c);
	return cpu_set_cpuid(c, e);
}

void cpu_destroy(struct cpu *c)
{
	if (!c->m)
		return;
	int size = ioctl(c->m->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (c->run && size > 0)
		munmap(c->run, (size_t)size);
	if (c->stats_fd >= 0)
		close(c->stats_fd);
	if (c->fd >= 0)
		close(c->fd);
	walk_done(&c->walk);
}

int cpu_enter(struct cpu *c)
{
	int r = 0;

	c->run->immediate_exit = 0;
	atomic_store(&c->in_run, true);
	if (atomic_load(&c->attention))
		r = -EINTR;
	else if (ioctl(c->fd, KVM_RUN, 0) < 0)
		r = -errno;
	atomic_store(&c->in_run, false);
	c->synced = r == 0 && c->m->abilities.sync_regs;
	return r;
}

/* An IN or an MMIO read ends only when KVM_RUN is entered again: it must before anyone looks at the registers. */
static void complete_io(struct cpu *c)
{
	if (!c->io_pending)
		return;
	c->run->immediate_exit = 1;
	ioctl(c->fd, KVM_RUN, 0); /* -EINTR, by immediate_exit */
	c->io_pending = false;
	c->synced = false;
}

static bool may_run(const struct cpu *c)
{
	const struct machine *m = c->m;

	if (m->ended)
		return true;
	if (c->held && m->releases == c->held_since && m->n_armed)
		return false;
	return !m->stop && !c->halted && !c->parked;
}

/* Caller holds the lock. */
static void run_job(struct cpu *c)
{
	struct cpu_job *job = c->job;

	c->job_busy = true;
	pthread_mutex_unlock(&c->m->lock);
	int r = job->run(job, c);
	pthread_mutex_lock(&c->m->lock);
	c->job_result = r;
	c->job_busy = false;
	c->job = NULL;
	pthread_cond_broadcast(&c->m->done);
}

void cpu_attend(struct cpu *c)
{
	struct machine *m = c->m;

	complete_io(c);
	pthread_mutex_lock(&m->lock);
	for (;;) {
		atomic_store(&c->attention, m->ended);
		cpu_serve(c);
		if (c->job) {
			run_job(c);
			continue;
		}
		if (may_run(c))
			break;
		if (c->state != CPU_WAITING) {
			c->state = CPU_WAITING;
			pthread_cond_broadcast(&m->done);
		}
		pthread_cond_wait(&m->go, &m->lock);
	}
	c->held = false;
	c->state = CPU_RUNNING;
	pthread_mutex_unlock(&m->lock);
}

/* A vCPU that left the loop still has to answer those who were waiting for it. */
static void leave(struct cpu *c)
{
	struct machine *m = c->m;

	pthread_mutex_lock(&m->lock);
	if (c->job)
		run_job(c);
	c->state = CPU_ENDED; /* requests are answered by those who made them */
	pthread_cond_broadcast(&m->done);
	pthread_mutex_unlock(&m->lock);
}

static void *cpu_thread(void *arg)
{
	struct cpu *c = arg;

	prefer_take(c->m->nice);
	kick_accept(c->run);
	cpu_attend(c);
	while (!machine_ended(c->m)) {
		int r = cpu_enter(c);
		if (r == 0)
			cpu_exit(c);
		else if (r != -EINTR && r != -EAGAIN)
			cpu_run_failed(c, -r);
		if (atomic_load(&c->attention))
			cpu_attend(c);
	}
	leave(c);
	return NULL;
}

int cpu_start(struct cpu *c, struct err *e)
{
	int r = pthread_create(&c->thread, NULL, cpu_thread, c);

	c->has_thread = r == 0;
	return r ? err_set(e, ERR_FAILED, r, "", "thread of vCPU %zu: %s", c->index, strerror(r)) : 0;
}
