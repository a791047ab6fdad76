// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Arming traps, plain stores, releasing held vCPUs. KVM_SET_GUEST_DEBUG reaches a
 * vCPU only out of KVM_RUN, so arming makes each come out once. Must never write
 * a byte before the memory layer has checked its address.
 */
#include "vmm/kvm/live.h"

#include <errno.h>

#include "vmm/kvm/machine_private.h"

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

/* Also lets held vCPUs go on: they ask whoever is there now. */
static void set_handler(struct machine *m, struct backend_hit_handler *h)
{
	pthread_mutex_lock(&m->lock);
	m->handler = h;
	m->sw_traps = h && m->abilities.int3 == MACHINE_INT3_DEBUG_EXIT;
	if (!h)
		m->n_hw_traps = 0;
	m->releases++;
	pthread_cond_broadcast(&m->go);
	pthread_mutex_unlock(&m->lock);
}

/*
 * On: the handler is there before KVM reports the first trap. Off: the job that
 * each vCPU runs is also the proof that none is inside hit() any more.
 */
int live_arm(struct backend *b, struct backend_hit_handler *h, struct err *e)
{
	struct machine *m = machine_of(b);

	if (h && m->abilities.int3 == MACHINE_INT3_NOT_REPORTED && !m->abilities.hw_breakpoints)
		return err_set(e, ERR_REFUSED, ENOTSUP, "no-traps", "this KVM reports no traps");
	set_handler(m, h);
	int r = apply_everywhere(m, NULL, e);
	if (r < 0 && h) {
		set_handler(m, NULL);
		apply_everywhere(m, NULL, NULL);
	}
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
