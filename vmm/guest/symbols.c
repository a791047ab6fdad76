// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The symbol calls of guest.h over the compressed tables. Linear passes on
 * purpose: an index over 154,000 names would cost each worker megabytes, a pass
 * costs two milliseconds. Must never touch guest memory.
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

int guest_symbol_find(const struct guest *g, const char *name, uint64_t *ret_addr, char *ret_type, size_t *ret_count)
{
	const struct kallsyms *k = &g->syms;
	uint64_t first = 0;
	char type = '?', t;
	size_t count = 0;
	bool differ = false;

	for (size_t at = 0, i = 0; i < k->n; i++) {
		if (!kallsyms_named(k, at, name, &t, &at))
			continue;
		uint64_t addr = kallsyms_address(k, i);
		if (count++ == 0) {
			first = addr;
			type = t;
		}
		differ |= addr != first;
	}
	if (ret_count)
		*ret_count = count;
	if (!count)
		return -ENOENT;
	if (differ)
		return -ENOTUNIQ;
	if (ret_addr)
		*ret_addr = first;
	if (ret_type)
		*ret_type = type;
	return 0;
}

/*
 * The table is sorted by address in every kernel built so far, but that is the
 * guest's word: compare all offsets, which is still a fraction of a millisecond.
 * Of several names for one address the first is taken, as the kernel does.
 */
int guest_symbol_at(const struct guest *g, uint64_t addr, struct guest_symbol *ret, uint64_t *ret_size)
{
	const struct kallsyms *k = &g->syms;
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
	if (best == k->n || next == UINT64_MAX)
		return -ENOENT;
	symbol_fill(k, best, kallsyms_offset(k, best), ret);
	if (ret_size)
		*ret_size = next - best_addr;
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
