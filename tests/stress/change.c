// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The transactions of a run. Each group has two plans, there and back, made once.
 * Around each transaction the guest is told by group.seq what it may see (smp.h):
 * seq is odd before the first byte can change and stable only after the engine
 * has said that it is done. Must never call a group stable on a guess.
 */
#include "tests/stress/change.h"

#include <errno.h>
#include <string.h>

#include "tests/stress/quiesce.h"
#include "vmm/arch/arch.h"
#include "vmm/poke/plan.h"

#define PAGE		4096u
#define POKE_TIMEOUT_US 3000000u
#define LOOK_US		2000 /* how often the guest is asked whether it lives */

struct changer {
	struct guest *guest;
	const struct options *options;
	struct injector *injector;
	struct stack_scan scan;
	struct poke_log log;
	struct poke_plan **plans; /* of group i: [2 * i] from old to new, [2 * i + 1] back */
	uint8_t *versions;	  /* what each group holds */
	size_t *sizes;		  /* how many sites each group has */
};

void changer_free(struct changer *c)
{
	if (!c)
		return;
	for (size_t i = 0; c->plans && i < 2 * c->guest->n_groups; i++)
		plan_free(c->plans[i]);
	free(c->plans);
	free(c->versions);
	free(c->sizes);
	free(c);
}

/* The engine is about to begin a stage: the moment for an NMI to be under way. */
static int log_state(struct poke_log *log, enum poke_state state, bool was_running, struct err *e)
{
	struct changer *c = container_of(log, struct changer, log);

	(void)state;
	(void)was_running;
	return c->injector ? injector_poll(c->injector, e) : 0;
}

static void want_fill(const struct guest *g, size_t index, int from, struct plan_want *w)
{
	const struct text_site *s = &g->sites[index];
	uint64_t room = PAGE - s->gva % PAGE, left = SMP_MEMORY - s->gva;
	size_t around = left < sizeof(w->present) ? left : sizeof(w->present);

	*w = (struct plan_want){
		.gva = s->gva, .gpa = s->gva, .len = s->len, .has_expected = true, .new_is_code = true
	};
	w->split = (uint8_t)(room < s->len ? room : s->len);
	w->gpa_rest = w->gpa + w->split;
	w->present_len = (uint8_t)around;
	memcpy(w->present, machine_ram(g->machine, s->gva, around), around);
	memcpy(w->present, s->versions[from], s->len);
	memcpy(w->expected, s->versions[from], s->len);
	memcpy(w->new_bytes, s->versions[!from], s->len);
	snprintf(w->label, sizeof(w->label), "%s/%s#%zu", s->shape->name, text_place_name(s->place), index);
}

static int slots_give(struct poke_plan *plan, struct err *e)
{
	struct poke_slot slots[4096 / POKE_SLOT_LEN];

	for (size_t i = 0; i < ARRAY_SIZE(slots); i++)
		slots[i].gva = slots[i].gpa = GUEST_SLOTS + i * POKE_SLOT_LEN;
	return plan_set_slots(plan, slots, ARRAY_SIZE(slots), e);
}

static int plan_make(struct changer *c, size_t group, int from, unsigned caps, struct err *e)
{
	const struct guest *g = c->guest;
	_cleanup_free_ struct plan_want *wants = calloc(g->n_sites, sizeof(*wants));
	struct poke_plan **plan = &c->plans[2 * group + (size_t)from];
	size_t n = 0;

	if (!wants)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	for (size_t i = 0; i < g->n_sites; i++)
		if (g->group_of[i] == group)
			want_fill(g, i, from, &wants[n++]);
	int r = plan_build(&arch_x86_64, caps, wants, n, plan, e);
	if (r < 0)
		return r;
	(*plan)->atomic = c->options->pairs && !c->options->unpaired;
	r = plan_set_mode(*plan, c->options->mode, e);
	if (r >= 0 && c->options->slots)
		r = slots_give(*plan, e);
	if (r >= 0 && (c->options->mode == POKE_MODE_STAGED || c->options->mode == POKE_MODE_HELD))
		r = plan_set_trap(*plan, c->options->hw ? BACKEND_TRAP_KIND_HW : BACKEND_TRAP_KIND_INT3, e);
	return r;
}

int changer_create(struct guest *g, const struct options *o, struct injector *injector, struct changer **ret,
		   struct err *e)
{
	_cleanup_(changer_free) struct changer *c = calloc(1, sizeof(*c));
	struct backend *b = machine_backend(g->machine);
	struct backend_info info;
	int r = b->ops->info(b, &info, e);

	if (r < 0)
		return r;
	if (!c)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	c->guest = g;
	c->options = o;
	c->injector = injector;
	c->log.state = log_state;
	stack_scan_init(&c->scan, g);
	c->plans = calloc(2 * g->n_groups, sizeof(struct poke_plan *));
	c->versions = calloc(g->n_groups, 1);
	c->sizes = calloc(g->n_groups, sizeof(*c->sizes));
	if (!c->plans || !c->versions || !c->sizes)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	for (size_t i = 0; i < g->n_sites; i++)
		c->sizes[g->group_of[i]]++;
	for (size_t i = 0; r >= 0 && !o->naive && i < 2 * g->n_groups; i++)
		r = plan_make(c, i / 2, (int)(i % 2), info.caps, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

/* What the engine exists to avoid. */
static int change_naively(struct changer *c, size_t group, int to)
{
	const struct guest *g = c->guest;

	for (size_t i = 0; i < g->n_sites; i++)
		if (g->group_of[i] == group)
			memcpy(machine_ram(g->machine, g->sites[i].gva, g->sites[i].len), g->sites[i].versions[to],
			       g->sites[i].len);
	return 0;
}

static int change_poke(struct changer *c, size_t group, int from, struct change_figures *f, struct err *e)
{
	struct poke_stats stats = { 0 };
	int r = poke_run(machine_backend(c->guest->machine), &arch_x86_64, c->plans[2 * group + (size_t)from],
			 &c->scan.quiesce, &c->log, POKE_TIMEOUT_US, &stats, e);

	f->traps += stats.traps;
	f->held += stats.held;
	f->copied += stats.copied;
	f->kicked += stats.kicked;
	f->already_out += stats.already_out;
	f->waited_us += stats.waited_us;
	f->barriers += stats.barriers;
	if (stats.held_us > f->held_us)
		f->held_us = stats.held_us;
	return r;
}

/* A transaction given up leaves all bytes old: the seq after it is stable for them, and no pair check spans it. */
int changer_change(struct changer *c, size_t group, struct change_figures *f, struct err *e)
{
	uint64_t *seq = &c->guest->groups[group].seq, began;
	int from = c->versions[group], r;

	__atomic_add_fetch(seq, 1, __ATOMIC_SEQ_CST);
	began = now_us();
	r = c->options->naive ? change_naively(c, group, !from) : change_poke(c, group, from, f, e);
	uint64_t took = now_us() - began;
	if (r < 0 && r != -ETIMEDOUT)
		return r;
	__atomic_add_fetch(seq, r < 0 ? 3 : 1, __ATOMIC_SEQ_CST);
	f->spent_us += took;
	if (took > f->longest_us)
		f->longest_us = took;
	if (r < 0) {
		if (f->busy++ == 0)
			fprintf(stderr, "stress: busy: %s\n", e->text);
		return 0;
	}
	f->flips++;
	f->changes += c->sizes[group];
	c->versions[group] = (uint8_t)!from;
	return 0;
}

int changer_version(const struct changer *c, size_t group)
{
	return c->versions[group];
}

static bool is_enough(const struct options *o, const struct change_figures *f)
{
	return (o->flips && f->flips >= o->flips) || (o->changes && f->changes >= o->changes);
}

/* The control of the pairs has shown what it is for. */
static bool has_failed(const struct changer *c)
{
	struct smp_vcpu sum;

	if (!c->options->unpaired)
		return false;
	guest_sum(c->guest, &sum);
	return guest_violations(&sum) > 0;
}

int changer_run(struct changer *c, struct change_figures *ret, struct err *e)
{
	uint64_t now = now_us(), deadline = now + c->options->seconds * UINT64_C(1000000), look = 0;
	struct change_figures f = { 0 };
	size_t group = 0;
	int r = 0;

	while (r >= 0 && now < deadline && !is_enough(c->options, &f)) {
		if (now >= look && (guest_is_dead(c->guest) || has_failed(c)))
			break;
		if (now >= look)
			look = now + LOOK_US;
		r = injector_poll(c->injector, e);
		if (r >= 0)
			r = changer_change(c, group, &f, e);
		group = (group + 1) % c->guest->n_groups;
		if (c->options->gap)
			usleep(c->options->gap);
		now = now_us();
	}
	*ret = f;
	return r;
}
