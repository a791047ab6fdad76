// SPDX-License-Identifier: GPL-2.0-or-later
/* Sorted ranges; see ranges.h. Hundreds of thousands of words are tested while a VM is paused. */
#include "vmm/guest/ranges.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/guest/guest.h"

static int by_start(const void *a, const void *b)
{
	const struct ranges_item *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

/* Ranges that overlap become one, so that a search can stop at the last start below a word. */
static void merge(struct ranges *r)
{
	size_t kept = 0;

	for (size_t i = 0; i < r->n; i++) {
		struct ranges_item *last = kept ? &r->item[kept - 1] : NULL;
		if (last && r->item[i].start < last->end)
			last->end = r->item[i].end > last->end ? r->item[i].end : last->end;
		else
			r->item[kept++] = r->item[i];
	}
	r->n = kept;
}

int ranges_build(struct ranges *r, const struct guest_range *ranges, size_t n, const uint64_t *hiders, size_t n_hiders,
		 struct err *e)
{
	*r = (struct ranges){ .item = calloc(n + n_hiders + 1, sizeof(*r->item)) };
	if (!r->item)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	for (size_t i = 0; i < n; i++)
		if (ranges[i].start < ranges[i].end)
			r->item[r->n++] = (struct ranges_item){ ranges[i].start, ranges[i].end, i };
	if (r->n) /* nothing to protect: nothing can be hidden either */
		for (size_t i = 0; i < n_hiders; i++)
			r->item[r->n++] = (struct ranges_item){ hiders[i] - 1, hiders[i] + 1, 0 };
	qsort(r->item, r->n, sizeof(*r->item), by_start);
	merge(r);
	return 0;
}

void ranges_done(struct ranges *r)
{
	free(r->item);
	r->item = NULL;
	r->n = 0;
}

bool ranges_hit(const struct ranges *r, uint64_t word, size_t *ret_index)
{
	size_t lo = 0, hi = r->n;

	if (!hi || word <= r->item[0].start)
		return false;
	while (lo < hi) { /* lo: how many ranges start below word */
		size_t mid = lo + (hi - lo) / 2;
		if (r->item[mid].start < word)
			lo = mid + 1;
		else
			hi = mid;
	}
	*ret_index = r->item[lo - 1].index;
	return word < r->item[lo - 1].end;
}
