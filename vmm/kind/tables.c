// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Does a range meet a place in one of the kernel's own lists (vmm/guest/sites.h)?
 * Static branches and static calls the guest rewrites, and BUG()s when it finds other
 * bytes than its own; to their targets and to exception fixups it jumps. A kernel
 * that lacks a list has none of these sites.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "vmm/guest/sites.h"
#include "vmm/kind/row.h"

/* Which field of which list, see vmm/guest/sites.h. */
enum { JUMP_TARGETS, EXCEPTION_FIXUPS, JUMP_SITES, STATIC_CALL_SITES };
static const struct table {
	enum guest_site_kind kind;
	bool target;
	const char *what;
} tables[KIND_TABLES] = {
	[JUMP_TARGETS] = { GUEST_SITE_STATIC_KEY, true, "a static branch (jump label)" },
	[EXCEPTION_FIXUPS] = { GUEST_SITE_FIXUP, true, "an exception fixup" },
	[JUMP_SITES] = { GUEST_SITE_STATIC_KEY, false, "a static branch (jump label)" },
	[STATIC_CALL_SITES] = { GUEST_SITE_STATIC_CALL, false, "a static call" },
};

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
	for (size_t i = 0; i < GUEST_SITE_KINDS; i++) {
		guest_sites_clear(&t->sites[i].sites);
		t->sites[i].read = false;
	}
}

int tables_sites(const struct kind_context *ctx, enum guest_site_kind kind, const struct guest_sites **ret,
		 struct guest_sites *own, struct err *e)
{
	struct kind_sites *kept = ctx->tables ? &ctx->tables->sites[kind] : NULL;
	struct guest_sites *to = kept ? &kept->sites : own;
	int r = kept && kept->read ? 0 : guest_sites_read(ctx->guest, kind, to, e);

	if (r < 0)
		return r;
	if (kept)
		kept->read = true;
	*ret = to;
	return 0;
}

static int table_read(const struct kind_context *ctx, const struct table *t, struct kind_table *ret, struct err *e)
{
	__attribute__((cleanup(guest_sites_clear))) struct guest_sites own = { 0 };
	_cleanup_free_ uint64_t *places = NULL;
	const struct guest_sites *sites = NULL;
	int r = tables_sites(ctx, t->kind, &sites, &own, e);

	if (r < 0)
		return r;
	places = malloc((sites->n + 1) * sizeof(*places));
	if (!places)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	for (size_t i = 0; i < sites->n; i++)
		places[i] = t->target ? sites->site[i].target : sites->site[i].at;
	qsort(places, sites->n, sizeof(*places), compare_places);
	*ret = (struct kind_table){ .read = true, .n = sites->n, .places = TAKE_PTR(places) };
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
