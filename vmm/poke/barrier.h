/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every vCPU serialised since the last write, and what that took.
 *
 * Which guarantee. A vCPU that fetches bytes another CPU stored must execute a
 * serialising instruction in between (Intel SDM vol. 3, 8.1.3; AMD APM vol. 2, 7.6.1),
 * and VM entry and exit are on neither vendor's list. The backend gives one that is:
 *  - MMU-notifier road: zapping the pages' host mapping throws out every vCPU in guest
 *    mode and waits for it; the flush before its next entry is INVEPT/INVVPID, which
 *    Intel lists (SDM vol. 3, 8.3);
 *  - on AMD, where the flush is a new ASID or TLB_CONTROL at VMRUN, instead of it
 *    membarrier(PRIVATE_EXPEDITED_SYNC_CORE): each running thread of the VMM executes
 *    a core-serialising instruction in the IPI that throws it out of guest mode, each
 *    other one when it is switched to (vmm/kvm/barrier.c has the details).
 * A vCPU that is out of guest mode enters through one of them: nobody waits for it.
 */
#ifndef VMPOKE_VMM_POKE_BARRIER_H
#define VMPOKE_VMM_POKE_BARRIER_H

#include "vmm/poke/tx.h"

/* The pages of all sites, each once: what every barrier of the transaction is about. */
int poke_barrier_prepare(struct poke_tx *t, struct err *e);

/* One barrier for everything written so far: a transaction takes one per stage, however many sites it has. */
int poke_barrier(struct poke_tx *t, struct err *e);

/* Adds what a live op that began at start_us and has just ended reported; kind and text: for the timeline. */
void poke_barrier_count(struct poke_tx *t, const struct backend_barrier *done, enum timeline_kind kind,
			uint64_t start_us, const char *text);

#endif
