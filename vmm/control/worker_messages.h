/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What goes over a worker's control socket; the inner side of worker_link.h. */
#ifndef VMPOKE_CONTROL_WORKER_MESSAGES_H
#define VMPOKE_CONTROL_WORKER_MESSAGES_H

#include "vmm/control/worker_link.h"

/* channel_ops.frame of a worker. */
void worker_frame(struct channel *ch, const struct qmp_frame *frame);

/* Every queued call fails with one sentence. */
void worker_calls_fail(struct worker *w, enum err_kind kind, const char *text);

/* The same for a worker that died: tells which call it was at. */
void worker_calls_fail_dead(struct worker *w);

/* worker_link.c: the one timer, whose meaning depends on the state. */
void worker_timer_set(struct worker *w, uint64_t us);
void worker_timer_off(struct worker *w);

#endif
