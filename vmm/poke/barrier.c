// SPDX-License-Identifier: GPL-2.0-or-later
/* See barrier.h. Must never be skipped between two stages, whatever the caller believes of the vCPUs. */
#include "vmm/poke/barrier.h"

#include <errno.h>

#include "vmm/fault.h"

#define PAGE_MASK (~UINT64_C(4095))

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static size_t unique(uint64_t *v, size_t n)
{
	size_t kept = 0;

	qsort(v, n, sizeof(*v), by_value);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || v[i] != v[kept - 1])
			v[kept++] = v[i];
	return kept;
}

int poke_barrier_prepare(struct poke_tx *t, struct err *e)
{
	size_t n = 0;

	t->pages = calloc(4 * t->plan->n_sites, sizeof(*t->pages));
	if (!t->pages)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	for (size_t i = 0; i < t->plan->n_sites; i++) {
		const struct poke_site *site = &t->plan->sites[i];

		t->pages[n++] = site->gpa & PAGE_MASK;
		t->pages[n++] = (site->gpa + site->split - 1u) & PAGE_MASK;
		if (site->split == site->len)
			continue;
		t->pages[n++] = site->gpa_rest & PAGE_MASK;
		t->pages[n++] = (site->gpa_rest + (site->len - site->split) - 1u) & PAGE_MASK;
	}
	t->n_pages = unique(t->pages, n);
	return 0;
}

/* When within the barrier a vCPU came out is not known; it was sent for at the beginning. */
static void show_kicks(struct poke_tx *t, uint64_t vcpus, uint64_t start_us)
{
	for (int i = 0; vcpus >> i && i < 64; i++)
		if (vcpus >> i & 1)
			timeline_add(t->log->timeline, TIMELINE_KICK, i, start_us, start_us, 0, NULL);
}

void poke_barrier_count(struct poke_tx *t, const struct backend_barrier *done, enum timeline_kind kind,
			uint64_t start_us, const char *text)
{
	poke_tx_span(t, kind, start_us, text);
	if (t->log->timeline)
		show_kicks(t, done->kicked_vcpus, start_us);
	t->stats.barriers++;
	t->stats.kicked += done->kicked;
	t->stats.forced_exits += done->kicked;
	t->stats.already_out += done->already_out;
	t->stats.waited_us += done->waited_us;
}

int poke_barrier(struct poke_tx *t, struct err *e)
{
	struct backend_barrier done = { 0 };
	uint64_t start = now_us();
	int r = t->backend->ops->live->barrier(t->backend, t->pages, t->n_pages, &done, e);

	if (r < 0)
		return r;
	poke_barrier_count(t, &done, TIMELINE_BARRIER, start, NULL);
	fault_point("poke-barrier");
	return 0;
}
