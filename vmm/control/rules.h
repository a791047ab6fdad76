/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Install rules: which patches are to be in which VMs, whenever these are up. One file each (STATE/rules/NUMBER.json),
 * patch text and object included, so that a restarted daemon knows them again. Knows nothing of VMs but their names.
 */
#ifndef VMPOKE_CONTROL_RULES_H
#define VMPOKE_CONTROL_RULES_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "protocol/err.h"
#include "protocol/patchfile.h"

#define RULES_MAX 256
#define RULES_PER_VM_MAX 64
#define RULE_PRIORITY_MAX 1000 /* and its negative */
#define RULE_PATTERN_MAX PATCHFILE_NAME_MAX
#define RULE_BUILD_ID_MAX 64

struct rule {
	TAILQ_ENTRY(rule) link;
	unsigned number;			/* its name on the wire and of its file */
	char pattern[RULE_PATTERN_MAX + 1];	/* glob over names of VMs */
	char patch[PATCHFILE_NAME_MAX + 1];	/* name of the patch, as its text says */
	char description[256];			/* of the patch; "" when it has none */
	char build_id[RULE_BUILD_ID_MAX + 1];	/* glob over the build-id of the guest's kernel, hex; "" for any */
	int priority;				/* the higher goes in first */
	json_int_t added_at;			/* seconds since 1970 */
	bool has_author;			/* false: of a vmpoked that did not note it */
	uid_t author;				/* by whose rights it is applied */
};

struct rules {
	int dirfd;
	TAILQ_HEAD(rules_list, rule) list; /* higher priority first, then the older */
	size_t n;
	unsigned next;
};

/* Told of each file that is skipped and why. */
struct rules_report {
	void (*broken)(struct rules_report *report, const char *file, const struct err *e);
};

/* Makes STATE/rules when missing and reads it. rules_done() always, also on failure. */
int rules_open(struct rules *rules, const char *state_dir, struct rules_report *report, struct err *e);
void rules_done(struct rules *rules);

/*
 * Adds a rule, or changes the one of the same pattern and patch; on the disk when it returns. apply: what patch-apply
 * is given when the time comes ("text" and whatever else; borrowed), opaque but for the text, which must be a patch file.
 * Who adds what another one had added is its author from then on. 1: added or changed, 0: it was so before. ERR_USAGE; ERR_REFUSED "limit".
 */
int rules_add(struct rules *rules, const struct rule *want, json_t *apply, struct rule **ret, struct err *e);

/* On the disk when it returns; r is gone. */
int rules_remove(struct rules *rules, struct rule *r, struct err *e);

struct rule *rules_find(const struct rules *rules, unsigned number);
struct rule *rules_find_patch(const struct rules *rules, const char *pattern, const char *patch);

bool rule_matches(const struct rule *r, const char *vm);
/* build_id: of the guest's kernel, hex. */
bool rule_fits_kernel(const struct rule *r, const char *build_id);

/* The stored arguments of patch-apply; new reference. */
int rule_arguments(const struct rules *rules, const struct rule *r, json_t **ret, struct err *e);

/* {rule, pattern, patch, priority, build_id?, description?, added_at, added_by?} */
json_t *rule_json(const struct rule *r);

/* Checks pattern, build-id and priority. ERR_USAGE. */
int rule_check(const struct rule *r, struct err *e);

#endif
