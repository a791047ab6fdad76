// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which sites there are, who runs them, and which change in one transaction:
 * fills the arena and the guest's tables. Runs before the first vCPU does; must
 * not be used later.
 */
#include <errno.h>
#include <string.h>

#include "tests/stress/guest.h"
#include "vmm/arch/arch.h"

#define HW_TRAPS_MAX 4

/* Sites that only a handler runs. */
static const struct extra {
	enum smp_context context;
	const char *shape;
	enum text_place place;
} extras[] = {
	{ SMP_IN_NMI, "call", TEXT_INSIDE },	  { SMP_IN_NMI, "jcc", TEXT_LINE },
	{ SMP_IN_NMI, "mov8", TEXT_PAGE_CROSS },  { SMP_IN_NMI, "prologue", TEXT_INSIDE },
	{ SMP_IN_MCE, "call", TEXT_LINE },	  { SMP_IN_MCE, "mov4", TEXT_PAGE_CROSS },
	{ SMP_IN_TIMER, "nop-jmp", TEXT_INSIDE }, { SMP_IN_TIMER, "prologue", TEXT_LINE },
};

struct layout {
	struct guest *guest;
	const struct options *options;
	struct text_arena arena;
	struct smp_site *table;
	struct smp_pair *pairs;
	unsigned in_group, traps; /* of the group being filled */
	bool multi;		  /* it changes ranges of several instructions */
};

static bool context_used(const struct layout *l, enum smp_context context)
{
	switch (context) {
	case SMP_IN_NMI:
		return l->options->nmi > 0;
	case SMP_IN_MCE:
		return l->options->mce > 0;
	case SMP_IN_TIMER: /* chosen shapes: nothing else, rates are compared */
		return l->guest->control->has_apic && !l->options->shapes;
	default:
		return true;
	}
}

/* How many traps a site takes while it changes, in whichever direction. */
static unsigned site_traps(const struct text_site *s)
{
	unsigned most = 0;

	for (int v = 0; v < 2; v++) {
		uint64_t mask = 0;
		size_t end, bad;

		if (arch_boundaries(&arch_x86_64, s->versions[v], sizeof(s->versions[v]), s->gva, s->len, &mask, &end,
				    &bad) == 0 &&
		    (unsigned)__builtin_popcountll(mask) > most)
			most = (unsigned)__builtin_popcountll(mask);
	}
	return most;
}

static int site_place(struct layout *l, const struct text_shape *shape, enum text_place place, struct err *e)
{
	struct guest *g = l->guest;
	struct text_site *s = &g->sites[g->n_sites];

	if (g->n_sites == SMP_SITES_MAX)
		return err_set(e, ERR_USAGE, ENOSPC, "", "more than %d sites", SMP_SITES_MAX);
	if (text_add(&l->arena, shape, place, (unsigned)g->n_sites, s) < 0)
		return err_set(e, ERR_USAGE, ENOSPC, "", "so many sites do not fit the guest's memory");
	l->table[g->n_sites] = (struct smp_site){ .entry = s->entry, .results = { s->results[0], s->results[1] } };
	g->n_sites++;
	return 0;
}

static size_t shapes_chosen(const struct options *o, const struct text_shape *ret[static 64])
{
	const char *name = o->shapes ? o->shapes : "";
	size_t n = 0;

	while (*name && n < 64) {
		size_t len = strcspn(name, ",");

		ret[n++] = text_shape_find(name, len);
		name += len + (name[len] == ',');
	}
	for (size_t i = 0; !o->shapes && i < text_n_shapes; i++)
		if (!o->hw || !text_shapes[i].may_fault)
			ret[n++] = &text_shapes[i];
	return n;
}

/* Shapes in turn, each next round one place on: every shape comes to every place. */
static int main_sites(struct layout *l, struct err *e)
{
	const struct text_shape *shapes[64];
	size_t n = shapes_chosen(l->options, shapes);
	size_t want = l->options->sites ? l->options->sites : n * TEXT_PLACES;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < want; i++)
		r = site_place(l, shapes[i % n],
			       l->options->inside ? TEXT_INSIDE : (enum text_place)((i + i / n) % TEXT_PLACES), e);
	return r;
}

/* The halves lie on pages of their own. */
static int pair_add(struct layout *l, unsigned index, struct err *e)
{
	static const char *const shapes[] = { "call", "mov4", "jmp", "jcc" };
	struct guest *g = l->guest;

	for (unsigned half = 0; half < 2; half++) {
		const char *name = shapes[(index + half) % ARRAY_SIZE(shapes)];

		text_new_page(&l->arena);
		int r = site_place(l, text_shape_find(name, strlen(name)), TEXT_INSIDE, e);
		if (r < 0)
			return r;
		l->pairs[index].sites[half] = (uint32_t)g->n_sites - 1;
	}
	return 0;
}

static int context_sites(struct layout *l, enum smp_context context, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(extras); i++) {
		const struct text_shape *shape = text_shape_find(extras[i].shape, strlen(extras[i].shape));

		if (extras[i].context != context || (l->options->hw && shape->may_fault))
			continue;
		r = site_place(l, shape, extras[i].place, e);
		if (l->options->at)
			break;
	}
	return r;
}

static int context_fill(struct layout *l, enum smp_context context, struct err *e)
{
	struct smp_range *range = &l->guest->control->sites[context];
	int r = 0;

	range->first = (uint32_t)l->guest->n_sites;
	if (context == SMP_IN_MAIN)
		r = main_sites(l, e);
	else if (context_used(l, context))
		r = context_sites(l, context, e);
	for (unsigned i = 0; context == SMP_IN_MAIN && r >= 0 && i < l->options->pairs; i++)
		r = pair_add(l, i, e);
	range->count = (uint32_t)l->guest->n_sites - range->first;
	return r;
}

/* 0: in no pair; 1, 2: the first or second half of one. */
static unsigned half_of_pair(const struct layout *l, size_t site)
{
	for (unsigned i = 0; i < l->options->pairs; i++)
		for (unsigned half = 0; half < 2; half++)
			if (l->pairs[i].sites[half] == site)
				return half + 1;
	return 0;
}

/* A new group when so many traps do not fit the last one, or the site must stand apart from it. */
static int group_choose(struct layout *l, unsigned sites, unsigned traps, bool apart, struct err *e)
{
	struct guest *g = l->guest;
	bool full = (l->options->batch && l->in_group + sites > l->options->batch) ||
		    (l->options->hw && l->traps + traps > HW_TRAPS_MAX);

	if (g->n_groups == 0 || full || apart) {
		if (g->n_groups == SMP_GROUPS_MAX)
			return err_set(e, ERR_USAGE, ENOSPC, "", "more than %d transactions a round", SMP_GROUPS_MAX);
		g->n_groups++;
		l->in_group = l->traps = 0;
	}
	l->in_group += sites;
	l->traps += traps;
	return 0;
}

static int site_join(struct layout *l, size_t index, struct err *e)
{
	unsigned half = half_of_pair(l, index), traps = site_traps(&l->guest->sites[index]);
	bool paired = half && !l->options->unpaired, multi = traps > 1;
	int r = 0;

	bool apart = multi != l->multi || (half && !paired);

	if (!paired || half == 1)
		r = group_choose(l, paired ? 2 : 1, paired ? 2 : traps, apart && !l->options->at, e);
	l->multi = multi;
	l->guest->group_of[index] = l->table[index].group = (uint32_t)l->guest->n_groups - 1;
	return r;
}

/*
 * Ranges of several instructions wait for a moment at which nobody is inside, most
 * likely with all vCPUs paused: in a transaction of their own they do not hide how
 * the others are changed under running ones.
 */
static int groups_make(struct layout *l, struct err *e)
{
	const struct guest *g = l->guest;
	int r = 0;

	for (int multi = 0; multi < 2; multi++)
		for (size_t i = 0; r >= 0 && i < g->n_sites; i++)
			if ((site_traps(&g->sites[i]) > 1) == multi)
				r = site_join(l, i, e);
	return r;
}

int layout_make(struct guest *g, const struct options *o, struct err *e)
{
	struct layout l = { .guest = g, .options = o };
	uint8_t *table = machine_ram(g->machine, SMP_SITES, SMP_SITES_MAX * sizeof(struct smp_site));
	uint8_t *pairs = machine_ram(g->machine, SMP_PAIRS, SMP_PAIRS_MAX * sizeof(struct smp_pair));
	int r = 0;

	l.arena = (struct text_arena){ .gva = SMP_TEXT, .cap = GUEST_SLOTS - SMP_TEXT };
	l.arena.bytes = machine_ram(g->machine, SMP_TEXT, SMP_MEMORY - SMP_TEXT);
	g->sites = calloc(SMP_SITES_MAX, sizeof(*g->sites));
	g->group_of = calloc(SMP_SITES_MAX, sizeof(*g->group_of));
	if (!table || !pairs || !l.arena.bytes || !g->sites || !g->group_of)
		return err_set(e, ERR_FAILED, ENOMEM, "", "no memory for the tables of the guest");
	l.table = (struct smp_site *)(void *)table;
	l.pairs = (struct smp_pair *)(void *)pairs;
	text_begin(&l.arena);
	memset(l.arena.bytes + l.arena.cap, 0xcc, SMP_MEMORY - GUEST_SLOTS);
	for (enum smp_context c = 0; r >= 0 && c < SMP_CONTEXTS; c++)
		r = context_fill(&l, c, e);
	g->control->pairs = o->pairs;
	return r < 0 ? r : groups_make(&l, e);
}
