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
#include <string.h>

#include "vmm/kind/row.h"

#define TABLE_SIZE_MAX (8u << 20)

struct table {
	const char *start, *stop; /* symbols */
	size_t entry, field;	  /* bytes */
	const char *what;
};

/* include/linux/jump_label.h, struct jump_entry; arch/x86/include/asm/extable.h */
static const struct table targets[] = {
	{ "__start___jump_table", "__stop___jump_table", 16, 4, "a static branch (jump label)" },
	{ "__start___ex_table", "__stop___ex_table", 12, 4, "an exception fixup" },
};

/* include/linux/static_call_types.h, struct static_call_site */
static const struct table owned[] = {
	{ "__start___jump_table", "__stop___jump_table", 16, 0, "a static branch (jump label)" },
	{ "__start_static_call_sites", "__stop_static_call_sites", 8, 0, "a static call" },
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

/* Is some entry of the table an address in [start, start + len) that is not allowed? 1 and *ret, 0, or negative. */
static int table_find(const struct kind_context *ctx, const struct table *t, uint64_t start, size_t len,
		      uint64_t allowed, uint64_t *ret, struct err *e)
{
	_cleanup_free_ uint8_t *data = NULL;
	uint64_t base = 0;
	size_t size = 0;
	int r = table_bounds(ctx, t, &base, &size, e);

	if (r < 0 || size == 0)
		return r == -ENOENT ? 0 : r;
	data = malloc(size);
	if (!data)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	r = guest_read(ctx->guest, base, data, size, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < size; i += t->entry) {
		uint64_t addr = base + i + t->field + (uint64_t)(int64_t)get_le32(data + i + t->field);

		if (addr - start >= len || (allowed >> (addr - start) & 1))
			continue;
		*ret = addr;
		return 1;
	}
	return 0;
}

int tables_check_targets(const struct kind_context *ctx, uint64_t start, size_t len, uint64_t allowed, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		uint64_t hit = 0;
		int r = table_find(ctx, &targets[i], start, len, allowed, &hit, e);

		if (r < 0)
			return r;
		if (r > 0)
			return err_set_addr(e, ERR_REFUSED, EBUSY, "jump-into", hit,
					    "%s leads to 0x%" PRIx64
					    ", into the middle of the %zu bytes to be replaced",
					    targets[i].what, hit, len);
	}
	return 0;
}

int tables_check_owned(const struct kind_context *ctx, uint64_t start, size_t len, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(owned); i++) {
		uint64_t hit = 0;
		int r = table_find(ctx, &owned[i], start, len, 0, &hit, e);

		if (r < 0)
			return r;
		if (r > 0)
			return err_set_addr(
				e, ERR_REFUSED, EBUSY, "self-patched", hit,
				"0x%" PRIx64
				", among the %zu bytes to be replaced, is %s: the guest rewrites it and would stop on other bytes",
				hit, len, owned[i].what);
	}
	return 0;
}
