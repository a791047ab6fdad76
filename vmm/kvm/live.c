// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Arming traps, plain stores, releasing held vCPUs. Arming changes who is asked and
 * disturbs no vCPU: int3 is reported all the time (debug.c). Debug registers reach a
 * vCPU only out of KVM_RUN, so for these each comes out once. Must never write a byte
 * before the memory layer has checked its address.
 */
#include "vmm/kvm/live.h"

#include <errno.h>
#include <string.h>

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

/* Whoever is held asks again: those who are there now. Caller holds the lock. */
static void ask_anew(struct machine *m)
{
	m->releases++;
	pthread_cond_broadcast(&m->go);
}

/* Caller holds the lock. NULL: not armed. */
static struct armed *armed_find(struct machine *m, const struct backend_hit_handler *h)
{
	for (size_t i = 0; i < m->n_armed; i++)
		if (m->armed[i].handler == h)
			return &m->armed[i];
	return NULL;
}

/* Still being asked since before the releases were so many. Caller holds the lock. */
static bool any_in_hit(const struct machine *m, uint64_t releases)
{
	for (size_t i = 0; i < m->n_cpus; i++)
		if (m->cpus[i].in_hit && m->cpus[i].asked_at < releases)
			return true;
	return false;
}

/* True when it had debug registers. Caller holds the lock. */
static bool armed_remove(struct machine *m, const struct backend_hit_handler *h)
{
	struct armed *a = armed_find(m, h);
	bool registers = a && a->n_hw;

	if (a) {
		size_t at = (size_t)(a - m->armed);
		m->n_armed--;
		memmove(a, a + 1, (m->n_armed - at) * sizeof(*a));
	}
	return registers;
}

/*
 * Who asks from now on does not find it (trap.c); who was asking is waited for. A trap exit
 * that is answered only later does not need it: where the trap byte is gone the vCPU
 * executes what is there.
 */
int live_disarm(struct backend *b, struct backend_hit_handler *h, struct err *e)
{
	struct machine *m = machine_of(b);
	uint64_t deadline = now_us() + CALL_TIMEOUT_US;
	int r = 0;

	pthread_mutex_lock(&m->lock);
	bool registers = armed_remove(m, h);
	ask_anew(m);
	uint64_t releases = m->releases;
	m->disarming++;
	while (any_in_hit(m, releases) && r == 0)
		r = wait_until(&m->done, &m->lock, deadline);
	m->disarming--;
	bool late = any_in_hit(m, releases);
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

static int armed_add(struct machine *m, struct backend_hit_handler *h, struct err *e)
{
	int r = 0;

	pthread_mutex_lock(&m->lock);
	if (armed_find(m, h) || m->n_armed == ARRAY_SIZE(m->armed)) {
		r = err_set(e, ERR_FAILED, EBUSY, "", "traps of this VM are in use already");
	} else {
		m->armed[m->n_armed++] = (struct armed){ .handler = h };
		ask_anew(m);
	}
	pthread_mutex_unlock(&m->lock);
	return r;
}

/* The handler is there before the first trap is reported; with it nobody stops reporting any more. */
int live_arm(struct backend *b, struct backend_hit_handler *h, struct err *e)
{
	struct machine *m = machine_of(b);

	if (m->abilities.int3 == MACHINE_INT3_NOT_REPORTED && !m->abilities.hw_breakpoints)
		return err_set(e, ERR_REFUSED, ENOTSUP, "no-traps", "this KVM reports no traps");
	int r = armed_add(m, h, e);
	if (r < 0)
		return r;
	r = report_everywhere(m, e);
	if (r < 0)
		live_disarm(b, h, NULL);
	return r;
}

/* Caller holds the lock. */
static size_t registers_of_others(const struct machine *m, const struct backend_hit_handler *h)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n_armed; i++)
		n += m->armed[i].handler == h ? 0 : m->armed[i].n_hw;
	return n;
}

static void armed_set_registers(struct armed *a, const uint64_t *gvas, size_t n)
{
	for (size_t i = 0; i < n; i++)
		a->hw[i] = gvas[i];
	a->n_hw = n;
}

static int registers_take(struct machine *m, struct backend_hit_handler *h, const uint64_t *gvas, size_t n,
			  struct err *e)
{
	int r = 0;

	pthread_mutex_lock(&m->lock);
	struct armed *a = armed_find(m, h);
	size_t others = registers_of_others(m, h);
	if (n > CPU_DEBUG_REGISTERS - others)
		r = err_set(e, ERR_REFUSED, ENOSPC, "hw-traps",
			    "%zu addresses, of the CPU's 4 debug registers %zu are in use", n, others);
	else if (!a)
		r = n ? err_set(e, ERR_FAILED, EINVAL, "", "debug registers for who is not armed") : 0;
	else
		armed_set_registers(a, gvas, n);
	pthread_mutex_unlock(&m->lock);
	return r;
}

int live_trap_hw(struct backend *b, struct backend_hit_handler *h, const uint64_t *gvas, size_t n,
		 struct backend_barrier *ret, struct err *e)
{
	struct machine *m = machine_of(b);

	if (n && !m->abilities.hw_breakpoints)
		return err_set(e, ERR_REFUSED, ENOTSUP, "hw-traps", "hardware breakpoints do not fire on this KVM");
	int r = registers_take(m, h, gvas, n, e);
	return r < 0 ? r : apply_everywhere(m, ret, e);
}

int live_write(struct backend *b, uint64_t gpa, const void *buf, size_t len, struct err *e)
{
	int r = memory_write(&machine_of(b)->memory, gpa, buf, len);

	return r < 0 ? err_set_addr(e, ERR_FAILED, -r, "", gpa, "0x%llx: %zu bytes are not all RAM",
				    (unsigned long long)gpa, len)
		     : 0;
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
