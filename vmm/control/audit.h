/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who asked for what, and what was decided: one JSON object a line in STATE/audit.jsonl, which vmpoked
 * only ever appends to, and the log (in the systemd journal with fields). See docs/policy.md.
 */
#ifndef VMPOKE_CONTROL_AUDIT_H
#define VMPOKE_CONTROL_AUDIT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "protocol/err.h"
#include "protocol/minisign.h"
#include "protocol/patchfile.h"
#include "protocol/schema.h"
#include "vmm/control/audit_limit.h"

enum audit_result {
	AUDIT_ALLOWED, /* it is going to be tried */
	AUDIT_REFUSED, /* by policy, signature or socket */
	AUDIT_DONE,    /* what was allowed has succeeded */
	AUDIT_FAILED,  /* or not */
};

/* What is asked for, and by whom. */
struct audit_entry {
	pid_t pid;
	uid_t uid;
	gid_t gid;
	const char *command; /* static */
	enum schema_class class;
	char vm[PATCHFILE_NAME_MAX + 1];    /* "" when there is none */
	char patch[PATCHFILE_NAME_MAX + 1]; /* "" when it is not known */
	char rule[PATCHFILE_NAME_MAX + 1];  /* [allow] section that allowed it */
	char key[MINISIGN_ID_TEXT];	    /* who signed it, "" when nobody did */
	uint64_t serial;		    /* 0: it is not signed */
};

struct audit {
	int fd; /* -1: not open */
	bool torn; /* the file ends with a piece of a line */
	char path[4096];
	uint64_t total_refused;
	struct audit_limit limit; /* who may do nothing shall not fill the disk by asking */
};

int audit_open(struct audit *a, const char *state_dir, struct err *e);
/* Also says how many refusals were left out. */
void audit_close(struct audit *a);

/* Opens the file anew: it may have been renamed. On failure the one that is open stays. */
int audit_reopen(struct audit *a, struct err *e);

/* {"uid", "pid", "key"?, "serial"?}: who it was, for the history of a VM. */
json_t *audit_by(const struct audit_entry *entry);

/*
 * Writes one record; why may be NULL. What changes something is on the disk when this returns 0. -errno
 * (ERR_FAILED): it is not written, and what was to be allowed must not be done. Refusals never fail; those of
 * one user beyond AUDIT_LIMIT_REFUSALS in AUDIT_LIMIT_US are counted in a later record only.
 */
int audit_write(struct audit *a, const struct audit_entry *entry, enum audit_result result, const struct err *why,
		struct err *e);

#endif
