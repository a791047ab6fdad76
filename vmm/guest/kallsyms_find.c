// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Finds the kallsyms tables in a kernel image nobody gave us symbols for. The
 * token table betrays itself: the digits are never compressed away, so it holds
 * "0\0" "1\0" ... "9\0". Everything else hangs on it:
 *   6.1: offsets, relative_base, num_syms, names, markers, [seqs,] token_table, token_index
 *   6.4: num_syms, names, markers, token_table, token_index, offsets, relative_base, seqs
 * each 8-aligned (6.1.0 had no seqs). All bytes are the guest's: a candidate must
 * decode from end to end, agree with every marker, end exactly where the next table
 * begins and put _text (arm64: _stext) where the page tables put it. Work is bounded by DECODE_MAX.
 */
#include "vmm/guest/kallsyms.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/guest/image.h"
#include "vmm/guest/scratch.h"
#include "vmm/guest/walk.h"

#define CHUNK	      (1u << 20)
#define SEARCH_MAX    (256ull << 20) /* bytes of image looked at; a Debian kernel has 40 MiB */
#define DECODE_MAX    (64u << 20)    /* symbols decoded in all candidates together */
#define SYMBOLS_MIN   16	     /* below that it is no kernel */
#define HITS_MAX      64	     /* digits found; 1 to 3 in a real kernel */
#define DIGITS_BEFORE 1024	     /* the 48 tokens before "0" take less; real ones about 200 bytes */

static const char digits[] = "0\0001\0002\0003\0004\0005\0006\0007\0008\0009"; /* and the final NUL */

struct search {
	struct kallsyms *k;
	struct walk *w;
	const struct image *image;
	uint64_t looked, decoded, hits;
};

static uint64_t align8(uint64_t v)
{
	return (v + 7) & ~7ull;
}

/* Does a token table start at table[0]? The index behind it must name every string's offset. */
static bool tokens_accept(struct kallsyms *k, const uint8_t *table, size_t len, uint64_t gva, uint64_t *ret_end)
{
	uint16_t index[256];
	size_t at = 0;

	if (len > sizeof(k->tokens))
		len = sizeof(k->tokens);
	for (size_t i = 0; i < 256; i++) {
		const uint8_t *end = memchr(table + at, 0, len - at);
		if (!end)
			return false;
		index[i] = (uint16_t)at;
		at = (size_t)(end - table) + 1;
	}
	size_t stored = (size_t)(align8(gva + at) - gva);
	if (stored + sizeof(index) > len || memcmp(table + stored, index, sizeof(index)) != 0)
		return false;
	memcpy(k->tokens, table, at);
	memcpy(k->token_index, index, sizeof(index));
	*ret_end = gva + stored + sizeof(index);
	return true;
}

/* "0" is token 48: go back over 48 strings, to an 8-aligned address. */
static bool tokens_load(struct search *s, const struct image_run *run, uint64_t hit, uint64_t *ret_table,
			uint64_t *ret_end)
{
	_cleanup_free_ uint8_t *buf = malloc(DIGITS_BEFORE + KALLSYMS_TOKENS_MAX);
	uint64_t from = hit - run->start > DIGITS_BEFORE ? (hit - DIGITS_BEFORE + 7) & ~7ull : run->start;
	size_t len = DIGITS_BEFORE + KALLSYMS_TOKENS_MAX;
	size_t at = (size_t)(hit - from);

	if (len > run->end - from)
		len = (size_t)(run->end - from);
	if (!buf || walk_read(s->w, from, buf, len, NULL) < 0)
		return false;
	for (int strings = 0; strings < 48; strings++) {
		if (at == 0 || buf[at - 1] != 0)
			return false;
		for (at--; at > 0 && buf[at - 1] != 0;)
			at--;
	}
	/* What lies before string 0 need not be a NUL, so it may begin later than it seems. */
	for (uint64_t start = align8(from + at); start < hit; start += 8)
		if (tokens_accept(s->k, buf + (start - from), len - (size_t)(start - from), start, ret_end)) {
			*ret_table = start;
			return true;
		}
	return false;
}

/* Symbols begin with a type letter: random bytes fail here within a few symbols. */
static bool starts_with_type(const struct kallsyms *k, uint8_t first)
{
	char c = (char)(k->tokens[k->token_index[first]] | 0x20);

	return c >= 'a' && c <= 'z';
}

/* Decodes n names; remembers where every 256th begins. False as soon as it makes no sense. */
static bool names_decode(struct search *s, const uint8_t *names, size_t limit, size_t n, uint32_t *markers,
			 size_t *ret_len)
{
	size_t at = 0;

	for (size_t i = 0; i < n; i++) {
		const uint8_t *tokens;
		if (i % KALLSYMS_STRIDE == 0)
			markers[i / KALLSYMS_STRIDE] = (uint32_t)at;
		if (s->decoded++ > DECODE_MAX || !kallsyms_entry(names, limit, at, &tokens, &at) ||
		    !starts_with_type(s->k, *tokens))
			return false;
	}
	*ret_len = at;
	return true;
}

/* What lies before token_table: names, and what follows them must end exactly there. */
struct names_place {
	uint64_t num_syms; /* address of the count */
	bool seqs;	   /* seqs_of_names lies between markers and token_table */
};

static bool names_accept(struct search *s, const struct scratch *win, uint64_t win_gva, size_t pos, size_t n,
			 struct names_place *ret)
{
	struct kallsyms *k = s->k;
	size_t n_markers = (n + KALLSYMS_STRIDE - 1) / KALLSYMS_STRIDE, len;
	size_t first = pos + 8, end = win->len;
	_cleanup_free_ uint32_t *markers = malloc(n_markers * sizeof(*markers));

	if (!markers || !names_decode(s, win->p + first, end - first, n, markers, &len))
		return false;
	size_t stored = (size_t)align8(first + len);
	if (stored > end || end - stored < n_markers * 4 || memcmp(win->p + stored, markers, n_markers * 4) != 0)
		return false;
	size_t after = (size_t)align8(stored + n_markers * 4);
	bool seqs = after != end;
	if (seqs && align8(after + 3 * n) != end)
		return false;
	k->names = malloc(len);
	if (!k->names)
		return false;
	memcpy(k->names, win->p + first, len);
	k->names_len = len;
	k->markers = TAKE_PTR(markers);
	k->n = n;
	*ret = (struct names_place){ .num_syms = win_gva + pos, .seqs = seqs };
	return true;
}

/* Scans back from token_table for a count whose names lead exactly up to it. */
static bool names_load(struct search *s, const struct image_run *run, uint64_t table, struct names_place *ret)
{
	uint64_t len = table - run->start < KALLSYMS_NAMES_MAX ? table - run->start : KALLSYMS_NAMES_MAX;
	_cleanup_scratch_ struct scratch win = { 0 };

	len &= ~7ull;
	if (len < 16 || !scratch_alloc(&win, (size_t)len))
		return false;
	if (walk_read(s->w, table - len, win.p, win.len, NULL) < 0)
		return false;
	for (size_t pos = win.len - 8; pos >= 8; pos -= 8) {
		uint32_t count[2]; /* num_syms and its padding */
		memcpy(count, win.p + pos, sizeof(count));
		if (count[1] == 0 && count[0] >= SYMBOLS_MIN && count[0] <= KALLSYMS_MAX &&
		    count[0] <= (win.len - pos) / 2 && names_accept(s, &win, table - len, pos, count[0], ret))
			return true;
	}
	return false;
}

/* Offsets and relative base at these places are right when they put _text at the image's base. */
static bool offsets_load(struct search *s, uint64_t offsets, uint64_t base, ptrdiff_t text)
{
	struct kallsyms *k = s->k;
	size_t len = k->n * sizeof(*k->offsets);

	if (!image_holds(&s->image->window, offsets) || walk_read_u64(s->w, base, &k->relative_base, NULL) < 0 ||
	    !image_holds(&s->image->window, k->relative_base) || walk_read(s->w, offsets, k->offsets, len, NULL) < 0)
		return false;
	k->absolute_percpu = false;
	for (size_t i = 0; i < k->n; i++)
		k->absolute_percpu |= k->offsets[i] < 0;
	return kallsyms_address(k, (size_t)text) == s->image->base;
}

static bool offsets_find(struct search *s, const struct names_place *names, uint64_t tokens_end)
{
	struct kallsyms *k = s->k;
	uint64_t size = align8(k->n * sizeof(*k->offsets));
	ptrdiff_t text = kallsyms_index(k, s->image->base_symbol);

	k->offsets = malloc(k->n * sizeof(*k->offsets));
	if (!k->offsets || text < 0)
		return false;
	k->layout = names->seqs ? "6.1" : "6.1 without seqs";
	if (offsets_load(s, names->num_syms - 8 - size, names->num_syms - 8, text))
		return true;
	k->layout = "6.4+";
	return !names->seqs && offsets_load(s, align8(tokens_end), align8(tokens_end) + size, text);
}

/* A place that looks like the digits of a token table. */
static bool hit_accept(struct search *s, const struct image_run *run, uint64_t hit)
{
	struct names_place names;
	uint64_t table, end;

	if (tokens_load(s, run, hit, &table, &end) && names_load(s, run, table, &names) && offsets_find(s, &names, end)) {
		kallsyms_order(s->k);
		return true;
	}
	kallsyms_done(s->k);
	return false;
}

/* 1 found, 0 not in this run. A run that cannot be read is skipped: another may hold the tables. */
static int run_search(struct search *s, const struct image_run *run, uint8_t *chunk)
{
	const size_t need = sizeof(digits);

	for (uint64_t gva = run->start; gva < run->end && s->looked < SEARCH_MAX && s->hits < HITS_MAX; gva += CHUNK) {
		size_t len = CHUNK + need - 1; /* a hit may cross into the next chunk */
		if (len > run->end - gva)
			len = (size_t)(run->end - gva);
		s->looked += len;
		if (walk_read(s->w, gva, chunk, len, NULL) < 0)
			return 0;
		for (uint8_t *p = chunk; (p = memmem(p, len - (size_t)(p - chunk), digits, need)); p++)
			if (s->hits++ < HITS_MAX && hit_accept(s, run, gva + (uint64_t)(p - chunk)))
				return 1;
	}
	return 0;
}

/* The tables are read-only data; while the kernel boots they are not protected yet. */
static bool run_in_pass(const struct image_run *run, int pass)
{
	int kind = run->exec ? 2 : run->write ? 1 : 0;

	return kind == pass;
}

int kallsyms_find(struct kallsyms *k, struct walk *w, const struct image *image, struct err *e)
{
	struct search s = { .k = k, .w = w, .image = image };
	_cleanup_scratch_ struct scratch chunk = { 0 };

	*k = (struct kallsyms){ 0 };
	if (!scratch_alloc(&chunk, CHUNK + sizeof(digits)))
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	for (int pass = 0; pass < 3; pass++)
		for (size_t i = 0; i < image->n_runs; i++)
			if (run_in_pass(&image->runs[i], pass) && run_search(&s, &image->runs[i], chunk.p))
				return 0;
	/* Reads failed silently above: when memory is gone altogether, say that instead. */
	uint64_t probe;
	walk_flush(w);
	int r = walk_read_u64(w, image->base, &probe, e);
	if (r < 0)
		return r;
	return err_set_addr(e, ERR_FAILED, ENOENT, "no-kallsyms", image->base,
			    "no symbol table was found in the kernel at 0x%llx: it is still booting, has no "
			    "CONFIG_KALLSYMS_ALL, or has a layout that is not known here",
			    (unsigned long long)image->base);
}
