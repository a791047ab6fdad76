/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who may do what to which VMs: rules that allow, and nothing that forbids. Knows no
 * sockets, files or commands. Without a rule everybody who can connect may do all.
 */
#ifndef VMPOKE_CONTROL_POLICY_H
#define VMPOKE_CONTROL_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "protocol/err.h"
#include "protocol/patchfile.h"
#include "protocol/schema.h"

#define POLICY_RULES_MAX 64
#define POLICY_LIST_MAX	 64 /* users, groups, VMs of one rule */

/* What lifts a safety default; each has to be allowed by name. Bits of a mask. */
enum policy_override {
	POLICY_OVERRIDE_MODE = 1 << 0,	       /* arguments of these names */
	POLICY_OVERRIDE_TRAPS = 1 << 1,
	POLICY_OVERRIDE_AGENT_USE = 1 << 2,
	POLICY_OVERRIDE_KEEP_PATCHES = 1 << 3,
	POLICY_OVERRIDE_ATOMIC = 1 << 4,       /* "atomic: false" in a patch of several sites */
	POLICY_OVERRIDE_EXCLUDE = 1 << 5,      /* "exclude" in a patch */
	POLICY_OVERRIDE_ALL = (1 << 6) - 1,
};

/* 0 when there is no override of that name; "*" is all. */
unsigned policy_override_from_name(const char *name);
/* The name of the lowest bit. */
const char *policy_override_name(unsigned mask);

struct policy_rule {
	char name[PATCHFILE_NAME_MAX + 1];
	bool everybody;
	size_t n_uids, n_gids, n_vms;
	uid_t uids[POLICY_LIST_MAX];
	gid_t gids[POLICY_LIST_MAX];
	char vms[POLICY_LIST_MAX][PATCHFILE_NAME_MAX + 1]; /* patterns as of fnmatch(3) */
	unsigned classes;   /* bits 1 << enum schema_class */
	unsigned overrides; /* enum policy_override */
	bool unsigned_set;  /* says itself whether unsigned patches are allowed */
	bool unsigned_ok;
};

/* Zeroed: no rules, unsigned patches are refused; policy_init() gives the default. */
struct policy {
	size_t n_rules;
	struct policy_rule *rules;
	bool unsigned_ok; /* of rules that do not say; and without rules */
};

struct peer;

struct policy_request {
	const struct peer *peer;
	enum schema_class class, also; /* also: a second one that the same rule must allow; NONE: there is none */
	const char *vm;	    /* NULL: of no VM, or a list that is filtered with policy_sees() */
	bool vm_is_pattern; /* then a rule must cover all names it can match */
	unsigned overrides;
	bool has_patch, is_signed;
};

void policy_init(struct policy *p);
void policy_clear(struct policy *p);

/*
 * 0 and the name of the rule that allows it (borrowed; "default" without rules), or -EACCES with
 * ERR_REFUSED: rule "policy" (nobody may, this one may not, or not on this VM), "unsigned", "override".
 */
int policy_decide(const struct policy *p, const struct policy_request *request, const char **ret_rule, struct err *e);

/* May it look at this VM? */
bool policy_sees(const struct policy *p, const struct peer *peer, const char *vm);

/* Does the pattern match every name that other (a name or pattern) matches? Says no when in doubt. */
bool policy_pattern_covers(const char *pattern, const char *other);

#endif
