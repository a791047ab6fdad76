// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Lays functions out so that each site lies where it was asked for, with its two
 * leaves before it. Must never let two sites share a byte, and leaves no byte of
 * the arena that could be run by mistake without a trap.
 */
#include "tests/stress/text.h"

#include <errno.h>
#include <string.h>

#define PAGE 4096u
#define LINE 64u
#define LEAF 16u /* mov $imm32, %eax; ret, and room */

const char *text_place_name(enum text_place place)
{
	static const char *const names[TEXT_PLACES] = { "inside", "line", "page-start", "page-end", "page-cross" };

	return names[place];
}

void text_begin(struct text_arena *arena)
{
	memset(arena->bytes, 0xcc, arena->cap);
	arena->used = 0;
}

void text_new_page(struct text_arena *arena)
{
	arena->used = (arena->used + PAGE - 1) / PAGE * PAGE;
}

/* The first offset >= from whose remainder by unit is rest. */
static size_t next(size_t from, size_t unit, size_t rest)
{
	size_t at = from / unit * unit + rest;

	return at >= from ? at : at + unit;
}

/* Offset of the site: the first at or behind from that is such a place. */
static size_t place_find(enum text_place place, size_t from, size_t len, unsigned serial)
{
	size_t split = 1 + serial % (len - 1); /* bytes before the edge: 1 .. len - 1 */
	size_t at;

	switch (place) {
	case TEXT_LINE:
		at = next(from, LINE, LINE - split);
		return at % PAGE == PAGE - split ? at + LINE : at;
	case TEXT_PAGE_START:
		return next(from, PAGE, 0);
	case TEXT_PAGE_END:
		return next(from, PAGE, PAGE - len);
	case TEXT_PAGE_CROSS:
		return next(from, PAGE, PAGE - split);
	default:
		return from % LINE + len <= LINE ? from : next(from, LINE, 0);
	}
}

/* Bytes that differ from site to site, and between old and new at every place. */
static void results_choose(const struct text_shape *shape, unsigned serial, uint64_t results[static 2])
{
	uint64_t mask = shape->result_bytes == 8 ? UINT64_MAX : (UINT64_C(1) << 8 * shape->result_bytes) - 1;

	results[0] = (serial + 1) * UINT64_C(0x9e3779b97f4a7c15) & mask;
	results[1] = ~results[0] & mask;
}

static void leaf_put(struct text_arena *arena, size_t at, uint64_t result)
{
	uint32_t value = (uint32_t)result;

	arena->bytes[at] = 0xb8; /* mov $value, %eax */
	memcpy(arena->bytes + at + 1, &value, 4);
	arena->bytes[at + 5] = 0xc3;
}

int text_add(struct text_arena *arena, const struct text_shape *shape, enum text_place place, unsigned serial,
	     struct text_site *ret)
{
	size_t leaves = next(arena->used, LEAF, 0);
	struct text_frame frame = { .leaf = { arena->gva + leaves, arena->gva + leaves + LEAF } };
	struct text_code code = { 0 };

	results_choose(shape, serial, frame.results);
	shape->build(&frame, &code);
	size_t at = place_find(place, leaves + 2 * LEAF + code.n_before, code.n_site, serial);
	if (at > arena->cap || code.n_site + code.n_after > arena->cap - at)
		return -ENOSPC;
	frame.site = arena->gva + at;
	code = (struct text_code){ 0 };
	shape->build(&frame, &code);
	leaf_put(arena, leaves, frame.results[0]);
	leaf_put(arena, leaves + LEAF, frame.results[1]);
	memcpy(arena->bytes + at - code.n_before, code.before, code.n_before);
	memcpy(arena->bytes + at, code.versions[0], code.n_site);
	memcpy(arena->bytes + at + code.n_site, code.after, code.n_after);
	arena->used = at + code.n_site + code.n_after;
	*ret = (struct text_site){ .shape = shape,
				   .place = place,
				   .entry = frame.site - code.n_before,
				   .gva = frame.site,
				   .len = (uint8_t)code.n_site,
				   .results = { frame.results[0], frame.results[1] } };
	memcpy(ret->versions, code.versions, sizeof(ret->versions));
	return 0;
}
