/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The text that the stress test changes: small functions, each with one patch
 * site of a given shape at a given place, in one arena. A function takes nothing,
 * returns one value, and returns another one when the site holds the new bytes.
 */
#ifndef VMPOKE_TESTS_STRESS_TEXT_H
#define VMPOKE_TESTS_STRESS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_SITE_MAX  16 /* bytes of the longest site */
#define TEXT_BLOCK_MAX 32 /* bytes before or after it in its function */

/* One function before it is placed; filled by a shape. */
struct text_code {
	uint8_t before[TEXT_BLOCK_MAX], after[TEXT_BLOCK_MAX];
	uint8_t versions[2][TEXT_SITE_MAX]; /* old, new */
	size_t n_before, n_site, n_after;
};

/* What a shape is given. Lengths may not depend on it: the site is placed after a first round without addresses. */
struct text_frame {
	uint64_t site;	     /* address of the site's first byte */
	uint64_t leaf[2];    /* functions that return result[0] and result[1] */
	uint64_t results[2]; /* every byte of one differs from that byte of the other */
};

struct text_shape {
	const char *name;
	unsigned result_bytes; /* how much of a result it can carry: 1, 2, 4 or 8 */
	void (*build)(const struct text_frame *frame, struct text_code *ret);
	bool may_fault; /* not all of its instructions are among those known not to: no debug-register traps */
};

extern const struct text_shape text_shapes[];
extern const size_t text_n_shapes;
const struct text_shape *text_shape_find(const char *name, size_t len);

/* Where the site lies. */
enum text_place {
	TEXT_INSIDE,	 /* inside one cache line */
	TEXT_LINE,	 /* across a cache line's edge */
	TEXT_PAGE_START, /* first byte of a page */
	TEXT_PAGE_END,	 /* ends with a page */
	TEXT_PAGE_CROSS, /* across a page's edge */
	TEXT_PLACES,
};
const char *text_place_name(enum text_place place);

struct text_site {
	const struct text_shape *shape;
	enum text_place place;
	uint64_t entry, gva;
	uint8_t len;
	uint8_t versions[2][TEXT_SITE_MAX];
	uint64_t results[2];
};

/* bytes[0..cap) is what the guest sees at gva (a page's start). */
struct text_arena {
	uint8_t *bytes;
	uint64_t gva;
	size_t used, cap;
};

/* Fills the arena with breakpoints: whoever runs past a function is caught. */
void text_begin(struct text_arena *arena);
/* The next site begins on a page of its own. */
void text_new_page(struct text_arena *arena);
/* serial makes results and the split at a page's edge differ. -ENOSPC when the arena is full. */
int text_add(struct text_arena *arena, const struct text_shape *shape, enum text_place place, unsigned serial,
	     struct text_site *ret);

#endif
