/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a patch-replace is about, kept in the journal from before its first transaction until it is known which of the
 * two patches is in: a worker that dies in between leaves neither in, and the next one puts the old one back.
 */
#ifndef VMPOKE_VMM_WORKER_REPLACING_H
#define VMPOKE_VMM_WORKER_REPLACING_H

#include <jansson.h>

#include "protocol/patchfile.h"

struct err;
struct session;

struct replacing {
	char old[PATCHFILE_NAME_MAX + 1], new[PATCHFILE_NAME_MAX + 1]; /* old "": nothing is being replaced */
	uint64_t base;	    /* of the boot it is about */
	pid_t pid;
	uint64_t pid_start;
	unsigned tries;
	uint64_t due_us; /* now_us(): not again before */
};

/*
 * Writes the record, on the disk when it returns 0. The guest is known (session_guest()). -EBUSY (ERR_TIMEOUT): another one has left
 * neither in, and its old patch would be forgotten.
 */
int replacing_begin(struct session *s, const char *old, const char *new, struct err *e);

/*
 * It is over, whatever came of it. A journal that cannot be written is owed that, before it tells of anything later: a worker
 * that dies meanwhile leaves what resuming finds settled.
 */
void replacing_end(struct session *s);

/* Records "replace" and "replaced" read back. -EBADMSG. */
int replacing_load(struct session *s, json_t *record);
int replacing_load_end(struct session *s, json_t *record);

/*
 * With the VM reached and nothing else under way: puts back the old patch where neither is in, in the boot it was in.
 * Where it cannot be done now it is tried again, a few times; -errno when that has come to an end. 0 otherwise, also when
 * there is nothing to do.
 */
int replacing_resume(struct session *s, struct err *e);

/* Until replacing_resume() has something to do; -1: nothing. */
int replacing_wait_ms(const struct session *s);

#endif
