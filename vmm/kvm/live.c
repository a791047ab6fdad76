// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Arming traps, plain stores, releasing held vCPUs. Arming changes who is asked and
 * disturbs no vCPU: int3 is reported all the time (debug.c). Debug registers reach a
 * vCPU only out of KVM_RUN, so for these each comes out once. Must never write a byte
 * before the memory layer has checked its address.
 */
#include "vmm/kvm/live.h"

#include <errno.h>

#include "vmm/kvm/machine_private.h"
#include "vmm/kvm/wait.h"

#define CALL_TIMEOUT_US 5000000u

static int debug_job(struct cpu_job *job, struct cpu *c)
{
	(void)job;
	return debug_apply(c->m, c, 0);
}

static int apply_everywhere(struct machine *m, struct backend_barrier *ret, struct err *e)
{
	struct cpu_job job = { .run = debug_job };

	return cpus_call(m, CPU_ALL, &job, CALL_TIMEOUT_US, ret, e);
}

/* Also lets held vCPUs go on: they ask whoever is there now. Caller holds the lock. */
static void set_handler(struct machine *m, struct backend_hit_handler *h)
{
	m->handler = h;
	m->releases++;
	pthread_cond_broadcast(&m->go);
}

static bool any_in_hit(const struct machine *m)
{
	for (size_t i = 0; i < m->n_cpus; i++)
		if (m->cpus[i].in_hit)
			return true;
	return false;
}

/*
 * Who asks from now on finds nobody (trap.c); who was asking is waited for. A trap exit
 * that is answered only later does not need us: where the trap byte is gone the vCPU
 * executes what is there.
 */
static int disarm(struct machine *m, struct err *e)
{
	uint64_t deadline = now_us() + CALL_TIMEOUT_US;
	int r = 0;

	pthread_mutex_lock(&m->lock);
	bool registers = m->n_hw_traps > 0;
	m->n_hw_traps = 0;
	set_handler(m, NULL);
	while (any_in_hit(m) && r == 0)
		r = wait_until(&m->done, &m->lock, deadline);
	bool late = any_in_hit(m);
	pthread_mutex_unlock(&m->lock);
	if (late)
		return err_set(e, ERR_TIMEOUT, ETIMEDOUT, "vcpu-stuck", "a vCPU does not end its answer to a trap");
	return registers ? apply_everywhere(m, NULL, e) : 0;
}

/* True when KVM must be told to report this vCPU's int3. */
static bool wants_report(struct machine *m, struct cpu *c)
{
	pthread_mutex_lock(&m->lock);
	c->sw_off = false;
	c->foreign = 0;
	bool wants = m->sw_traps && !c->sw_applied;
	pthread_mutex_unlock(&m->lock);
	return wants;
}

static int report_everywhere(struct machine *m, struct err *e)
{
	struct cpu_job job = { .run = debug_job };
	int r = 0;

	for (size_t i = 0; i < m->n_cpus && r >= 0; i++)
		if (wants_report(m, &m->cpus[i]))
			r = cpus_call(m, i, &job, CALL_TIMEOUT_US, NULL, e);
	return r;
}

/* The handler is there before the first trap is reported; with it nobody stops reporting any more. */
int live_arm(struct backend *b, struct backend_hit_handler *h, struct err *e)
{
	struct machine *m = machine_of(b);

	if (!h)
		return disarm(m, e);
	if (m->abilities.int3 == MACHINE_INT3_NOT_REPORTED && !m->abilities.hw_breakpoints)
		return err_set(e, ERR_REFUSED, ENOTSUP, "no-traps", "this KVM reports no traps");
	pthread_mutex_lock(&m->lock);
	set_handler(m, h);
	pthread_mutex_unlock(&m->lock);
	int r = report_everywhere(m, e);
	if (r < 0)
		disarm(m, NULL);
	return r;
}

int live_trap_hw(struct backend *b, const uint64_t *gvas, size_t n, struct backend_barrier *ret, struct err *e)
{
	struct machine *m = machine_of(b);

	if (n > ARRAY_SIZE(m->hw_traps))
		return err_set(e, ERR_REFUSED, ENOSPC, "hw-traps", "%zu addresses, the CPU has 4 debug registers", n);
	if (n && !m->abilities.hw_breakpoints)
		return err_set(e, ERR_REFUSED, ENOTSUP, "hw-traps", "hardware breakpoints do not fire on this KVM");
	pthread_mutex_lock(&m->lock);
	for (size_t i = 0; i < n; i++)
		m->hw_traps[i] = gvas[i];
	m->n_hw_traps = n;
	pthread_mutex_unlock(&m->lock);
	return apply_everywhere(m, ret, e);
}

int live_write(struct backend *b, uint64_t gpa, const void *buf, size_t len, struct err *e)
{
	int r = memory_write(&machine_of(b)->memory, gpa, buf, len);

	return r < 0 ? err_set_addr(e, ERR_FAILED, -r, "", gpa, "0x%llx: %zu bytes are not all RAM",
				    (unsigned long long)gpa, len) : 0;
}

int live_release(struct backend *b, struct err *e)
{
	struct machine *m = machine_of(b);

	(void)e;
	pthread_mutex_lock(&m->lock);
	m->releases++;
	pthread_cond_broadcast(&m->go);
	pthread_mutex_unlock(&m->lock);
	return 0;
}
