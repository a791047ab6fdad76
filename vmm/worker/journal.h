/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The journal of one VM: STATE/journal/NAME.jsonl, one JSON object per line,
 * append-only, written by this VM's worker alone (NAME.lock, held while it
 * lives). Every promise vmpoke makes about crashes rests on it: what is needed
 * to finish or undo a transaction is in the file and on the disk before the
 * first byte of guest text changes.
 *
 * Records ("type"):
 *   begin   txn, time, operation, patch, description, base, build_id, pid, pid_start, mode, trap,
 *           atomic, exclude[] (from, to, gate?), slots[], sites[]
 *   state   txn, state, running          before the state takes effect; after it for those that only look
 *   end     txn, time, result, changed, figures, error?
 *   lost    patch, time                  the guest rebooted, its text is new
 *   forget  patch, time                  its record is dropped (nothing of it is in the guest)
 *   hold    time, traps                  reads, or traps that are counted, are about to stop a running VM for short moments
 *   release time                         ... and are over
 *   memory  patch, time, address, size, crc, shows_code, base, build_id, release, pid, pid_start
 *                                        memory of the guest was allocated for a patch's payload
 *   memory-free  address, time           ... and given back, or lost with the boot
 *   past    (as query-history tells it)  what a rewrite keeps of a transaction that no longer matters
 */
#ifndef VMPOKE_VMM_WORKER_JOURNAL_H
#define VMPOKE_VMM_WORKER_JOURNAL_H

#include <jansson.h>
#include <stdbool.h>

#include "protocol/err.h"
#include "protocol/util.h"

#define JOURNAL_LINE_MAX (4u << 20)  /* 4096 sites of 64 bytes fit */
#define JOURNAL_SIZE_MAX (256u << 20) /* a larger file is not read: somebody else wrote it */

struct journal;

/* One record at replay; embedded in the caller's object. A negative return ends the replay with it. */
struct journal_visitor {
	int (*record)(struct journal_visitor *v, json_t *record);
};

/*
 * Makes the folders, takes the lock (waits up to lock_timeout_us for a predecessor that is
 * still finishing: -EBUSY), cuts off a torn last line. Other errors: errno of the failing call.
 */
int journal_open(const char *state_dir, const char *vm, uint64_t lock_timeout_us,
		 struct journal **ret, struct err *e);
void journal_close(struct journal *j); /* NULL allowed */
DEFINE_CLEANUP(struct journal, journal_close)

/*
 * Appends one record (stolen) as one write(). sync: the file's data is on the disk when
 * it returns. -EIO, -ENOSPC: nothing of it counts (it is cut off now, or at the next open).
 */
int journal_append(struct journal *j, json_t *record, bool sync, struct err *e);

/*
 * The same, synced, for a record of what has happened already: when it cannot be written now
 * it is kept and goes before whatever is appended next. The error is returned all the same.
 */
int journal_owe(struct journal *j, json_t *record, struct err *e);

/* All records, oldest first. A line that does not parse is -EBADMSG with its number. */
int journal_replay(struct journal *j, struct journal_visitor *v, struct err *e);

/*
 * Replaces the file by the given records (array, borrowed), atomically: whoever crashes
 * in between leaves the old file or the new one.
 */
int journal_rewrite(struct journal *j, json_t *records, struct err *e);

/* Bytes in the file. */
size_t journal_size(const struct journal *j);

#endif
