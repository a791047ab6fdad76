// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The kernel's own lists of places in its text, read from guest memory: static
 * branches and static calls (the guest rewrites them, and BUG()s when it finds
 * other bytes than its own), and exception fixups (it jumps there). Entries are
 * self-relative 32-bit distances. A kernel that lacks a table has none of these
 * sites. Hostile input: sizes are capped, a table that is too big is a refusal.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "vmm/kind/row.h"

#define TABLE_SIZE_MAX (8u << 20)

struct table {
	const char *start, *stop; /* symbols */
	size_t entry, field;	  /* bytes */
	const char *what;
};

/* include/linux/jump_label.h, struct jump_entry; arch/x86/include/asm/extable.h; include/linux/static_call_types.h */
enum { JUMP_TARGETS, EXCEPTION_FIXUPS, JUMP_SITES, STATIC_CALL_SITES };
static const struct table tables[KIND_TABLES] = {
	[JUMP_TARGETS] = { "__start___jump_table", "__stop___jump_table", 16, 4, "a static branch (jump label)" },
	[EXCEPTION_FIXUPS] = { "__start___ex_table", "__stop___ex_table", 12, 4, "an exception fixup" },
	[JUMP_SITES] = { "__start___jump_table", "__stop___jump_table", 16, 0, "a static branch (jump label)" },
	[STATIC_CALL_SITES] = { "__start_static_call_sites", "__stop_static_call_sites", 8, 0, "a static call" },
};

static int32_t get_le32(const uint8_t *p)
{
	return (int32_t)((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
}

/* -ENOENT: no such table. */
static int table_bounds(const struct kind_context *ctx, const struct table *t, uint64_t *ret_start, size_t *ret_size,
			struct err *e)
{
	uint64_t start, stop;
	size_t count;
	char type;

	if (guest_symbol_find(ctx->guest, t->start, &start, &type, &count) < 0 ||
	    guest_symbol_find(ctx->guest, t->stop, &stop, &type, &count) < 0)
		return -ENOENT;
	if (stop < start || stop - start > TABLE_SIZE_MAX)
		return err_set_addr(e, ERR_REFUSED, EBADMSG, "self-patched", start,
				    "the guest's list %s cannot be trusted: it would be %" PRIu64 " bytes long",
				    t->start, stop - start);
	*ret_start = start;
	*ret_size = (size_t)(stop - start) / t->entry * t->entry;
	return 0;
}

static int compare_places(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void table_clear(struct kind_table *t)
{
	free(t->places);
	*t = (struct kind_table){ 0 };
}

void kind_tables_clear(struct kind_tables *t)
{
	for (size_t i = 0; i < KIND_TABLES; i++)
		table_clear(&t->table[i]);
}

static int table_read(const struct kind_context *ctx, const struct table *t, struct kind_table *ret, struct err *e)
{
	_cleanup_free_ uint64_t *places = NULL;
	_cleanup_free_ uint8_t *data = NULL;
	uint64_t base = 0;
	size_t size = 0, n = 0;
	int r = table_bounds(ctx, t, &base, &size, e);

	if (r < 0 && r != -ENOENT)
		return r;
	data = malloc(size + 1);
	places = malloc((size / t->entry + 1) * sizeof(*places));
	if (!data || !places)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	r = size ? guest_read(ctx->guest, base, data, size, e) : 0;
	if (r < 0)
		return r;
	for (size_t i = t->field; i < size; i += t->entry)
		places[n++] = base + i + (uint64_t)(int64_t)get_le32(data + i);
	qsort(places, n, sizeof(*places), compare_places);
	*ret = (struct kind_table){ .read = true, .n = n, .places = TAKE_PTR(places) };
	return 0;
}

/* Is some place of the table in [start, start + len) and not allowed? */
static bool table_hits(const struct kind_table *t, uint64_t start, size_t len, uint64_t allowed, uint64_t *ret)
{
	size_t low = 0, high = t->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (t->places[middle] < start)
			low = middle + 1;
		else
			high = middle;
	}
	while (low < t->n && t->places[low] - start < len && (allowed >> (t->places[low] - start) & 1))
		low++;
	if (low == t->n || t->places[low] - start >= len)
		return false;
	*ret = t->places[low];
	return true;
}

/* 1 and *ret when some entry of table number i is an address in [start, start + len) that is not allowed; 0; or negative. */
static int table_find(const struct kind_context *ctx, size_t i, uint64_t start, size_t len, uint64_t allowed,
		      uint64_t *ret, struct err *e)
{
	__attribute__((cleanup(table_clear))) struct kind_table own = { 0 };
	struct kind_table *t = ctx->tables ? &ctx->tables->table[i] : &own;
	int r = t->read ? 0 : table_read(ctx, &tables[i], t, e);

	return r < 0 ? r : table_hits(t, start, len, allowed, ret);
}

int tables_check_targets(const struct kind_context *ctx, uint64_t start, size_t len, uint64_t allowed, struct err *e)
{
	for (size_t i = JUMP_TARGETS; i <= EXCEPTION_FIXUPS; i++) {
		uint64_t hit = 0;
		int r = table_find(ctx, i, start, len, allowed, &hit, e);

		if (r < 0)
			return r;
		if (r > 0)
			return err_set_addr(e, ERR_REFUSED, EBUSY, "jump-into", hit,
					    "%s leads to 0x%" PRIx64
					    ", into the middle of the %zu bytes to be replaced",
					    tables[i].what, hit, len);
	}
	return 0;
}

int tables_check_owned(const struct kind_context *ctx, uint64_t start, size_t len, struct err *e)
{
	for (size_t i = JUMP_SITES; i <= STATIC_CALL_SITES; i++) {
		uint64_t hit = 0;
		int r = table_find(ctx, i, start, len, 0, &hit, e);

		if (r < 0)
			return r;
		if (r > 0)
			return err_set_addr(
				e, ERR_REFUSED, EBUSY, "self-patched", hit,
				"0x%" PRIx64
				", among the %zu bytes to be replaced, is %s: the guest rewrites it and would stop on other bytes",
				hit, len, tables[i].what);
	}
	return 0;
}
