// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Long runs of int3 in core kernel text; see padding.h. Why nobody executes them: a
 * kernel that did would have died of it. An int3 is survived where somebody has claimed
 * its address (kprobes, text_poke: exc_int3() in arch/x86/kernel/traps.c), and they claim
 * the first byte of an instruction, of which there is none in a run. The one thing that
 * may lead there is a function that was called as one that does not return and does; it
 * falls on the margin, as before. Why nobody writes them after boot: alternatives,
 * jump labels, static calls and ftrace write to the sites in their tables, each an
 * instruction of some function; the padding before functions that call thunks and FineIBT
 * use is NOPs, and part of the section. Must never offer a byte that a symbol stands on.
 */
#include "vmm/guest/padding.h"

#include <errno.h>

#include "vmm/guest/internal.h"

#define PAGE	  4096u
#define SLOT_MASK UINT64_C(15)
#define LOOKS_MAX 256 /* runs that are looked at closer: a guest could be made of runs that do not do */

struct search {
	struct guest *g;
	uint64_t start; /* of the run that goes on; 0: none */
	size_t need, found;
	struct padding_run *ret;
	size_t n, cap, looks;
};

/* Markers of the linker script ("__lock_text_end") stand on padding: what follows the last one counts. */
static void run_end(struct search *s, uint64_t end)
{
	uint64_t start = s->start;
	struct guest_symbol symbol;

	s->start = 0;
	if (!start || end - start < PADDING_RUN_MIN || s->looks == LOOKS_MAX)
		return;
	s->looks++;
	if (guest_symbol_at(s->g, end - 1, &symbol, NULL) < 0)
		return;
	if (symbol.addr > start)
		start = symbol.addr + 1;
	start = (start + PADDING_MARGIN + SLOT_MASK) & ~SLOT_MASK;
	end = (end - PADDING_MARGIN) & ~SLOT_MASK;
	if (end <= start || end - start < PADDING_RUN_MIN - 4 * PADDING_MARGIN || s->n == s->cap ||
	    !guest_is_text(s->g, start, end - start))
		return;
	s->ret[s->n++] = (struct padding_run){ start, end };
	s->found += end - start;
}

static void page_look(struct search *s, uint64_t gva, const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] != PADDING_BYTE)
			run_end(s, gva + i);
		else if (!s->start)
			s->start = gva + i;
	}
}

/* A run need not be followed to its end, which may be a megabyte away: what there is of it may do. */
static bool enough(struct search *s, uint64_t at)
{
	if (s->start && s->found < s->need && at - s->start >= s->need - s->found + PADDING_RUN_MIN)
		run_end(s, at);
	return s->found >= s->need || s->n == s->cap || s->looks == LOOKS_MAX;
}

/* Looks at what lies at gva, up to the end of its page; a hole and what may not be executed is passed at once. */
static int step(struct search *s, uint64_t gva, uint64_t end, uint64_t *ret_len, struct err *e)
{
	uint64_t len = PAGE - (gva & (PAGE - 1));
	struct walk_page page = { 0 };
	uint8_t buf[PAGE];
	struct err why = { 0 };
	int r = walk_translate(&s->g->walk, gva, &page, &why);

	if (len > end - gva)
		len = end - gva;
	if ((r == -EFAULT || (r >= 0 && !page.exec)) && page.left > len)
		len = page.left;
	if (r >= 0)
		r = page.exec ? walk_read(&s->g->walk, gva, buf, (size_t)len, &why) : -EFAULT;
	if (r >= 0)
		page_look(s, gva, buf, (size_t)len);
	else if (r == -EFAULT)
		run_end(s, gva);
	*ret_len = len;
	if (r < 0 && r != -EFAULT && e)
		*e = why;
	return r == -EFAULT ? 0 : r;
}

int guest_padding_find(struct guest *g, size_t need, struct padding_run *ret, size_t cap, struct err *e)
{
	struct search s = { .g = g, .need = need, .ret = ret, .cap = cap };
	uint64_t at = g->facts.text_start, end = g->facts.text_end, len = 0;

	walk_flush(&g->walk);
	if (end - at > PADDING_TEXT_MAX)
		end = at + PADDING_TEXT_MAX;
	for (; at < end && !enough(&s, at); at = end - at > len ? at + len : end) {
		int r = step(&s, at, end, &len, e);

		if (r < 0)
			return r;
	}
	if (at >= end)
		run_end(&s, end);
	return (int)s.n;
}
