// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The barrier: when it returns, every vCPU has had a serialising exit since the
 * last write, or was out and has one before it enters the guest.
 *
 * Three roads. Each takes a vCPU that is in guest mode out of it once, and leaves one
 * that is not alone.
 *
 * MMU-notifier road (Intel). Zapping the pages in our address space makes KVM take
 * them out of its own page tables, throw out each vCPU that is in guest mode (and only
 * those) and wait for these. Before a vCPU enters again it flushes, with INVEPT,
 * INVVPID or MOV CR3, which are in the list of serialising instructions (SDM vol. 3,
 * 9.3). If KVM has none of the pages mapped there is nothing to flush and no vCPU can
 * have fetched from them.
 *
 * membarrier(SYNC_CORE) (AMD). There the flush is a field of VMRUN, and VMRUN is in no
 * such list. membarrier sends an IPI to each CPU that runs a thread of ours, in guest
 * mode (an exit), in the kernel or in user mode, and waits; its handler executes a
 * serialising instruction (ipi_sync_core() in kernel/sched/membarrier.c). A thread that
 * does not run then gets one when it is switched to: MOV CR3 from another process,
 * sync_core() after a kernel thread (finish_task_switch()), and a CPU that goes from one
 * thread of ours to another has had the IPI. So a vCPU that KVM lets in again without
 * coming back to user mode is covered, which nothing done by our own threads could do.
 * A zap as well would be a second exit for nothing: caches are coherent, and no
 * translation changes.
 *
 * Signal road: each vCPU thread comes out and runs CPUID. It waits for threads
 * the host has preempted, so it is only the fallback.
 *
 * A flip needs no more than its remap, on either vendor's CPUs: it is no cross-modifying
 * code. The bytes at the address a vCPU has fetched from do not change; its next fetch
 * is translated anew, as its translations are flushed before it enters, and leads to
 * another page that was complete before. What was prefetched is gone with the exit and
 * the IRET of the host's interrupt. An old page is used again only for a later flip,
 * with at least one such exit in between.
 *
 * kicked: vCPUs that were in KVM_RUN and whose exit counter (KVM's own) had moved when
 * the road was done. Exits the guest takes anyway count too, so it is an upper bound.
 * Without KVM's counter: all that were in KVM_RUN. On a KVM that interprets (neither
 * VMX nor SVM) no vCPU is ever in guest mode: none. On the signal road: vCPUs that were
 * sent the signal. already_out: the others.
 */
#include <cpuid.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <string.h>
#include <sys/syscall.h>

#include "vmm/kvm/barrier.h"
#include "vmm/kvm/live.h"
#include "vmm/kvm/machine_private.h"

#define CALL_TIMEOUT_US 5000000u

/* What the exit counters said before. */
struct watch {
	uint64_t start;
	uint64_t exits[MACHINE_VCPUS_MAX];
	bool in_run[MACHINE_VCPUS_MAX], counted[MACHINE_VCPUS_MAX];
};

static bool host_is_svm(void)
{
	unsigned a, b, c = 0, d;

	return __get_cpuid(0x80000001, &a, &b, &c, &d) && c & 1 << 2;
}

static bool host_is_vmx(void)
{
	unsigned a, b, c = 0, d;

	return __get_cpuid(1, &a, &b, &c, &d) && c & 1 << 5;
}

bool barrier_host_is_vmx_or_svm(void)
{
	return host_is_vmx() || host_is_svm();
}

int barrier_init(struct machine *m)
{
	m->interprets = !barrier_host_is_vmx_or_svm();
	m->membarrier = host_is_svm();
	if (!m->membarrier)
		return 0;
	long r = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
	return r < 0 ? -errno : 0;
}

static void watch_begin(struct machine *m, struct watch *w)
{
	for (size_t i = 0; i < m->n_cpus; i++) {
		w->in_run[i] = !m->interprets && atomic_load(&m->cpus[i].in_run);
		w->counted[i] = w->in_run[i] && stats_exits(&m->cpus[i], &w->exits[i]);
	}
	w->start = now_us();
}

static void watch_end(struct machine *m, const struct watch *w, bool by_notifier, struct backend_barrier *ret)
{
	struct backend_barrier count = { .waited_us = now_us() - w->start, .by_notifier = by_notifier };

	for (size_t i = 0; i < m->n_cpus; i++) {
		uint64_t exits;
		bool counted = w->counted[i] && stats_exits(&m->cpus[i], &exits);
		if (w->in_run[i] && (!counted || exits != w->exits[i])) {
			count.kicked++;
			count.kicked_vcpus |= UINT64_C(1) << i;
		} else {
			count.already_out++;
		}
	}
	if (ret)
		*ret = count;
}

static int cpuid_job(struct cpu_job *job, struct cpu *c)
{
	unsigned a, b, cx, d;

	(void)job;
	(void)c;
	__cpuid(0, a, b, cx, d);
	return 0;
}

static int by_signal(struct machine *m, struct backend_barrier *ret, struct err *e)
{
	struct cpu_job job = { .run = cpuid_job };

	return cpus_call(m, CPU_ALL, &job, CALL_TIMEOUT_US, ret, e);
}

/* -E2BIG, or what membarrier() says: not this road. */
static int by_kernel(struct machine *m, const uint64_t *gpas, size_t n, struct backend_barrier *ret, struct err *e)
{
	struct watch w = { 0 };
	int r;

	watch_begin(m, &w);
	if (m->membarrier)
		r = syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0) < 0 ? -errno : 0;
	else
		r = memory_zap(&m->memory, gpas, n, e);
	if (r >= 0)
		watch_end(m, &w, !m->membarrier, ret);
	return r;
}

int live_barrier(struct backend *b, const uint64_t *gpas, size_t n, struct backend_barrier *ret, struct err *e)
{
	struct machine *m = machine_of(b);
	int r = memory_check(&m->memory, gpas, n, e);

	if (r < 0)
		return r;
	if (!m->membarrier && !m->abilities.zap_forces_exit)
		return by_signal(m, ret, e);
	r = by_kernel(m, gpas, n, ret, e);
	return r == -E2BIG || (r < 0 && m->membarrier) ? by_signal(m, ret, e) : r;
}

int live_flip(struct backend *b, const struct backend_flip *flips, size_t n, struct backend_barrier *ret, struct err *e)
{
	struct machine *m = machine_of(b);
	struct watch w = { 0 };

	if (!m->abilities.remap_seen_at_once)
		return err_set(e, ERR_REFUSED, ENOTSUP, "no-remap", "a remap is not seen at once on this KVM");
	watch_begin(m, &w);
	int r = memory_flip(&m->memory, flips, n, e);
	if (r >= 0)
		watch_end(m, &w, true, ret);
	return r;
}
