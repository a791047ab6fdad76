/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the queued spinlocks of a paused Linux guest keep in memory while somebody waits for one of
 * them (kernel/locking/qspinlock.c, qspinlock_paravirt.h): the guest's own words for what the search for contexts is to find
 * in registers and on stacks. For tests.
 */
#ifndef VMPOKE_TESTS_TOOLS_PV_LOCKS_H
#define VMPOKE_TESTS_TOOLS_PV_LOCKS_H

#include "vmm/guest/guest.h"

#define PV_LOCKS_CPUS_MAX 64

struct pv_locks {
	size_t cpus;
	uint64_t nodes[PV_LOCKS_CPUS_MAX]; /* address of the count of queue nodes in use, of each CPU */
	uint64_t table, entries;	   /* pv_lock_hash; 0: this kernel has none */
	uint64_t wait_start, wait_end;	   /* kvm_wait() */
	uint32_t lock_at, node_at, cpu_at; /* members of struct pv_hash_entry, struct pv_node */
	uint32_t entry_len;
};

struct pv_locks_seen {
	unsigned queued; /* CPUs that are in a lock's queue, in the slow path therefore */
	unsigned hashed; /* locks in the table: their first waiter is halted, or about to, and kicked by the unlock that finds them */
	/*
	 * Of these, those whose word does not say so: an unlock has passed by without looking into the table, and its kick
	 * is lost. (So does one that is being entered at that very moment, but not for long.)
	 */
	unsigned lost;
	unsigned stuck; /* ... with the waiter still in kvm_wait(), for a lock that nobody owns */
};

/* -EOPNOTSUPP, -ENOENT: not a kernel with paravirt spinlocks. */
int pv_locks_find(struct guest *g, size_t cpus, struct pv_locks *ret, struct err *e);
/* VM paused; regs: of its vCPUs, cpus of them, in the order of the guest's CPU numbers. */
int pv_locks_look(struct guest *g, const struct pv_locks *l, const struct vcpu_regs *regs, struct pv_locks_seen *ret,
		  struct err *e);

#endif
