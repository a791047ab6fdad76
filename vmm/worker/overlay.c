// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See overlay.h. Where pieces lie may be somebody else's word: what is not kernel text is shown to
 * its own layer only, or a made-up site could forge page tables and lists for the plans of others.
 */
#include "vmm/worker/overlay.h"

#include <errno.h>
#include <string.h>

void overlay_clear(struct overlay *o)
{
	free(o->pieces);
	*o = (struct overlay){ 0 };
}

static struct overlay_piece *piece_new(struct overlay *o)
{
	if (o->n == o->cap) {
		size_t cap = o->cap ? 2 * o->cap : 64;
		struct overlay_piece *grown = realloc(o->pieces, cap * sizeof(*grown));

		if (!grown)
			return NULL;
		o->pieces = grown;
		o->cap = cap;
	}
	return &o->pieces[o->n++];
}

int overlay_add(struct overlay *o, struct guest *g, const struct poke_site *site, size_t layer, struct err *e)
{
	bool own = site->data || !guest_is_text(g, site->gva, site->len);

	for (size_t at = 0; at < site->len;) {
		uint64_t gpa, left;
		int r = guest_translate(g, site->gva + at, &gpa, &left, e);

		if (r < 0)
			return r;
		struct overlay_piece *p = piece_new(o);
		if (!p)
			return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
		size_t len = left < site->len - at ? (size_t)left : site->len - at;
		*p = (struct overlay_piece){ .gpa = gpa, .len = (uint8_t)len, .layer = layer, .own = own };
		memcpy(p->bytes, site->old_bytes + at, len);
		at += len;
	}
	return 0;
}

static int piece_compare(const void *a, const void *b)
{
	const struct overlay_piece *x = a, *y = b;

	return x->gpa < y->gpa ? -1 : x->gpa > y->gpa;
}

int overlay_close(struct overlay *o, struct err *e)
{
	if (o->n > 1)
		qsort(o->pieces, o->n, sizeof(*o->pieces), piece_compare);
	for (size_t i = 1; i < o->n; i++)
		if (o->pieces[i].gpa - o->pieces[i - 1].gpa < o->pieces[i - 1].len)
			return err_set(e, ERR_REFUSED, EEXIST, "overlap", "two sites share a byte");
	return 0;
}

/* The first piece that ends behind gpa: as none overlap, ends ascend as beginnings do. */
static size_t piece_first(const struct overlay *o, uint64_t gpa)
{
	size_t low = 0, high = o->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (o->pieces[mid].gpa + o->pieces[mid].len > gpa)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

static bool piece_shown(const struct overlay *o, const struct overlay_piece *p)
{
	return p->own ? p->layer == o->layer : p->layer >= o->layer;
}

void overlay_show(const struct overlay *o, uint64_t gpa, void *buf, size_t len)
{
	for (size_t i = piece_first(o, gpa); i < o->n && o->pieces[i].gpa < gpa + len; i++) {
		const struct overlay_piece *p = &o->pieces[i];
		uint64_t from = p->gpa > gpa ? p->gpa : gpa;
		uint64_t to = p->gpa + p->len < gpa + len ? p->gpa + p->len : gpa + len;

		if (piece_shown(o, p))
			memcpy((uint8_t *)buf + (from - gpa), p->bytes + (from - p->gpa), to - from);
	}
}
