// SPDX-License-Identifier: GPL-2.0-or-later
/* What the guest's memory says of its contexts, in the engine's terms. Must name who is in the way. */
#include "vmm/worker/stacks.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/guest/modules.h"
#include "vmm/worker/agent_use.h"
#include "vmm/worker/blocker.h"
#include "vmm/worker/session.h"

/* Asks the guest's stacks, in the engine's terms. */
int stacks_scan(struct poke_quiesce *q, const struct vcpu_regs *regs, size_t n_regs, const struct poke_plan *plan,
		bool tasks_left, struct err *e)
{
	struct session *s = container_of(q, struct agent_use, ops)->session;
	size_t n = plan->n_sites + plan->n_exclusions;
	_cleanup_free_ struct guest_range *ranges = calloc(n, sizeof(*ranges));
	struct guest_blocker who;

	if (!ranges)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	for (size_t i = 0; i < plan->n_sites; i++) {
		const struct poke_site *site = &plan->sites[i];

		/* One old instruction has no inside a context could be saved at. */
		bool multi = __builtin_popcountll(site->boundaries) > 1;
		ranges[i] = (struct guest_range){ site->gva, site->gva + (multi ? site->len : 1u) };
	}
	/* Here the first address counts as well. */
	for (size_t i = 0; i < plan->n_exclusions; i++)
		ranges[plan->n_sites + i] =
			(struct guest_range){ plan->exclusions[i].start - 1, plan->exclusions[i].end };
	int r = guest_stacks_scan(s->guest, regs, n_regs, ranges, n,
				  tasks_left ? GUEST_STACKS_NOT_TASKS : GUEST_STACKS_ALL, &who, e);
	if (r > 0)
		blocker_describe(s->guest, &who,
				 who.range < plan->n_sites ? plan->sites[who.range].label : "an excluded range", e);
	return r;
}

static int module_gone(const struct poke_site *site, struct err *e)
{
	return err_set_addr(e, ERR_REFUSED, ESTALE, "module-gone", site->gva,
			    "%.95s is not text of a module any more: it was unloaded, and its memory is somebody else's",
			    site->label);
}

/* Text outside the kernel's image is there only as long as its module is: its pages may be others' by now. */
static int modules_hold(struct guest *g, const struct poke_plan *plan, struct err *e)
{
	__attribute__((cleanup(guest_modules_clear))) struct guest_modules modules = { 0 };
	bool known = false;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < plan->n_sites; i++) {
		const struct poke_site *site = &plan->sites[i];
		uint64_t gpa = 0;

		if (site->data || guest_is_text(g, site->gva, site->len))
			continue;
		r = known ? 0 : guest_modules_read(g, &modules, e);
		known = true;
		if (r >= 0 && (!guest_modules_hold(&modules, site->gva, site->len) ||
			       guest_translate(g, site->gva, &gpa, NULL, e) < 0 || gpa != site->gpa))
			r = module_gone(site, e);
	}
	return r;
}

int stacks_patching(struct poke_quiesce *q, struct err *e)
{
	const struct agent_use *u = container_of(q, struct agent_use, ops);
	uint64_t ours = u->borrow && u->text_mutex ? borrow_text_owner(u->borrow) : 0;

	int r = guest_patching_look(u->session->guest, &u->patching, ours, e);

	return r || !u->plan ? r : modules_hold(u->session->guest, u->plan, e);
}
