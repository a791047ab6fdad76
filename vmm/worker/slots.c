// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Slots for a plan; see slots.h. Only looks: the engine checks once more that a slot
 * holds padding before it writes, and puts the padding back. Must never hand out a
 * byte that some change is about.
 */
#include "vmm/worker/slots.h"

#include <errno.h>
#include <string.h>

#include "vmm/guest/padding.h"

#define RUNS_MAX 16
#define PAGE	 4096u

_Static_assert(PADDING_BYTE == POKE_SLOT_PADDING && PADDING_MARGIN >= POKE_SLOT_LEN,
	       "padding is what slots are made of");

struct choice {
	struct session *s;
	const struct poke_plan *plan;
	size_t wanted, n, pages;
	uint64_t last_page;
	struct poke_slot slots[POKE_SLOTS_MAX];
};

static bool plan_touches(const struct poke_plan *plan, uint64_t gva)
{
	for (size_t i = 0; i < plan->n_sites; i++) {
		const struct poke_site *site = &plan->sites[i];

		if (site->gva < gva + POKE_SLOT_LEN && gva < site->gva + site->len)
			return true;
	}
	return false;
}

static bool is_free(const struct choice *c, uint64_t gva)
{
	if (plan_touches(c->plan, gva))
		return false;
	for (const struct patch_record *p = c->s->patches.first; p; p = p->next)
		if (p->status != PATCH_LOST && plan_touches(p->begin->plan, gva))
			return false;
	return true;
}

/* Slots come in ascending order: a page is new, or that of the one before. */
static int slot_add(struct choice *c, uint64_t gva, struct err *e)
{
	uint64_t gpa, left;
	int r = guest_translate(c->s->guest, gva, &gpa, &left, e);

	if (r < 0)
		return r;
	if (!c->n || (gpa & ~(uint64_t)(PAGE - 1)) != c->last_page) {
		c->last_page = gpa & ~(uint64_t)(PAGE - 1);
		c->pages++;
	}
	if (c->pages <= POKE_SLOT_PAGES)
		c->slots[c->n++] = (struct poke_slot){ gva, gpa };
	return 0;
}

static int slots_of_run(struct choice *c, const struct padding_run *run, struct err *e)
{
	int r = 0;

	for (uint64_t gva = run->start; r >= 0 && gva < run->end; gva += POKE_SLOT_LEN) {
		if (c->n == c->wanted || c->pages > POKE_SLOT_PAGES)
			break;
		if (is_free(c, gva))
			r = slot_add(c, gva, e);
	}
	return r;
}

/* More than is asked for, as some of it may be taken by patches. */
static int slots_choose(struct choice *c, struct err *e)
{
	struct padding_run runs[RUNS_MAX];
	int n = guest_padding_find(c->s->guest, 2 * c->wanted * POKE_SLOT_LEN, runs, RUNS_MAX, e);
	int r = n;

	for (int i = 0; r >= 0 && i < n; i++)
		r = slots_of_run(c, &runs[i], e);
	return r;
}

static void say(struct poke_plan *plan, size_t wanted, size_t got, const char *why)
{
	size_t len = strlen(plan->why);

	snprintf(
		plan->why + len, sizeof(plan->why) - len,
		"; %zu of %zu instructions that cannot be emulated can be stepped as copies (%s), vCPUs wait at the others",
		got, wanted, why);
}

int slots_give(struct session *s, struct poke_plan *plan, struct err *e)
{
	size_t wanted = plan_copies_wanted(arch_of(s->info.arch), plan);
	struct choice c = { .s = s, .plan = plan, .wanted = wanted < POKE_SLOTS_MAX ? wanted : POKE_SLOTS_MAX };
	int r = 0;

	if (!wanted)
		return 0;
	if (!(plan->caps & BACKEND_STEP)) {
		say(plan, wanted, 0, "vCPUs cannot be stepped here");
		return 0;
	}
	r = slots_choose(&c, e);
	if (r >= 0)
		r = plan_set_slots(plan, c.slots, c.n, e);
	if (r >= 0 && c.n < wanted)
		say(plan, wanted, c.n,
		    wanted > POKE_SLOTS_MAX && c.n == POKE_SLOTS_MAX
			    ? "that is the most"
			    : "there is no more int3 padding in the guest's text");
	return r < 0 ? r : 0;
}
