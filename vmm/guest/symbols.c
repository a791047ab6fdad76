// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The symbol calls of guest.h over the compressed tables. Names are looked up in
 * linear passes unless an index was asked for: over 154,000 names it would cost
 * each worker megabytes, a pass costs two milliseconds. Must never touch guest
 * memory.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/guest/internal.h"

void symbols_resolve(const struct kallsyms *k, struct symbol_want *wants, size_t n)
{
	char name[GUEST_SYMBOL_MAX], type;

	for (size_t at = 0, i = 0; i < k->n; i++) {
		at = kallsyms_expand(k, at, &type, name, sizeof(name));
		for (size_t j = 0; j < n; j++)
			if (name[0] == wants[j].name[0] && !wants[j].found && strcmp(name, wants[j].name) == 0) {
				wants[j].found = true;
				wants[j].addr = kallsyms_address(k, i);
			}
	}
}

static size_t symbol_fill(const struct kallsyms *k, size_t i, size_t at, struct guest_symbol *ret)
{
	ret->addr = kallsyms_address(k, i);
	return kallsyms_expand(k, at, &ret->type, ret->name, sizeof(ret->name));
}

int guest_symbol_get(const struct guest *g, size_t i, struct guest_symbol *ret)
{
	if (i >= g->syms.n)
		return -ERANGE;
	symbol_fill(&g->syms, i, kallsyms_offset(&g->syms, i), ret);
	return 0;
}

int guest_symbol_seek(const struct guest *g, size_t i, struct guest_symbol_cursor *c)
{
	if (i >= g->syms.n)
		return -ERANGE;
	*c = (struct guest_symbol_cursor){ .index = i, .offset = kallsyms_offset(&g->syms, i) };
	return 0;
}

int guest_symbol_next(const struct guest *g, struct guest_symbol_cursor *c, struct guest_symbol *ret)
{
	if (c->index >= g->syms.n)
		return 0;
	c->offset = symbol_fill(&g->syms, c->index, c->offset, ret);
	c->index++;
	return 1;
}

void guest_names_index(struct guest *g)
{
	if (!g->names.heads)
		names_index_make(&g->names, &g->syms);
}

void guest_names_forget(struct guest *g)
{
	names_index_drop(&g->names);
}

/* What is known of a name so far. */
struct found {
	size_t count, first;
	uint64_t addr;
	bool differ;
	char type;
};

/* Symbols may come in any order; the one that counts is the first of the table. */
static void found_add(const struct kallsyms *k, struct found *f, size_t i, char type)
{
	uint64_t addr = kallsyms_address(k, i);

	f->differ |= f->count && addr != f->addr;
	if (f->count++ == 0 || i < f->first) {
		f->first = i;
		f->addr = addr;
		f->type = type;
	}
}

/* Negative when the index cannot tell. */
static int find_indexed(const struct guest *g, const char *name, struct found *f)
{
	struct names_cursor c = { 0 };
	size_t i, next;
	char type;
	int r;

	while ((r = names_index_next(&g->names, &c, name, &i)) > 0)
		if (kallsyms_named(&g->syms, kallsyms_offset(&g->syms, i), name, &type, &next))
			found_add(&g->syms, f, i, type);
	return r;
}

static void find_all(const struct kallsyms *k, const char *name, struct found *f)
{
	char type;

	for (size_t at = 0, i = 0; i < k->n; i++)
		if (kallsyms_named(k, at, name, &type, &at))
			found_add(k, f, i, type);
}

static void find_derived(const struct guest *g, const char *name, struct found *f)
{
	for (size_t i = 0; i < g->n_derived; i++)
		if (strcmp(g->derived[i].name, name) == 0)
			*f = (struct found){ .count = 1, .addr = g->derived[i].addr, .type = 'r' };
}

int guest_symbol_find(const struct guest *g, const char *name, uint64_t *ret_addr, char *ret_type, size_t *ret_count)
{
	struct found f = { 0 };

	if (find_indexed(g, name, &f) < 0) {
		f = (struct found){ 0 };
		find_all(&g->syms, name, &f);
	}
	if (!f.count)
		find_derived(g, name, &f);
	if (ret_count)
		*ret_count = f.count;
	if (!f.count)
		return -ENOENT;
	if (f.differ)
		return -ENOTUNIQ;
	if (ret_addr)
		*ret_addr = f.addr;
	if (ret_type)
		*ret_type = f.type;
	return 0;
}

/* Index of the last symbol at or before addr (the first of equals) and the next higher address; false: none. */
static bool covering_sorted(const struct kallsyms *k, uint64_t addr, size_t *ret, uint64_t *ret_next)
{
	size_t low = k->sorted, high = k->sorted_end;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (kallsyms_address(k, middle) > addr)
			high = middle;
		else
			low = middle + 1;
	}
	if (low == k->sorted || low == k->sorted_end)
		return false;
	*ret_next = kallsyms_address(k, low);
	for (*ret = low - 1; *ret > k->sorted && kallsyms_address(k, *ret - 1) == kallsyms_address(k, low - 1);)
		--*ret;
	return true;
}

static bool covering_any(const struct kallsyms *k, uint64_t addr, size_t *ret, uint64_t *ret_next)
{
	uint64_t best_addr = 0, next = UINT64_MAX;
	size_t best = k->n;

	for (size_t i = 0; i < k->n; i++) {
		if (!kallsyms_is_address(k, i))
			continue;
		uint64_t a = kallsyms_address(k, i);
		if (a <= addr && a > best_addr) {
			best_addr = a;
			best = i;
		} else if (a > addr && a < next) {
			next = a;
		}
	}
	*ret = best;
	*ret_next = next;
	return best < k->n && next < UINT64_MAX;
}

/* Of several names for one address the first is taken, as the kernel does. */
int guest_symbol_at(const struct guest *g, uint64_t addr, struct guest_symbol *ret, uint64_t *ret_size)
{
	const struct kallsyms *k = &g->syms;
	uint64_t next;
	size_t i;

	bool found = k->sorted_end ? covering_sorted(k, addr, &i, &next) : covering_any(k, addr, &i, &next);
	if (!found)
		return -ENOENT;
	symbol_fill(k, i, kallsyms_offset(k, i), ret);
	if (ret_size)
		*ret_size = next - ret->addr;
	return 0;
}

void guest_format_addr(const struct guest *g, uint64_t addr, char *buf, size_t cap)
{
	struct guest_symbol s;

	if (guest_symbol_at(g, addr, &s, NULL) < 0)
		snprintf(buf, cap, "0x%llx", (unsigned long long)addr);
	else if (s.addr == addr)
		snprintf(buf, cap, "%s", s.name);
	else
		snprintf(buf, cap, "%s+0x%llx", s.name, (unsigned long long)(addr - s.addr));
}

bool guest_is_text(const struct guest *g, uint64_t gva, size_t len)
{
	const struct guest_facts *f = &g->facts;

	if (gva < f->text_start || gva >= f->text_end || len > f->text_end - gva)
		return false;
	return gva + len <= f->inittext_start || gva >= f->inittext_end;
}
