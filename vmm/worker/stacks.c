// SPDX-License-Identifier: GPL-2.0-or-later
/* What the guest's memory says of its contexts, in the engine's terms. Must name who is in the way. */
#include "vmm/worker/stacks.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/worker/agent_use.h"
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
		err_set_addr(e, ERR_TIMEOUT, EBUSY, "busy", who.address,
			     "%s is busy: %s%s%s (pid %d) returns to 0x%llx inside it",
			     who.range < plan->n_sites ? plan->sites[who.range].label : "an excluded range", who.where,
			     who.comm[0] ? " of " : "", who.comm, who.pid, (unsigned long long)who.address);
	return r;
}

int stacks_patching(struct poke_quiesce *q, struct err *e)
{
	const struct agent_use *u = container_of(q, struct agent_use, ops);
	uint64_t ours = u->borrow && u->text_mutex ? borrow_text_owner(u->borrow) : 0;

	return guest_patching_look(u->session->guest, &u->patching, ours, e);
}
