/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VMPOKE_VMM_WORKER_STACKS_H
#define VMPOKE_VMM_WORKER_STACKS_H

#include "vmm/poke/poke.h"

/* poke_quiesce.scan of a struct agent_use. guest_stacks_prepare() came before. */
int stacks_scan(struct poke_quiesce *q, const struct vcpu_regs *regs, size_t n_regs, const struct poke_plan *plan,
		bool tasks_left, struct err *e);

/* poke_quiesce.patching of the same, whose patching is prepared. That we hold text_mutex ourselves does not count. */
int stacks_patching(struct poke_quiesce *q, struct err *e);

#endif
