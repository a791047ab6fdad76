// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Copies of instructions that cannot be done by hand, in places of the guest's text
 * that it never executes: a vCPU at a trap is stepped through the copy instead. Each
 * copy stays what it is from before the first trap to after the last vCPU, so any
 * number of vCPUs may be in it at once. Must never write to a place that does not
 * hold padding, and puts back what it found.
 */
#include <errno.h>
#include <string.h>

#include "vmm/fault.h"
#include "vmm/poke/barrier.h"
#include "vmm/poke/plan.h"

/* Where in a site an instruction lies that may have to be stepped. */
struct place {
	uint8_t offset;
	bool is_new;
};

static size_t place_add(const struct arch_ops *arch, const struct poke_site *s, size_t offset, bool is_new,
			struct place *ret, size_t n)
{
	const uint8_t *code = (is_new ? s->new_bytes : s->old_bytes) + offset;

	if (!arch->steps(code, s->len - offset))
		return n;
	ret[n] = (struct place){ (uint8_t)offset, is_new };
	return n + 1;
}

/* Mode held steps nobody at a first boundary: who comes there waits. */
static size_t places_of_site(const struct arch_ops *arch, const struct poke_plan *plan, const struct poke_site *s,
			     const struct poke_walk *w, struct place ret[static POKE_SITE_LEN_MAX + 1])
{
	bool enters = plan->mode == POKE_MODE_STAGED;
	size_t n = 0;

	if (s->operand)
		return 0;
	if (enters && s->new_boundaries == 1 && !w->new_whole)
		n = place_add(arch, s, 0, true, ret, n);
	for (size_t i = 0; i < s->len; i++)
		if ((s->boundaries >> i & 1) && !(w->old_from >> i & 1) && (i > 0 || (enters && s->boundaries == 1)))
			n = place_add(arch, s, i, false, ret, n);
	return n;
}

size_t plan_copies_wanted(const struct arch_ops *arch, const struct poke_plan *p)
{
	struct place places[POKE_SITE_LEN_MAX + 1];
	struct poke_walk walk;
	size_t n = 0;

	if (p->mode != POKE_MODE_STAGED && p->mode != POKE_MODE_HELD)
		return 0;
	for (size_t i = 0; i < p->n_sites; i++) {
		poke_walk_prepare(arch, &p->sites[i], &walk);
		n += places_of_site(arch, p, &p->sites[i], &walk, places);
	}
	return n;
}

/* One in the next free slot. A failure is no error: who comes there is held. */
static void copy_add(struct poke_traps *traps, size_t site, const struct place *place)
{
	const struct poke_plan *plan = traps->plan;
	const struct poke_site *s = &plan->sites[site];
	const uint8_t *code = (place->is_new ? s->new_bytes : s->old_bytes) + place->offset;

	if (traps->n_copies == plan->n_slots)
		return;
	const struct poke_slot *slot = &plan->slots[traps->n_copies];
	struct poke_copy *c = &traps->copies[traps->n_copies];
	ssize_t n = traps->arch->relocate(code, (size_t)s->len - place->offset, s->gva + place->offset, slot->gva,
					  c->bytes, sizeof(c->bytes));
	if (n < 0)
		return;
	c->site = site;
	c->offset = place->offset;
	c->is_new = place->is_new;
	c->len = (uint8_t)n;
	c->slot = *slot;
	traps->n_copies++;
}

static void copies_of_site(struct poke_traps *traps, size_t site)
{
	struct place places[POKE_SITE_LEN_MAX + 1];
	size_t n = places_of_site(traps->arch, traps->plan, &traps->plan->sites[site], &traps->walks[site], places);

	for (size_t i = 0; i < n; i++)
		copy_add(traps, site, &places[i]);
}

int poke_copies_prepare(struct poke_traps *traps, struct err *e)
{
	const struct poke_plan *plan = traps->plan;

	if (!plan->n_slots)
		return 0;
	traps->copies = calloc(plan->n_slots, sizeof(*traps->copies));
	if (!traps->copies)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	for (size_t i = 0; i < plan->n_sites; i++)
		copies_of_site(traps, i);
	return 0;
}

const struct poke_copy *poke_copy_find(const struct poke_traps *traps, size_t site, size_t offset, bool is_new)
{
	for (size_t i = 0; i < traps->n_copies; i++) {
		const struct poke_copy *c = &traps->copies[i];

		if (c->site == site && c->offset == offset && c->is_new == is_new)
			return c;
	}
	return NULL;
}

static int slot_check(struct poke_tx *t, const struct poke_copy *c, struct err *e)
{
	uint8_t found[POKE_SLOT_LEN];
	int r = t->backend->ops->read(t->backend, c->slot.gpa, found, sizeof(found), e);

	for (size_t i = 0; r >= 0 && i < sizeof(found); i++)
		if (found[i] != POKE_SLOT_PADDING)
			return err_set_addr(e, ERR_REFUSED, EBUSY, "slot", c->slot.gva,
					    "the padding that was to hold a copied instruction is in use");
	return r;
}

static int slots_barrier(struct poke_tx *t, struct err *e)
{
	const struct poke_traps *traps = t->traps;
	uint64_t pages[POKE_SLOT_PAGES];
	struct backend_barrier done = { 0 };
	uint64_t start = now_us();
	size_t n = 0;

	for (size_t i = 0; i < traps->n_copies; i++) {
		uint64_t page = traps->copies[i].slot.gpa & ~UINT64_C(4095);
		size_t at = 0;

		while (at < n && pages[at] != page)
			at++;
		if (at == POKE_SLOT_PAGES)
			return err_set(e, ERR_FAILED, E2BIG, "", "slots on more than %d pages", POKE_SLOT_PAGES);
		pages[at] = page;
		n = at == n ? n + 1 : n;
	}
	int r = t->backend->ops->live->barrier(t->backend, pages, n, &done, e);
	if (r >= 0)
		poke_barrier_count(t, &done, TIMELINE_BARRIER, start, "copies in slots");
	return r;
}

int poke_copies_write(struct poke_tx *t, struct err *e)
{
	struct poke_traps *traps = t->traps;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < traps->n_copies; i++)
		r = slot_check(t, &traps->copies[i], e);
	traps->copied = r >= 0 && traps->n_copies;
	for (size_t i = 0; r >= 0 && i < traps->n_copies; i++)
		r = t->backend->ops->live->write(t->backend, traps->copies[i].slot.gpa, traps->copies[i].bytes,
						 traps->copies[i].len, e);
	if (r >= 0 && traps->n_copies)
		r = slots_barrier(t, e);
	if (r >= 0 && traps->n_copies)
		fault_point("poke-copies-written");
	return r;
}

int poke_copies_remove(struct poke_tx *t, struct err *e)
{
	struct poke_traps *traps = t->traps;
	uint8_t padding[POKE_SLOT_LEN];
	int r = 0;

	memset(padding, POKE_SLOT_PADDING, sizeof(padding));
	for (size_t i = 0; traps->copied && r >= 0 && i < traps->n_copies; i++)
		r = t->backend->ops->live->write(t->backend, traps->copies[i].slot.gpa, padding, sizeof(padding), e);
	if (r >= 0)
		traps->copied = false;
	return r;
}
