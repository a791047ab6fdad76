/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where vCPUs at a trap may be stepped through copies of what cannot be emulated. */
#ifndef VMPOKE_VMM_WORKER_SLOTS_H
#define VMPOKE_VMM_WORKER_SLOTS_H

#include "vmm/worker/session.h"

/*
 * Gives the plan, whose mode and traps are chosen, as many slots as it can use, from the guest kernel's
 * padding (guest/padding.h). Where there are none, or too few, plan->why says so: who comes to such an
 * instruction waits. Never in bytes that this plan or a patch that is in changes. Errors: of guest memory, -ENOMEM.
 */
int slots_give(struct session *s, struct poke_plan *plan, struct err *e);

#endif
