/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A poke while it runs: private to vmm/poke. One object per poke_run(), on its
 * stack; the steps of the state table work on it.
 */
#ifndef VMPOKE_VMM_POKE_TX_H
#define VMPOKE_VMM_POKE_TX_H

#include "vmm/poke/poke.h"
#include "vmm/poke/timeline.h"
#include "vmm/poke/trap.h"

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

	/* Modes other than stopped. */
	bool quiet;		  /* a pause is not a state of this mode: it is not recorded */
	bool fetched;		  /* some vCPU may be in new code */
	bool armed;		  /* hits may come to traps */
	bool tasks_asked;	  /* tasks_leave() was called ... */
	bool tasks_left;	  /* ... and succeeded, with all traps set */
	struct poke_traps *traps; /* staged, held */
	struct poke_gate *gate;	  /* closed; NULL: none */
	bool gate_asked;
	struct backend_flip *flips; /* flipped: room for the pieces of all sites */
	uint64_t *pages;	  /* of all sites, sorted, each once */
	size_t n_pages;
	struct poke_plan inverse; /* old and new exchanged, for a way back on which contexts count; sites NULL: none do */
};

/* Something the engine did from start until now, for the timeline. */
static inline void poke_tx_span(const struct poke_tx *t, enum timeline_kind kind, uint64_t start_us, const char *text)
{
	if (t->log->timeline)
		timeline_add(t->log->timeline, kind, TIMELINE_ENGINE, start_us, now_us(), 0, text);
}

/* Does a site lie on two pages? */
static inline bool poke_tx_crosses(const struct poke_tx *t)
{
	for (size_t i = 0; i < t->plan->n_sites; i++)
		if (t->plan->sites[i].split < t->plan->sites[i].len)
			return true;
	return false;
}

/* Tells the log of a state. */
int poke_tx_record(struct poke_tx *t, enum poke_state state, struct err *e);
/* -ECANCELED when the caller wants it given up. */
int poke_tx_cancelled(struct poke_tx *t, struct err *e);

/* pause.c: out of guest mode and back. A failed resume sets stuck and is -EUCLEAN. */
int poke_tx_pause(struct poke_tx *t, struct err *e);
int poke_tx_resume(struct poke_tx *t, struct err *e);

/* The VM, paused, runs for about that long and is paused again. */
int poke_tx_let_run(struct poke_tx *t, uint64_t us, struct err *e);

/*
 * tasks.c: does tasks_leave() show that no task is inside a range, has it not been asked yet, and holds
 * no trap up whom it waits for? Then asks: a failure of it is none of the transaction.
 */
bool poke_tasks_help(const struct poke_tx *t);
int poke_tasks_wait(struct poke_tx *t, struct err *e);

/* clear.c: is anything inside a range? VM paused. 0: no; 1: yes, *e names it; negative: cannot tell. */
int poke_tx_clear(struct poke_tx *t, struct err *e);

/*
 * gate.c: from now on nobody enters the plan's gated ranges who need not. 0 also where that is not
 * possible here; asked again nothing happens. Paused.
 */
int poke_gate_close(struct poke_tx *t, struct err *e);
/* Back to as it was. -EUCLEAN (ERR_ATTENTION) when the debug registers stay in use. */
int poke_gate_open(struct poke_tx *t, struct err *e);

/* stopped.c: the steps of mode stopped; all but pause and write serve the others as well. */
int poke_stopped_pause(struct poke_tx *t, struct err *e);
int poke_stopped_check(struct poke_tx *t, struct err *e);
int poke_stopped_write(struct poke_tx *t, struct err *e);
int poke_stopped_verify(struct poke_tx *t, struct err *e);
int poke_stopped_resume(struct poke_tx *t, struct err *e);

/* flipped.c */
bool poke_flipped_pauses(const struct poke_tx *t);
int poke_flipped_flip(struct poke_tx *t, struct err *e);
int poke_flipped_finish(struct poke_tx *t, struct err *e);
int poke_flipped_undo(struct poke_tx *t, struct err *e);

/* staged.c: staged and held. */
bool poke_staged_has_tail(const struct poke_tx *t);
int poke_staged_trap(struct poke_tx *t, struct err *e);
int poke_staged_quiesce(struct poke_tx *t, struct err *e);
int poke_staged_tail(struct poke_tx *t, struct err *e);
int poke_staged_head(struct poke_tx *t, struct err *e);
int poke_staged_finish(struct poke_tx *t, struct err *e);
int poke_staged_undo(struct poke_tx *t, struct err *e);
/* Nobody is at a trap of ours any more, and none comes: no trap is left in memory. */
int poke_staged_disarm(struct poke_tx *t, struct err *e);

/* copy.c: before the first trap; after the last hit was answered. */
int poke_copies_write(struct poke_tx *t, struct err *e);
int poke_copies_remove(struct poke_tx *t, struct err *e);

/* prepare.c: everything that can fail without having touched the guest. */
int poke_tx_prepare(struct poke_tx *t, struct err *e);
void poke_tx_clear_up(struct poke_tx *t);

/* undo.c: every touched site back to old, VM still paused. -EUCLEAN (ERR_ATTENTION) when that fails. */
int poke_tx_undo(struct poke_tx *t, struct err *e);
/* The same from a running VM: paused first, no vCPU and no context inside new instructions. Stays paused. */
int poke_tx_undo_paused(struct poke_tx *t, struct err *e);
/* Pauses until nothing is inside a range of the way back. */
int poke_tx_pause_back(struct poke_tx *t, struct err *e);

/* poke_site.c */
bool poke_site_valid(const struct poke_site *site);
int poke_site_write(struct backend *b, const struct poke_site *site, const uint8_t *bytes, struct err *e);
/* Bytes [from, to) of the site while vCPUs run (ops->live). */
int poke_site_store(struct backend *b, const struct poke_site *site, const uint8_t *bytes, size_t from, size_t to,
		    struct err *e);
/* A breakpoint on every old boundary, while vCPUs run (ops->live). */
int poke_site_trap(struct backend *b, const struct arch_ops *arch, const struct poke_site *site, struct err *e);

#endif
