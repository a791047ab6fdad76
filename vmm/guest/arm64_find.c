// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Data of an arm64 kernel that its symbol table does not name; see arm64.h. Found by content, or by
 * the functions that use it; either way checked before it is believed, and never more looked at
 * than a kernel has.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/guest/arm64.h"
#include "vmm/guest/scratch.h"

#define CHUNK	      (1u << 20)
#define SEARCH_MAX    (64ull << 20) /* bytes of read-only data; 10 MiB in a Debian kernel */
#define WANT_MAX      64	    /* longest pattern */
#define FUNCTION_MAX  4096
#define TABLE_MAX     (4u << 20) /* 100 KiB in a Debian kernel */
#define ADDRESSES_MAX 8

static void chunk_search(struct walk *w, const struct image_run *run, const uint8_t *chunk, size_t len, uint64_t gva,
			 struct data_want *want)
{
	for (const uint8_t *p = chunk; !want->found && want->hits < DATA_HITS_MAX; p++) {
		p = memmem(p, len - (size_t)(p - chunk), want->bytes, want->len);
		if (!p)
			return;
		uint64_t at = gva + (uint64_t)(p - chunk);
		if (at % 4)
			continue;
		want->hits++;
		if (want->accept(w, run, at))
			want->found = at;
	}
}

/* Runs that cannot be read are passed over: what is missing is then not found. */
static void run_search(struct walk *w, const struct image_run *run, uint8_t *chunk, uint64_t *looked,
		       struct data_want *wants, size_t n)
{
	for (uint64_t gva = run->start; gva < run->end && *looked < SEARCH_MAX; gva += CHUNK) {
		size_t len = CHUNK + WANT_MAX; /* a hit may cross into the next chunk */
		if (len > run->end - gva)
			len = (size_t)(run->end - gva);
		*looked += len;
		if (walk_read(w, gva, chunk, len, NULL) < 0)
			return;
		for (size_t i = 0; i < n; i++)
			chunk_search(w, run, chunk, len, gva, &wants[i]);
	}
}

int arm64_data_find(struct walk *w, const struct image *image, struct data_want *wants, size_t n, struct err *e)
{
	_cleanup_scratch_ struct scratch chunk = { 0 };
	uint64_t looked = 0;

	if (!scratch_alloc(&chunk, CHUNK + WANT_MAX))
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	for (size_t i = 0; i < image->n_runs; i++)
		if (!image->runs[i].exec && !image->runs[i].write)
			run_search(w, &image->runs[i], chunk.p, &looked, wants, n);
	return 0;
}

/* Arm ARM, C6.2: ADRP has a page distance in two pieces; ADD (immediate, 64 bits, not shifted) the rest. */
size_t arm64_addresses(const uint8_t *code, size_t len, uint64_t gva, uint64_t *ret, size_t cap)
{
	uint64_t page[32] = { 0 };
	size_t n = 0;

	for (size_t at = 0; at + 4 <= len && n < cap; at += 4) {
		uint32_t word = (uint32_t)code[at] | (uint32_t)code[at + 1] << 8 | (uint32_t)code[at + 2] << 16 |
				(uint32_t)code[at + 3] << 24;
		unsigned d = word & 31, from = word >> 5 & 31;

		if ((word & 0x9f000000u) == 0x90000000u) {
			uint64_t pages = (uint64_t)(word >> 5 & 0x7ffff) << 2 | (word >> 29 & 3);
			page[d] = ((gva + at) & ~4095ull) + (uint64_t)((int64_t)(pages << 43) >> 31);
		} else if ((word & 0xffc00000u) == 0x91000000u && page[from]) {
			ret[n++] = page[from] + (word >> 10 & 0xfff);
		}
	}
	return n;
}

/* A table of entries that begin with two self-relative 32-bit distances into the text. */
struct table {
	const char *function; /* that uses start and stop */
	const char *start, *stop;
	size_t entry;
};

/* kernel/jump_label.c, kernel/extable.c */
static const struct table tables[GUEST_DERIVED_TABLES] = {
	{ "jump_label_text_reserved", "__start___jump_table", "__stop___jump_table", 16 },
	{ "search_kernel_exception_table", "__start___ex_table", "__stop___ex_table", 12 },
};

/* Both distances of every entry, which is at gva + at, lead into the image. */
static bool entries_accept(const struct guest *g, const uint8_t *data, size_t size, size_t entry, uint64_t gva)
{
	for (size_t at = 0; at < size; at += entry)
		for (size_t field = at; field < at + 8; field += 4) {
			int32_t distance;
			memcpy(&distance, data + field, sizeof(distance));
			if (!image_holds(&g->window, gva + field + (uint64_t)(int64_t)distance))
				return false;
		}
	return true;
}

static bool table_accept(struct guest *g, const struct table *t, uint64_t start, uint64_t stop)
{
	_cleanup_scratch_ struct scratch data = { 0 };
	size_t size = (size_t)(stop - start);

	if (!image_holds(&g->window, start) || !image_holds(&g->window, stop) || stop <= start || size > TABLE_MAX ||
	    size % t->entry)
		return false;
	return scratch_alloc(&data, size) && walk_read(&g->walk, start, data.p, size, NULL) == 0 &&
	       entries_accept(g, data.p, size, t->entry, start);
}

/* The addresses a function makes; how many, 0 where it cannot be told. */
static size_t function_addresses(struct guest *g, const char *function, uint64_t made[static ADDRESSES_MAX])
{
	uint8_t code[FUNCTION_MAX];
	struct guest_symbol symbol;
	uint64_t fn, size;

	if (guest_symbol_find(g, function, &fn, NULL, NULL) < 0 || guest_symbol_at(g, fn, &symbol, &size) < 0)
		return 0;
	if (size > sizeof(code))
		size = sizeof(code);
	if (walk_read(&g->walk, fn, code, (size_t)size, NULL) < 0)
		return 0;
	return arm64_addresses(code, (size_t)size, fn, made, ADDRESSES_MAX);
}

/* Of the addresses a function makes, the two that bound the table. */
static bool table_find(struct guest *g, const struct table *t, uint64_t *ret_start, uint64_t *ret_stop)
{
	uint64_t made[ADDRESSES_MAX];
	size_t n = function_addresses(g, t->function, made);

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++)
			if (table_accept(g, t, made[i], made[j])) {
				*ret_start = made[i];
				*ret_stop = made[j];
				return true;
			}
	return false;
}

/* kernel/jump_label.c: each of the two functions is a call with the mutex, and makes no other address. */
static void mutex_derive(struct guest *g)
{
	static const char name[] = "jump_label_mutex";
	uint64_t locked[ADDRESSES_MAX], unlocked[ADDRESSES_MAX];

	if (guest_symbol_find(g, name, NULL, NULL, NULL) == 0)
		return;
	if (function_addresses(g, "jump_label_lock", locked) == 1 && function_addresses(g, "jump_label_unlock", unlocked) == 1 &&
	    locked[0] == unlocked[0] && locked[0] % 8 == 0 && image_holds(&g->window, locked[0]))
		g->derived[g->n_derived++] = (struct symbol_want){ name, locked[0], true };
}

int arm64_derive(struct guest *g, struct err *e)
{
	(void)e;
	for (size_t i = 0; i < GUEST_DERIVED_TABLES; i++) {
		/* Bounds the wrong way round: the kinds refuse what they would have to look up there. */
		uint64_t start = 1, stop = 0;

		if (guest_symbol_find(g, tables[i].start, NULL, NULL, NULL) == 0)
			continue;
		table_find(g, &tables[i], &start, &stop);
		g->derived[g->n_derived++] = (struct symbol_want){ tables[i].start, start, true };
		g->derived[g->n_derived++] = (struct symbol_want){ tables[i].stop, stop, true };
	}
	mutex_derive(g);
	return 0;
}
