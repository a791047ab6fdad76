/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The patch description an operator writes (YAML, format version 1). Parsing
 * checks everything that can be known without a guest; every error names file,
 * line and what to write instead. The text is untrusted: size, sites, nesting
 * and aliases are bounded or refused.
 */
#ifndef VMPOKE_PROTOCOL_PATCHFILE_H
#define VMPOKE_PROTOCOL_PATCHFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/err.h"
#include "protocol/util.h"

#define PATCHFILE_SIZE_MAX (256u << 10)
#define PATCHFILE_SITES_MAX 4096
#define PATCHFILE_NAME_MAX 63	/* [a-zA-Z0-9][a-zA-Z0-9._-]* */
#define PATCHFILE_BYTES_MAX 64	/* bytes one site may replace */
#define PATCHFILE_SYMBOL_MAX 255
#define PATCHFILE_EXCLUSIONS_MAX 16
#define PATCHFILE_PV_TARGET_MAX 127	   /* bytes of the name of an operation's target */
#define PATCHFILE_OBJECT_MAX 127	   /* bytes of the name of an object file */
#define PATCHFILE_OBJECT_SIZE_MAX (256u << 10) /* of the object file itself */

enum patch_kind {
	PATCH_KIND_BYTES,  /* old, new: same length, 1..64 */
	PATCH_KIND_RETURN, /* value: the function at "at" returns it */
	PATCH_KIND_JUMP,   /* to: the function entry jumps to another function's entry */
	PATCH_KIND_NOP,	   /* the instruction at "at" becomes a NOP; optional old */
	PATCH_KIND_IMMEDIATE,	/* value: the constant of the mov at "at" becomes it */
	PATCH_KIND_STATIC_KEY,	/* enable: the static key at "at" and all its jumps */
	PATCH_KIND_STATIC_CALL, /* to: the static call whose key is "at" leads to it; "null" and "ret0" are words */
	PATCH_KIND_ALTERNATIVE, /* choose: which form of the alternative at "at" */
	PATCH_KIND_PV_GROUP,	/* group, choose: operations of pv_ops, which "at" is, switched together */
	PATCH_KIND_FUNCTION, /* object, symbol: the function entry jumps to a function of an object file */
};

enum patch_choice {
	PATCH_CHOICE_ORIGINAL,	  /* alternative: the compiler's code */
	PATCH_CHOICE_REPLACEMENT, /* ... the replacement, where there is one only */
	PATCH_CHOICE_NUMBER,	  /* ... replacement number choice_number */
	PATCH_CHOICE_NATIVE,	  /* pv_group */
	PATCH_CHOICE_PARAVIRT,
	PATCH_CHOICE_TARGETS, /* ... those of pv_target */
};

/* Operations of group "lock" of a pv_group. */
enum patch_pv_op { PATCH_PV_LOCK_SLOWPATH, PATCH_PV_UNLOCK, PATCH_PV_PREEMPTED, PATCH_PV_OPS };

/* "symbol", "symbol+0x12", or "0xffffffff81000000". */
struct patch_place {
	char symbol[PATCHFILE_SYMBOL_MAX + 1]; /* "" when absolute */
	uint64_t offset;		       /* from the symbol, or the absolute address */
};

struct patchfile_site {
	enum patch_kind kind;
	int line; /* 1-based line of the site in the file */
	struct patch_place at;
	struct patch_place to;	/* jump, static_call; function: a symbol of the object, no offset */
	int64_t value;		/* return: INT32_MIN..UINT32_MAX; immediate */
	bool value_unsigned;	/* immediate: value is above INT64_MAX, and these are its bits */
	bool enable;		/* static_key */
	enum patch_choice choice;
	uint8_t choice_number; /* 1.. */
	char pv_target[PATCH_PV_OPS][PATCHFILE_PV_TARGET_MAX + 1]; /* functions; "" : stays as it is */
	uint8_t old_len, new_len;
	uint8_t old_bytes[PATCHFILE_BYTES_MAX];
	uint8_t new_bytes[PATCHFILE_BYTES_MAX];
};

/* Text [from, to) in which nobody may be when old becomes new, e.g. from a lock to its unlock. */
struct patchfile_exclusion {
	int line; /* 1-based */
	struct patch_place from, to;
};

struct patchfile {
	char name[PATCHFILE_NAME_MAX + 1];
	char description[256];	  /* "" when absent; printable, one line */
	char release[128];	  /* fnmatch pattern; "" when any */
	uint8_t build_id[32];
	size_t build_id_len;	  /* 0 when any */
	char object[PATCHFILE_OBJECT_MAX + 1]; /* file that all sites of kind function take; "" when there is none */
	bool atomic;		  /* the sites are a group: nobody sees one new after another one old */
	size_t n_exclusions;
	struct patchfile_exclusion exclusions[PATCHFILE_EXCLUSIONS_MAX];
	size_t n_sites;
	struct patchfile_site *sites;
};

/*
 * Parses text (need not be NUL-terminated). filename is only used in sentences.
 * -EINVAL with kind ERR_USAGE and "FILE:LINE: ..."; -ENOMEM; -EFBIG above the caps.
 */
int patchfile_parse(const char *text, size_t len, const char *filename, struct patchfile **ret, struct err *e);
void patchfile_free(struct patchfile *p); /* NULL allowed */
DEFINE_CLEANUP(struct patchfile, patchfile_free)

/* "symbol+0x12" again, into buf. */
void patch_place_format(const struct patch_place *p, char *buf, size_t cap);

/* Parses a place; -EINVAL on anything else. Used by the CLI as well. */
int patch_place_parse(const char *text, struct patch_place *ret);

/* True for a legal patch or VM name (same alphabet). */
bool patch_name_valid(const char *name);

const char *patch_kind_name(enum patch_kind kind);

#endif
