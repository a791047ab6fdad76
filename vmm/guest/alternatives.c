// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reads the tables of alternatives.h. The image may be anything: an entry is taken only
 * when its place and its replacement are wholly in the file. The size of an entry
 * is not written anywhere; it is the one for which every entry of the table makes sense.
 */
#include "vmm/guest/alternatives.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/util.h"
#include "vmm/guest/vmlinux.h"

#define FEATURES_MAX   1024 /* NCAPINTS * 32 is 672 in 6.1 */
#define NOT_61	       0x8000u /* ALTINSTR_FLAG_INV, in cpuid itself (up to 6.3) */
#define FLAG_NOT       1u
#define FLAG_CALL      2u
#define PV_ENTRY       16 /* u64 instr, u8 type, u8 len, padding */

static int32_t s32_at(const uint8_t *p)
{
	int32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint16_t u16_at(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* s32 instr, s32 replacement, u16 cpuid, u8 len, u8 replacement len (6.1) */
static void parse_12(const uint8_t *p, struct guest_alternative *a)
{
	a->feature = u16_at(p + 8) & (uint16_t)~NOT_61;
	a->inverted = u16_at(p + 8) & NOT_61;
	a->len = p[10];
	a->replacement_len = p[11];
}

/* ... u16 cpuid, u16 flags, u8 len, u8 replacement len (6.3 and later) */
static void parse_14(const uint8_t *p, struct guest_alternative *a)
{
	a->feature = u16_at(p + 8);
	a->inverted = u16_at(p + 10) & FLAG_NOT;
	a->call = u16_at(p + 10) & FLAG_CALL;
	a->len = p[12];
	a->replacement_len = p[13];
}

static const struct format {
	size_t size;
	void (*parse)(const uint8_t *p, struct guest_alternative *a);
} formats[] = { { 12, parse_12 }, { 14, parse_14 } };

/* True when the entry makes sense. */
static bool entry_parse(const struct vmlinux *v, const struct format *f, const uint8_t *p, uint64_t addr, uint64_t slide,
			struct guest_alternative *ret)
{
	struct guest_alternative a = { 0 };
	uint64_t at = addr + (uint64_t)(int64_t)s32_at(p), replacement = addr + 4 + (uint64_t)(int64_t)s32_at(p + 4);

	f->parse(p, &a);
	a.original = vmlinux_at(v, at, a.len);
	a.replacement = vmlinux_at(v, replacement, a.replacement_len);
	a.at = at + slide;
	a.replacement_at = replacement + slide;
	*ret = a;
	return a.original && a.replacement && a.len > 0 && a.replacement_len <= a.len && a.feature < FEATURES_MAX;
}

/* How many entries, or -EBADMSG when one makes no sense. */
static int table_parse(const struct vmlinux *v, const struct format *f, const struct vmlinux_section *s, uint64_t slide,
		       struct guest_alternative *ret)
{
	size_t n = s->len / f->size;

	if (s->len % f->size)
		return -EBADMSG;
	for (size_t i = 0; i < n; i++)
		if (!entry_parse(v, f, s->bytes + i * f->size, s->addr + i * f->size, slide, &ret[i]))
			return -EBADMSG;
	return (int)n;
}

/* Of one place: in the order of the table, which qsort() keeps when the pointers decide. */
static int by_place(const void *a, const void *b)
{
	const struct guest_alternative *x = a, *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return x->replacement_at < y->replacement_at ? -1 : x->replacement_at > y->replacement_at;
}

/* Entries made by nested macros (6.9 and later) differ in length: the place is as long as the longest (apply_alternatives()). */
static void lengths_join(struct guest_alternative *all, size_t n)
{
	for (size_t i = 0, end; i < n; i = end) {
		uint8_t len = 0;

		for (end = i; end < n && all[end].at == all[i].at; end++)
			len = all[end].len > len ? all[end].len : len;
		for (size_t k = i; k < end; k++)
			all[k].len = len;
	}
}

/* The lists outlive the image, which is a hundred times as long. */
static int bytes_copy(const struct vmlinux *v, uint64_t slide, struct guest_alternatives *all)
{
	size_t used = 0, total = 0;

	for (size_t i = 0; i < all->n; i++)
		total += (size_t)all->entry[i].len + all->entry[i].replacement_len;
	all->bytes = malloc(total + 1);
	if (!all->bytes)
		return -ENOMEM;
	for (size_t i = 0; i < all->n; i++) {
		struct guest_alternative *a = &all->entry[i];
		const uint8_t *original = vmlinux_at(v, a->at - slide, a->len); /* longer now than when it was parsed */

		if (!original)
			return -EBADMSG;
		memcpy(all->bytes + used, original, a->len);
		a->original = all->bytes + used;
		used += a->len;
		memcpy(all->bytes + used, a->replacement, a->replacement_len);
		a->replacement = all->bytes + used;
		used += a->replacement_len;
	}
	return 0;
}

int guest_alternatives_read(const struct vmlinux *v, uint64_t slide, struct guest_alternatives *ret, struct err *e)
{
	struct vmlinux_section s;

	if (vmlinux_section(v, ".altinstructions", &s) < 0)
		return err_set(e, ERR_REFUSED, ENOENT, "kernel-image", "the kernel image has no list of alternatives");
	size_t cap = s.len / formats[0].size + 1;
	if (cap > GUEST_ALTERNATIVES_MAX)
		return err_set(e, ERR_REFUSED, EBADMSG, "kernel-image", "the image's list of alternatives has %zu entries", cap);
	struct guest_alternative *all = calloc(cap, sizeof(*all));
	if (!all)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	int n = -EBADMSG;
	for (size_t i = 0; i < ARRAY_SIZE(formats) && n < 0; i++)
		n = table_parse(v, &formats[i], &s, slide, all);
	struct guest_alternatives list = { .entry = all, .n = n < 0 ? 0 : (size_t)n };
	qsort(all, list.n, sizeof(*all), by_place);
	lengths_join(all, list.n);
	if (n >= 0)
		n = bytes_copy(v, slide, &list);
	if (n < 0) {
		guest_alternatives_clear(&list);
		return n == -ENOMEM ? err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory") :
				      err_set(e, ERR_REFUSED, EBADMSG, "kernel-image",
					      "the image's list of alternatives is in no known format");
	}
	*ret = list;
	return 0;
}

void guest_alternatives_clear(struct guest_alternatives *a)
{
	free(a->entry);
	free(a->bytes);
	*a = (struct guest_alternatives){ 0 };
}

const struct guest_alternative *guest_alternatives_at(const struct guest_alternatives *a, uint64_t at, size_t *ret_count)
{
	size_t low = 0, high = a->n, n = 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (a->entry[middle].at < at)
			low = middle + 1;
		else
			high = middle;
	}
	while (low + n < a->n && a->entry[low + n].at == at)
		n++;
	*ret_count = n;
	return n ? &a->entry[low] : NULL;
}

static int by_call(const void *a, const void *b)
{
	const struct guest_pv_call *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

int guest_pv_calls_read(const struct vmlinux *v, uint64_t slide, struct guest_pv_calls *ret, struct err *e)
{
	struct vmlinux_section s;

	*ret = (struct guest_pv_calls){ 0 };
	if (vmlinux_section(v, ".parainstructions", &s) < 0)
		return 0;
	size_t n = s.len / PV_ENTRY;
	if (s.len % PV_ENTRY || n > GUEST_ALTERNATIVES_MAX)
		return err_set(e, ERR_REFUSED, EBADMSG, "kernel-image", "the image's list of paravirt calls is in no known format");
	struct guest_pv_call *all = calloc(n + 1, sizeof(*all));
	if (!all)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	for (size_t i = 0; i < n; i++) {
		const uint8_t *p = s.bytes + i * PV_ENTRY;
		uint64_t at;

		memcpy(&at, p, sizeof(at));
		all[i] = (struct guest_pv_call){ .at = at + slide, .len = p[9], .offset = (uint16_t)(p[8] * 8u) };
	}
	qsort(all, n, sizeof(*all), by_call);
	*ret = (struct guest_pv_calls){ all, n };
	return 0;
}

void guest_pv_calls_clear(struct guest_pv_calls *c)
{
	free(c->call);
	*c = (struct guest_pv_calls){ 0 };
}
