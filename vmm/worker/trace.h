/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The timeline of the last transaction, kept in memory for query-trace. */
#ifndef VMPOKE_VMM_WORKER_TRACE_H
#define VMPOKE_VMM_WORKER_TRACE_H

#include "vmm/poke/timeline.h"
#include "vmm/worker/record.h"

struct session;

/* What is kept; part of the session. */
struct trace {
	struct timeline_record record; /* events NULL: none */
	uint64_t transaction;
	enum operation operation;
	enum poke_mode mode;
	char patch[PATCHFILE_NAME_MAX + 1];
};

/* A timeline to record on, or NULL: a transaction is not refused because nobody can watch it. */
struct timeline *trace_begin(const struct session *s);

/* Takes line (NULL allowed) and keeps what it holds instead of the one before. r: what poke_run() said of t. */
void trace_end(struct session *s, const struct transaction *t, struct timeline *line, int r);

void trace_clear(struct trace *t);

#endif
