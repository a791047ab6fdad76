/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A plan against the guest's kprobes, the sleeping ones included (vmm/guest/kprobes.h). */
#ifndef VMPOKE_VMM_WORKER_PROBES_H
#define VMPOKE_VMM_WORKER_PROBES_H

#include "vmm/poke/poke.h"

struct session;

/* -EBUSY (ERR_REFUSED, "kprobe"): the guest keeps a copy of bytes of a site. Gets ready what probes_copied() needs. */
int probes_check(struct session *s, const struct poke_plan *plan, struct err *e);

/* poke_quiesce.copied of a struct agent_use. */
int probes_copied(struct poke_quiesce *q, struct err *e);

#endif
