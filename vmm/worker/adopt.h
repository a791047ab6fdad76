/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Patches that came with the guest from another host. A record is believed only when the guest's memory holds
 * its new bytes, and when its own text, planned anew against that memory with the old bytes laid over it,
 * gives just its sites: what a revert will write is then what a revert of that patch would write. Writes nothing
 * to the guest.
 */
#ifndef VMPOKE_VMM_WORKER_ADOPT_H
#define VMPOKE_VMM_WORKER_ADOPT_H

#include "vmm/worker/portable.h"
#include "vmm/worker/session.h"

struct vmlinux;

enum adopt_state {
	ADOPT_OPEN,	 /* not judged yet */
	ADOPT_ADOPTED,
	ADOPT_ALREADY,	 /* it is known here */
	ADOPT_ABSENT,	 /* the guest holds the old bytes: it is not in */
	ADOPT_ATTENTION, /* neither all old nor all new */
	ADOPT_REFUSED,
};

struct adoption {
	struct portable record;
	enum adopt_state state;
	struct err why;
};

struct adopt_list {
	struct adoption *list;
	size_t n;
};
void adopt_list_clear(struct adopt_list *l);

/* The records of a request; nothing is looked at yet. -EBADMSG, -E2BIG (ERR_USAGE): which one is wrong, and how. */
int adopt_list_parse(json_t *records, struct adopt_list *ret, struct err *e);

/*
 * Judges each, in order of application, and journals those that are adopted. Needs session_guest(). Negative only
 * for what is nobody's fault (journal, memory); then those before it are adopted. vmlinux may be NULL.
 */
int adopt_judge(struct session *s, struct adopt_list *l, struct vmlinux *vmlinux, struct err *e);

const char *adopt_state_name(enum adopt_state state);

#endif
