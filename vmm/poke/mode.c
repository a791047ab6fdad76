// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which of the four roads a plan takes. One question per mode, "why not?", asked
 * from the gentlest on; the first that has no answer is taken, and what kept the
 * gentler ones away is what the operator reads. Must never call a mode fit on a
 * guess: an ability the backend did not report is not there.
 */
#include <errno.h>
#include <string.h>

#include "vmm/poke/plan.h"
#include "vmm/poke/trap.h"

/* Gentlest first, safest last (see plan.h). */
static const enum poke_mode order[] = { POKE_MODE_FLIPPED, POKE_MODE_STAGED, POKE_MODE_HELD, POKE_MODE_STOPPED };

static size_t boundaries_in_all(const struct poke_plan *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_sites; i++)
		n += (size_t)__builtin_popcountll(p->sites[i].boundaries);
	return n;
}

/*
 * A debug register does not fire on the one instruction after an IRET with RF set,
 * which is how a fault of that very instruction comes back: one that may fault must
 * not be changed behind such a trap. Those the emulator knows do not fault where a
 * kernel's stack is.
 */
static const char *hw_unfit(const struct poke_plan *p)
{
	if (!(p->caps & BACKEND_TRAP_HW))
		return "vCPUs cannot be trapped here";
	if (boundaries_in_all(p) > POKE_TRAPS_HW_MAX)
		return "there are only breakpoints of the CPU here, too few for so many instructions";
	for (size_t i = 0; i < p->n_sites; i++)
		if (!poke_walk_old_whole(&arch_x86_64, &p->sites[i]))
			return "there are only breakpoints of the CPU here, and an old instruction may fault";
	return NULL;
}

static const char *traps_unfit(const struct poke_plan *p)
{
	if (!(p->caps & BACKEND_NONSTOP))
		return "nothing can be written while vCPUs run here";
	for (size_t i = 0; i < p->n_sites; i++)
		if (p->sites[i].operand)
			return "a site is inside an instruction, where no breakpoint can be";
	return p->caps & BACKEND_TRAP_INT3 ? NULL : hw_unfit(p);
}

bool poke_plan_has_data(const struct poke_plan *plan)
{
	for (size_t i = 0; i < plan->n_sites; i++)
		if (plan->sites[i].data)
			return true;
	return false;
}

/*
 * What the guest keeps with its text must change with it; while a vCPU runs it may write there as well. A flip
 * that is made in a pause can have it.
 */
static const char *data_unfit(const struct poke_plan *p, enum poke_mode mode)
{
	bool paused = mode == POKE_MODE_STOPPED || mode == POKE_MODE_FLIPPED;

	return !paused && poke_plan_has_data(p) ? "the guest's own data changes with its text, and while vCPUs run they may change it too" :
				       NULL;
}

const char *plan_mode_unfit(const struct poke_plan *p, enum poke_mode mode)
{
	const char *unfit = data_unfit(p, mode);

	if (unfit)
		return unfit;
	switch (mode) {
	case POKE_MODE_FLIPPED:
		return !(p->caps & BACKEND_REMAP) || !(p->caps & BACKEND_NONSTOP)
			       ? "guest pages cannot be replaced under running vCPUs here"
			       : NULL;
	case POKE_MODE_STAGED:
		if (p->atomic || p->n_exclusions)
			return "the sites must change together, staged ones change one by one";
		return traps_unfit(p);
	case POKE_MODE_HELD:
		return traps_unfit(p);
	default:
		return NULL;
	}
}

static const char *const merits[] = {
	[POKE_MODE_FLIPPED] = "all bytes change at once in a remap of their pages",
	[POKE_MODE_STAGED] = "vCPUs run on and are trapped where the text changes",
	[POKE_MODE_HELD] = "vCPUs that come to a site wait until all are changed",
	[POKE_MODE_STOPPED] = "all vCPUs stand still meanwhile",
};

const char *plan_mode_merit(enum poke_mode mode)
{
	return (unsigned)mode < ARRAY_SIZE(merits) ? merits[mode] : "";
}

static void mode_take(struct poke_plan *p, enum poke_mode mode, const char *because)
{
	p->mode = mode;
	p->trap = p->caps & BACKEND_TRAP_INT3 ? BACKEND_TRAP_KIND_INT3 : BACKEND_TRAP_KIND_HW;
	snprintf(p->why, sizeof(p->why), "%s%s%s", because ? because : "", because ? "; " : "", merits[mode]);
}

/*
 * The last one, stopped, is never unfit. With data a flip takes the same pause, and more in it: it has to be
 * asked for.
 */
void plan_choose(struct poke_plan *p)
{
	const char *because = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		const char *why = order[i] == POKE_MODE_FLIPPED ? data_unfit(p, POKE_MODE_HELD) : NULL;

		why = why ? why : plan_mode_unfit(p, order[i]);

		if (!why) {
			mode_take(p, order[i], because);
			return;
		}
		because = why;
	}
}

int plan_set_mode(struct poke_plan *p, enum poke_mode mode, struct err *e)
{
	const char *why = plan_mode_unfit(p, mode);

	if (why)
		return err_set(e, ERR_REFUSED, EOPNOTSUPP, "mode", "mode '%s' is not possible: %s; '%s' is",
			       poke_mode_name(mode), why, poke_mode_name(p->mode));
	mode_take(p, mode, "asked for");
	return 0;
}

const char *plan_trap_unfit(const struct poke_plan *p, enum backend_trap trap)
{
	if (trap == BACKEND_TRAP_KIND_HW)
		return hw_unfit(p);
	return p->caps & BACKEND_TRAP_INT3 ? NULL : "breakpoint instructions are not reported here";
}

int plan_set_trap(struct poke_plan *p, enum backend_trap trap, struct err *e)
{
	const char *why = plan_trap_unfit(p, trap);

	if (why)
		return err_set(e, ERR_REFUSED, EOPNOTSUPP, "trap", "that kind of trap is not possible: %s", why);
	p->trap = trap;
	return 0;
}
