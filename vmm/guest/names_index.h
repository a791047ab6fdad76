/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which symbols may have a name: see names_index.c. */
#ifndef VMPOKE_VMM_GUEST_NAMES_INDEX_H
#define VMPOKE_VMM_GUEST_NAMES_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kallsyms;

/* All zero: no index. */
struct names_index {
	uint32_t mask, *heads, *links;
};

int names_index_make(struct names_index *x, const struct kallsyms *k); /* -ENOMEM */
void names_index_drop(struct names_index *x);

struct names_cursor {
	bool started;
	uint32_t at;
	unsigned followed;
};

/*
 * The next symbol that may have this name (zeroed cursor first; descending, others mixed in): 1, or
 * 0 at the end; -ENOENT without an index, -E2BIG when too many share its place: look at all symbols then.
 */
int names_index_next(const struct names_index *x, struct names_cursor *c, const char *name, size_t *ret);

#endif
