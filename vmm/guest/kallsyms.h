/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's kallsyms tables, kept compressed as the kernel keeps them
 * (scripts/kallsyms.c, kernel/kallsyms.c). kallsyms_find() believes nothing: what
 * it stores has been decoded once from end to end, so that the accessors below
 * can walk it without further checks.
 */
#ifndef VMPOKE_VMM_GUEST_KALLSYMS_H
#define VMPOKE_VMM_GUEST_KALLSYMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/err.h"

#define KALLSYMS_MAX	    (1u << 20)	/* symbols; 154,334 in Debian's 6.12 */
#define KALLSYMS_TOKENS_MAX 4096	/* bytes of token_table; about 1,000 in real kernels */
#define KALLSYMS_NAMES_MAX  (16u << 20) /* bytes looked at before token_table */
#define KALLSYMS_STRIDE	    256		/* symbols per marker */

struct walk;
struct image;

struct kallsyms {
	size_t n;
	const char *layout;
	uint64_t relative_base;
	bool absolute_percpu; /* offsets >= 0 are absolute or per-cpu addresses */
	size_t names_len;
	uint8_t *names;
	uint32_t *markers; /* offset in names of every 256th symbol */
	int32_t *offsets;
	size_t sorted, sorted_end; /* all kernel addresses, ascending, are here; both 0 when they are not in order */
	uint16_t token_index[256];
	char tokens[KALLSYMS_TOKENS_MAX];
};

/*
 * Looks for the tables in the mapped runs of the image. -ENOENT when there are
 * none that hold together and put the symbol image->base_symbol at image->base.
 */
int kallsyms_find(struct kallsyms *k, struct walk *w, const struct image *image, struct err *e);
void kallsyms_done(struct kallsyms *k); /* zeroed objects allowed */

/*
 * names[at] starts a symbol: its tokens are *ret_tokens[0 .. return value), and
 * *next is where the following symbol starts. Returns 0 when it would pass limit.
 */
size_t kallsyms_entry(const uint8_t *names, size_t limit, size_t at, const uint8_t **ret_tokens, size_t *next);

/* Type letter and name of the symbol at offset `at` of names; name is cut to cap, odd bytes become '?'. */
size_t kallsyms_expand(const struct kallsyms *k, size_t at, char *ret_type, char *name, size_t cap);

/* Has the symbol at offset `at` exactly this name? *next as above. */
bool kallsyms_named(const struct kallsyms *k, size_t at, const char *name, char *ret_type, size_t *next);

/* Offset in names of symbol i, which must be below n. */
size_t kallsyms_offset(const struct kallsyms *k, size_t i);

uint64_t kallsyms_address(const struct kallsyms *k, size_t i);

/* False for absolute and per-cpu symbols, whose value is no kernel address. */
bool kallsyms_is_address(const struct kallsyms *k, size_t i);

/* Finds out whether addresses ascend, as in every kernel built so far; the guest could have it otherwise. */
void kallsyms_order(struct kallsyms *k);

/* First symbol of that name: its index, or -1. */
ptrdiff_t kallsyms_index(const struct kallsyms *k, const char *name);

#endif
