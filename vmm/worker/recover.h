/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a worker does first: read the journal, and finish or undo what a dead predecessor began. */
#ifndef VMPOKE_VMM_WORKER_RECOVER_H
#define VMPOKE_VMM_WORKER_RECOVER_H

#include "vmm/worker/session.h"

/*
 * With the VM reached: brings an open transaction to all-new when every byte is
 * new, else to all-old, makes a VM run again that the predecessor had paused, and
 * writes the end record. 0 when there was nothing to do or all is well. A site that
 * holds foreign bytes is left alone: the patch becomes "attention".
 * -ENOTCONN and the like: the transaction stays open, the next attach tries again.
 */
int recover_session(struct session *s, struct err *e);

#endif
