/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A sorted set of ranges that many words are tested against. */
#ifndef VMPOKE_VMM_GUEST_RANGES_H
#define VMPOKE_VMM_GUEST_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/err.h"

struct guest_range;

struct ranges_item {
	uint64_t start, end; /* a word with start < word < end is a hit */
	size_t index;	     /* in the caller's array */
};

struct ranges {
	struct ranges_item *item;
	size_t n;
};

/*
 * hiders: words that stand for a return address we cannot see (it was replaced by a
 * tracer's trampoline and may be anywhere): each is a hit, reported for range 0.
 */
int ranges_build(struct ranges *r, const struct guest_range *ranges, size_t n, const uint64_t *hiders, size_t n_hiders,
		 struct err *e);
void ranges_done(struct ranges *r);

bool ranges_hit(const struct ranges *r, uint64_t word, size_t *ret_index);

#endif
