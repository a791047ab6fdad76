// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Wants made of input bytes into plan_build(): whatever comes out is sorted, free
 * of overlap, within bounds, and decodes to its boundaries. Input, per want: flags,
 * len, split, present_len, distance to the last want, then len new and present_len
 * present bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "vmm/poke/plan.h"

#define WANTS_MAX 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static size_t take(const uint8_t **data, size_t *size, void *out, size_t cap)
{
	size_t n = cap < *size ? cap : *size;

	memcpy(out, *data, n);
	*data += n;
	*size -= n;
	return n;
}

static bool take_want(const uint8_t **data, size_t *size, uint64_t *gva, struct plan_want *w)
{
	uint8_t head[5];

	if (take(data, size, head, sizeof(head)) < sizeof(head))
		return false;
	*gva += head[4];
	*w = (struct plan_want){ .gva = head[0] & 8 ? UINT64_MAX - head[4] : *gva,
				 .gpa = *gva & 0xffffff,
				 .new_is_code = !(head[0] & 1),
				 .data = (head[0] & 0x41) == 0x40,
				 .has_expected = head[0] & 2,
				 .line = head[0] >> 4,
				 .len = head[1],
				 .split = head[2],
				 .present_len = head[3] };
	memset(w->label, 'x', head[0] & 4 ? sizeof(w->label) - 1 : 3);
	take(data, size, w->new_bytes, head[1] < sizeof(w->new_bytes) ? head[1] : sizeof(w->new_bytes));
	take(data, size, w->present, head[3] < sizeof(w->present) ? head[3] : sizeof(w->present));
	memcpy(w->expected, w->present, sizeof(w->expected));
	if (head[0] & 0x80)
		w->expected[0] ^= 1;
	return true;
}

static void check_site(const struct poke_plan *p, size_t i)
{
	const struct poke_site *s = &p->sites[i];

	check(s->len >= 1 && s->len <= POKE_SITE_LEN_MAX && s->split >= 1 && s->split <= s->len);
	check((s->boundaries & 1) && (s->new_boundaries & 1));
	check(s->len == 64 || (s->boundaries >> s->len == 0 && s->new_boundaries >> s->len == 0));
	check(memcmp(s->old_bytes, s->new_bytes, s->len) != 0);
	check(i == 0 || p->sites[i - 1].gva + p->sites[i - 1].len <= s->gva);
	check(p->needs_quiescence || s->boundaries == 1);
	check(!s->data || (p->mode == POKE_MODE_STOPPED && s->boundaries == 1 && !s->operand));
	check(memchr(s->label, 0, sizeof(s->label)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct plan_want wants[WANTS_MAX];
	struct poke_plan *p = NULL;
	struct err e = { 0 };
	uint64_t gva = 0xffffffff81000000u;
	size_t n = 0;

	while (n < WANTS_MAX && take_want(&data, &size, &gva, &wants[n]))
		n++;
	int r = plan_build(&arch_x86_64, (unsigned)size, wants, n, &p, &e);
	if (r < 0) {
		check(!p && e.error == -r && e.kind != ERR_NONE && e.text[0]);
		return 0;
	}
	check(p->n_sites <= n && !plan_mode_unfit(p, p->mode) && p->why[0]);
	for (size_t i = 0; i < p->n_sites; i++)
		check_site(p, i);
	plan_free(p);
	return 0;
}
