// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reads the tables of sites.h. Entries are distances from where they stand, so a
 * table is read whole and turned into addresses. Hostile input: sizes are capped, an
 * entry may say anything. Must never touch what an entry points to: whoever uses
 * an address checks it.
 */
#include "vmm/guest/sites.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/guest/fentry.h"
#include "vmm/guest/guest.h"
#include "vmm/guest/modules.h"

#define TABLE_SIZE_MAX (8u << 20)

struct table {
	const char *name;
	const char *start, *stop; /* symbols */
	size_t entry;		  /* bytes */
	struct guest_site (*parse)(const uint8_t *p, uint64_t at);
};

static uint64_t distance32(const uint8_t *p)
{
	uint32_t v = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;

	return (uint64_t)(int64_t)(int32_t)v;
}

static uint64_t distance64(const uint8_t *p)
{
	return (distance32(p) & UINT32_MAX) | distance32(p + 4) << 32;
}

/* s32 code, s32 target, s64 key. Bits 0 and 1 of the distance are flags, not of the sum. */
static struct guest_site parse_key(const uint8_t *p, uint64_t at)
{
	uint64_t key = distance64(p + 8);

	return (struct guest_site){ .at = at + distance32(p),
				    .target = at + 4 + distance32(p + 4),
				    .key = at + 8 + (key & ~UINT64_C(3)),
				    .inverted = key & 1,
				    .init = key & 2 };
}

/* s32 addr, s32 key. Here the flags are bits of the sum. */
static struct guest_site parse_call(const uint8_t *p, uint64_t at)
{
	uint64_t key = at + 4 + distance32(p + 4);

	return (struct guest_site){
		.at = at + distance32(p), .key = key & ~UINT64_C(3), .tail = key & 1, .init = key & 2
	};
}

/* s32 insn, s32 fixup, s32 data */
static struct guest_site parse_fixup(const uint8_t *p, uint64_t at)
{
	return (struct guest_site){ .at = at + distance32(p), .target = at + 4 + distance32(p + 4) };
}

static const struct table tables[GUEST_SITE_KINDS] = {
	[GUEST_SITE_STATIC_KEY] = { "static_key", "__start___jump_table", "__stop___jump_table", 16, parse_key },
	[GUEST_SITE_STATIC_CALL] = { "static_call", "__start_static_call_sites", "__stop_static_call_sites", 8,
				     parse_call },
	[GUEST_SITE_FENTRY] = { .name = "fentry" }, /* fentry.c */
	[GUEST_SITE_FIXUP] = { "fixup", "__start___ex_table", "__stop___ex_table", 12, parse_fixup },
};

const char *guest_site_kind_name(enum guest_site_kind kind)
{
	return (unsigned)kind < GUEST_SITE_KINDS ? tables[kind].name : "unknown";
}

int guest_site_kind_from_name(const char *name)
{
	for (int i = 0; name && i < GUEST_SITE_KINDS; i++)
		if (strcmp(tables[i].name, name) == 0)
			return i;
	return -EINVAL;
}

void guest_sites_clear(struct guest_sites *s)
{
	free(s->site);
	*s = (struct guest_sites){ 0 };
}

/* -ENOENT: no such table. */
static int table_bounds(struct guest *g, const struct table *t, uint64_t *ret_start, size_t *ret_size, struct err *e)
{
	uint64_t start, stop;

	if (guest_symbol_find(g, t->start, &start, NULL, NULL) < 0 ||
	    guest_symbol_find(g, t->stop, &stop, NULL, NULL) < 0)
		return -ENOENT;
	if (stop < start || stop - start > TABLE_SIZE_MAX)
		return err_set_addr(e, ERR_REFUSED, EBADMSG, "self-patched", start,
				    "the guest's list %s cannot be trusted: it would be %" PRIu64 " bytes long",
				    t->start, stop - start);
	*ret_start = start;
	*ret_size = (size_t)(stop - start) / t->entry * t->entry;
	return 0;
}

/* size bytes of entries at base, behind the sites that are there already. */
static int entries_add(struct guest *g, const struct table *t, uint64_t base, size_t size, struct guest_sites *s,
		       struct err *e)
{
	_cleanup_free_ uint8_t *data = malloc(size + 1);
	size_t n = size / t->entry;
	struct guest_site *grown = reallocarray(s->site, s->n + n + 1, sizeof(*grown));

	if (grown)
		s->site = grown;
	if (!data || !grown)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	int r = size ? guest_read(g, base, data, size, e) : 0;
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		s->site[s->n++] = t->parse(data + i * t->entry, base + i * t->entry);
	return 0;
}

/* One module's part of a list. What is not in its text is of its start, and gone. */
static int module_add(struct guest *g, enum guest_site_kind kind, const struct guest_modules *m,
		      const struct guest_module *module, struct guest_sites *s, struct err *e)
{
	uint64_t base = kind == GUEST_SITE_STATIC_KEY ? module->keys : module->calls;
	uint64_t n = kind == GUEST_SITE_STATIC_KEY ? module->n_keys : module->n_calls;
	size_t first = s->n;

	if (n == 0)
		return 0;
	if (n > GUEST_SITES_MAX || s->n + n > GUEST_SITES_MAX)
		return err_set_addr(e, ERR_REFUSED, EBADMSG, "modules", base, "a module's list of sites cannot be one");
	int r = entries_add(g, &tables[kind], base, (size_t)n * tables[kind].entry, s, e);
	for (size_t i = first; r >= 0 && i < s->n; i++) {
		s->site[i].module = !s->site[i].init && guest_modules_hold(m, s->site[i].at, 1);
		s->site[i].init = !s->site[i].module;
	}
	return r;
}

/* Fixups of modules are not asked for: nothing of ours lies in a module's text but what it rewrites itself. */
static int modules_add(struct guest *g, enum guest_site_kind kind, struct guest_sites *s, struct err *e)
{
	__attribute__((cleanup(guest_modules_clear))) struct guest_modules m = { 0 };
	size_t core = s->n;
	int r = kind == GUEST_SITE_FIXUP ? 0 : guest_modules_read(g, &m, e);

	for (size_t i = 0; r >= 0 && i < m.n; i++)
		r = module_add(g, kind, &m, &m.module[i], s, e);
	if (r < 0)
		s->n = core;
	else if (m.moving)
		r = err_set(e, ERR_REFUSED, EBUSY, "modules", "a module is being loaded or unloaded");
	return r;
}

static int by_place(const void *a, const void *b)
{
	const struct guest_site *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

static int tables_read(struct guest *g, enum guest_site_kind kind, struct guest_sites *s, struct err *e)
{
	struct err why = { 0 };
	uint64_t base = 0;
	size_t size = 0;
	int r = table_bounds(g, &tables[kind], &base, &size, e);

	if (r < 0 && r != -ENOENT)
		return r;
	r = entries_add(g, &tables[kind], base, size, s, e);
	if (r < 0)
		return r;
	r = modules_add(g, kind, s, &why);
	if (r == -ENOMEM)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	s->whole = r >= 0;
	if (r < 0)
		snprintf(s->modules_why, sizeof(s->modules_why), "%.127s", why.text);
	return 0;
}

int guest_sites_read(struct guest *g, enum guest_site_kind kind, struct guest_sites *ret, struct err *e)
{
	__attribute__((cleanup(guest_sites_clear))) struct guest_sites s = { 0 };
	int r = kind == GUEST_SITE_FENTRY ? guest_fentry_read(g, &s, e) : tables_read(g, kind, &s, e);

	if (r < 0)
		return r;
	s.whole |= kind == GUEST_SITE_FENTRY;
	if (s.n)
		qsort(s.site, s.n, sizeof(*s.site), by_place);
	*ret = s;
	s = (struct guest_sites){ 0 };
	return 0;
}

size_t guest_sites_from(const struct guest_sites *s, uint64_t addr)
{
	size_t low = 0, high = s->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (s->site[middle].at < addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
