/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A poke while it runs: private to vmm/poke. One object per poke_run(), on its
 * stack; the steps of the state table work on it.
 */
#ifndef VMPOKE_VMM_POKE_TX_H
#define VMPOKE_VMM_POKE_TX_H

#include "vmm/poke/poke.h"

struct poke_tx {
	struct backend *backend;
	const struct arch_ops *arch;
	const struct poke_plan *plan;
	struct poke_quiesce *quiesce;
	struct poke_log *log;
	uint64_t deadline;
	struct poke_stats stats;

	unsigned caps; /* of the backend, read before the pause */
	size_t n_vcpus;
	struct vcpu_regs *regs; /* n_vcpus of them */
	struct backend_pause_hook hook;
	uint64_t pause_began;
	bool paused;	  /* by us */
	bool was_running; /* what the last pause found */
	bool stuck;	  /* resuming failed: nothing more may be tried */
	size_t touched;	  /* sites 0 .. touched - 1 may hold something else than old */
};

/* Tells the log of a state. */
int poke_tx_record(struct poke_tx *t, enum poke_state state, struct err *e);
/* -ECANCELED when the caller wants it given up. */
int poke_tx_cancelled(struct poke_tx *t, struct err *e);

/* pause.c: out of guest mode and back. A failed resume sets stuck and is -EUCLEAN. */
int poke_tx_pause(struct poke_tx *t, struct err *e);
int poke_tx_resume(struct poke_tx *t, struct err *e);

/* clear.c: is anything inside a range? VM paused. 0: no; 1: yes, *e names it; negative: cannot tell. */
int poke_tx_clear(struct poke_tx *t, struct err *e);

/* stopped.c: the steps of mode stopped. */
int poke_stopped_pause(struct poke_tx *t, struct err *e);
int poke_stopped_check(struct poke_tx *t, struct err *e);
int poke_stopped_write(struct poke_tx *t, struct err *e);
int poke_stopped_verify(struct poke_tx *t, struct err *e);
int poke_stopped_resume(struct poke_tx *t, struct err *e);

/* undo.c: every touched site back to old, VM still paused. -EUCLEAN (ERR_ATTENTION) when that fails. */
int poke_tx_undo(struct poke_tx *t, struct err *e);

/* poke_site.c */
bool poke_site_valid(const struct poke_site *site);
int poke_site_write(struct backend *b, const struct poke_site *site, const uint8_t *bytes, struct err *e);

#endif
