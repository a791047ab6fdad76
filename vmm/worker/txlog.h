/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The journal's view of one transaction: begin, states, end. */
#ifndef VMPOKE_VMM_WORKER_TXLOG_H
#define VMPOKE_VMM_WORKER_TXLOG_H

#include "vmm/worker/session.h"

struct patchfile;

/* The next transaction, of file's patch and into the boot that runs now. plan is taken, on success only. -ENOMEM. */
int txlog_new(struct session *s, enum operation operation, const struct patchfile *file, struct poke_plan *plan,
	      struct transaction **ret, struct err *e);

/* Writes the begin record, on the disk when it returns 0. Nothing of the guest may change before. */
int txlog_begin(struct session *s, const struct transaction *t, struct err *e);

/* Writes one state record. */
int txlog_state(struct session *s, uint64_t txn, enum poke_state state, bool was_running, struct err *e);

/* The states of a running transaction, for poke_run(). */
struct txlog {
	struct poke_log ops;
	struct session *session;
	uint64_t txn;
	enum poke_mode mode;
	const char *job_id; /* cancelled by this name; NULL: cannot be */
	enum poke_state state; /* the last one told */
	bool running;	       /* with it: the VM ran before */
};
void txlog_init(struct txlog *l, struct session *s, const struct transaction *t, const char *job_id);

/*
 * Writes the end record, updates the session's patches (t is taken) and tells
 * clients. stats and why may be NULL. -EIO and the like: the guest is right, the
 * journal is behind (it catches up before its next record, or the next worker's
 * recovery does).
 */
int txlog_end(struct session *s, struct transaction *t, enum result result, const struct poke_stats *stats,
	      const struct err *why, struct err *e);

/* Kill points of this file that every transaction of that mode passes, NULL-terminated; see vmm/fault.h. */
const char *const *txlog_fault_points(enum poke_mode mode);

#endif
