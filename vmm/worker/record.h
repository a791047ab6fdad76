/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Transactions as journal records (JSON) and back, and the list of patches that replaying them gives. */
#ifndef VMPOKE_VMM_WORKER_RECORD_H
#define VMPOKE_VMM_WORKER_RECORD_H

#include <jansson.h>

#include "protocol/patchfile.h"
#include "vmm/poke/plan.h"

#define TRANSACTION_NUMBER_MAX ((json_int_t)1 << 53)

enum operation {
	OPERATION_APPLY,
	OPERATION_REVERT,
	OPERATION_ADOPT, /* it came in with the guest: nothing is written; else as an apply */
};

enum patch_status {
	PATCH_APPLIED,
	PATCH_LOST,	 /* the guest rebooted: the patch is gone with the old text */
	PATCH_ATTENTION, /* the text is neither old nor new; vmpoke does not touch it any more */
};

/* How a transaction ended. */
enum result {
	RESULT_APPLIED,
	RESULT_REVERTED,
	RESULT_UNDONE,	  /* given up: the text is as it was before */
	RESULT_LOST,	  /* the guest rebooted meanwhile */
	RESULT_ATTENTION, /* neither forward nor back was possible */
};

/* Which boot of which guest a patch was put into. */
struct boot {
	char release[65];
	char build_id[41];
	uint64_t base;
	pid_t pid;	    /* of the VMM; 0 when unknown */
	uint64_t pid_start;
};

/* One transaction, as its begin record tells it. */
struct transaction {
	uint64_t number;
	enum operation operation;
	char patch[PATCHFILE_NAME_MAX + 1];
	char description[256];
	json_int_t time;
	struct boot boot;
	struct poke_plan *plan; /* old_bytes: before this transaction, new_bytes: after it */
};

void transaction_free(struct transaction *t); /* NULL allowed */
DEFINE_CLEANUP(struct transaction, transaction_free)

/* A new reference, or NULL when memory is short. */
json_t *transaction_to_json(const struct transaction *t);
/* -EBADMSG, -ENOMEM. Every field is checked: the file may have been edited. */
int transaction_from_json(json_t *record, struct transaction **ret);

/* Adds the figures to o: those of every mode and, where the mode is not stopped, those of the others. */
void figures_add_json(json_t *o, enum poke_mode mode, const struct poke_stats *stats);

/* One entry of the history, from the two records (borrowed) of a transaction. */
json_t *transaction_history(json_t *begin, json_t *end);

/* A patch that is in the guest, or was until the guest rebooted. */
struct patch_record {
	struct patch_record *next;
	enum patch_status status;
	struct transaction *begin; /* the apply that brought it in */
};

/* In order of application. */
struct patch_list {
	struct patch_record *first;
};

struct patch_record *patch_list_find(const struct patch_list *l, const char *name);
/* Takes begin. -ENOMEM. */
int patch_list_add(struct patch_list *l, struct transaction *begin, enum patch_status status);
void patch_list_remove(struct patch_list *l, const char *name);
void patch_list_clear(struct patch_list *l);
/* What the end of a transaction (taken) means for the list. -ENOMEM. */
int patch_list_end(struct patch_list *l, struct transaction *t, enum result result);
/* Patches with that status. */
size_t patch_list_count(const struct patch_list *l, enum patch_status status);

/* {"address", "symbol", "old", "new"}: a site as clients see it. */
json_t *site_to_json(const struct poke_site *site);

/* Text of sites that one reply may hold: the rest of QMP_MESSAGE_MAX is for what is around them. */
#define SITES_REPLY_BYTES (768u << 10)

/*
 * Sets o[key] to the plan's sites for as long as *budget (bytes, SITES_REPLY_BYTES at first) lasts;
 * o["sites_omitted"] counts those left out, if any.
 */
void sites_add_json(json_t *o, const char *key, const struct poke_plan *plan, size_t *budget);

const char *operation_name(enum operation op);
const char *patch_status_name(enum patch_status s);
const char *result_name(enum result r);
int result_from_name(const char *name); /* -EINVAL; NULL allowed */

#endif
