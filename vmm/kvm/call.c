// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The engine's side of a vCPU: kick it, have something done to it, end the
 * machine. Every wait has a limit; a job that was handed over is never left
 * behind, because it lives on the caller's stack.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/eventfd.h>

#include "vmm/kvm/kick.h"
#include "vmm/kvm/machine_private.h"
#include "vmm/kvm/wait.h"

#define KICK_AGAIN_US 20000u /* no kick is ever lost; this keeps one that would be from costing the whole time-out */

bool cpu_kick(struct cpu *c)
{
	atomic_store(&c->attention, true);
	/* Not in KVM_RUN: it will see attention before it enters (cpu_enter sets in_run first). */
	bool in = atomic_load(&c->in_run);
	if (in)
		kick_thread(c->thread);
	return in;
}

/* Caller holds the lock. A vCPU without a thread has its job done here. */
static void hand_over(struct cpu *c, struct cpu_job *job, struct backend_barrier *count)
{
	c->job_result = 0;
	if (c->state == CPU_NEW || c->state == CPU_ENDED) {
		/* Jobs take the lock themselves. Nobody else makes or starts vCPUs meanwhile. */
		pthread_mutex_unlock(&c->m->lock);
		int r = job->run(job, c);
		pthread_mutex_lock(&c->m->lock);
		c->job_result = r;
		count->already_out++;
		return;
	}
	c->job = job;
	if (cpu_kick(c)) {
		count->kicked++;
		count->kicked_vcpus |= UINT64_C(1) << c->index;
	} else {
		count->already_out++;
	}
}

static int wait_job(struct cpu *c, uint64_t deadline, struct err *e)
{
	struct machine *m = c->m;

	while (c->job) {
		if (wait_until(&m->done, &m->lock, now_us() + KICK_AGAIN_US) == 0 || !c->job)
			continue;
		/* A busy job is in KVM_RUN on our behalf, stepping: it may take its time, and then be kicked out. */
		bool late = now_us() > deadline;
		if (late && !c->job_busy) {
			c->job = NULL;
			return err_set(e, ERR_TIMEOUT, ETIMEDOUT, "vcpu-stuck",
				       "vCPU %zu does not leave guest mode", c->index);
		}
		if (late || !c->job_busy)
			cpu_kick(c);
	}
	if (c->job_result < 0)
		return err_set(e, ERR_FAILED, -c->job_result, "", "vCPU %zu: request failed with error %d", c->index,
			       -c->job_result);
	return 0;
}

int cpus_call(struct machine *m, size_t which, struct cpu_job *job, uint64_t timeout_us, struct backend_barrier *ret,
	      struct err *e)
{
	size_t first = which == CPU_ALL ? 0 : which, end = which == CPU_ALL ? m->n_cpus : which + 1;
	struct backend_barrier count = { 0 };
	uint64_t start = now_us();
	int r = 0;

	pthread_mutex_lock(&m->lock);
	for (size_t i = first; i < end; i++)
		hand_over(&m->cpus[i], job, &count);
	pthread_cond_broadcast(&m->go);
	for (size_t i = first; i < end; i++) {
		int one = wait_job(&m->cpus[i], start + timeout_us, r < 0 ? NULL : e);
		r = r < 0 ? r : one;
	}
	pthread_mutex_unlock(&m->lock);
	count.waited_us = now_us() - start;
	if (ret)
		*ret = count;
	return r;
}

bool machine_ended(struct machine *m)
{
	return atomic_load(&m->ended);
}

void machine_end(struct machine *m, enum backend_run_state state, enum backend_event_kind event, const char *fmt, ...)
{
	va_list args;

	serial_flush(&m->serial);
	pthread_mutex_lock(&m->lock);
	if (!m->ended) {
		m->ended = true;
		m->end_state = state;
		m->end_event = event;
		va_start(args, fmt);
		vsnprintf(m->end_reason, sizeof(m->end_reason), fmt, args);
		va_end(args);
		eventfd_write(m->event_fd, 1);
	}
	for (size_t i = 0; i < m->n_cpus; i++)
		if (m->cpus[i].state == CPU_RUNNING || m->cpus[i].state == CPU_WAITING)
			cpu_kick(&m->cpus[i]);
	pthread_cond_broadcast(&m->go);
	pthread_cond_broadcast(&m->done);
	pthread_mutex_unlock(&m->lock);
}
