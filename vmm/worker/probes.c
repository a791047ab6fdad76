// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * No site may lie where the guest has a kprobe, in force or not: it saved the bytes it stands on, and would put old
 * ones over new ones, or go on to execute them. Must cost a pause no more than a few reads.
 */
#include "vmm/worker/probes.h"

#include <errno.h>

#include "vmm/guest/kprobes.h"
#include "vmm/worker/agent_use.h"
#include "vmm/worker/session.h"

static int check(struct guest *g, const struct poke_plan *plan, struct err *e)
{
	__attribute__((cleanup(guest_kprobes_clear))) struct guest_kprobes probes = { 0 };
	int r = guest_kprobes_read(g, &probes, e);
	char where[128];

	for (size_t i = 0; r >= 0 && i < plan->n_sites; i++) {
		const struct poke_site *site = &plan->sites[i];
		const uint64_t *at = site->data ? NULL : guest_kprobes_near(&probes, site->gva, site->len);

		if (!at)
			continue;
		guest_format_addr(g, *at, where, sizeof(where));
		r = err_set_addr(e, ERR_REFUSED, EBUSY, "kprobe", *at,
				 "%.95s: the guest has a kprobe at %.127s, in force or not, and a copy of the bytes there; take it out first",
				 site->label, where);
	}
	return r;
}

int probes_check(struct session *s, const struct poke_plan *plan, struct err *e)
{
	return check(s->guest, plan, e);
}

int probes_copied(struct poke_quiesce *q, struct err *e)
{
	const struct agent_use *u = container_of(q, struct agent_use, ops);
	struct guest *g = u->session->guest;
	int r = guest_kprobes_moving(g, e);

	if (r > 0) {
		err_set(e, ERR_TIMEOUT, EBUSY, "guest-poking", "the guest is changing its own text: its kprobe_mutex is held");
		return 1;
	}
	return r < 0 || !u->plan ? r : check(g, u->plan, e);
}
