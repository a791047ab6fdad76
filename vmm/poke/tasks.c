// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Waiting for all tasks instead of looking at all stacks. The scan takes any word that
 * looks like an address inside a range for a context, and finds it for ever where it is
 * none: a register of a sleeping task's user mode is such a word. synchronize_rcu_tasks()
 * is the kernel's own proof for text it replaces (kernel/kprobes.c): with a trap on every
 * boundary nobody comes in any more, so who was inside, preempted there, is out once it
 * has given up its CPU of its own accord. Must never be asked where somebody may sleep
 * inside, which it does not wait for, nor believed where it was asked before the traps.
 */
#include "vmm/fault.h"
#include "vmm/poke/tx.h"

/* Does who is inside get out by hand, or by steps? */
static bool inside_passes(const struct poke_tx *t, size_t site)
{
	for (size_t at = 1; at < t->plan->sites[site].len; at++)
		if ((t->plan->sites[site].boundaries >> at & 1) && !(t->traps->walks[site].old_from >> at & 1) &&
		    !poke_copy_find(t->traps, site, at, false))
			return false;
	return true;
}

/* A vCPU that waits at a trap is a CPU that RCU waits for. */
static bool holds_nobody(const struct poke_tx *t, size_t site)
{
	const struct poke_walk *walk = &t->traps->walks[site];

	return (walk->old_whole || (t->plan->mode == POKE_MODE_STAGED && walk->new_whole)) && inside_passes(t, site);
}

bool poke_tasks_help(const struct poke_tx *t)
{
	const struct poke_plan *plan = t->plan;

	if (!t->quiesce || !t->quiesce->tasks_leave || t->tasks_asked || !t->armed || !t->was_running ||
	    plan == &t->inverse || plan->n_exclusions)
		return false;
	for (size_t i = 0; i < plan->n_sites; i++)
		if (!poke_walk_sleepless(t->arch, &plan->sites[i]) || !holds_nobody(t, i))
			return false;
	return true;
}

int poke_tasks_wait(struct poke_tx *t, struct err *e)
{
	struct err why = { 0 };
	int r = poke_tx_resume(t, e);

	if (r < 0)
		return r;
	uint64_t start = now_us(), left = t->deadline > start ? t->deadline - start : 0;
	t->tasks_asked = true;
	t->tasks_left = t->quiesce->tasks_leave(t->quiesce, start + left / 2, &why) == 0;
	poke_tx_span(t, TIMELINE_SCAN, start, t->tasks_left ? "all tasks have left" : "tasks could not be waited for");
	fault_point("poke-tasks-left");
	return poke_tx_cancelled(t, e);
}
