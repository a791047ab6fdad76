// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which mode a transaction takes; see choose.h. The rules are the plan's
 * (vmm/poke/mode.c); here they meet the patch file and the operator's wish. Must
 * never give in to a wish that the rules refuse.
 */
#include "vmm/worker/choose.h"

#include <errno.h>
#include <string.h>

static const enum poke_mode gentlest_first[] = { POKE_MODE_FLIPPED, POKE_MODE_STAGED, POKE_MODE_HELD,
						 POKE_MODE_STOPPED };

static int exclusion_resolve(const struct kind_context *ctx, const struct patchfile_exclusion *x,
			     struct poke_exclusion *ret, struct err *e)
{
	struct poke_exclusion range;
	int r = kind_resolve(ctx, &x->from, "from", &range.start, e);

	if (r >= 0)
		r = kind_resolve(ctx, &x->to, "to", &range.end, e);
	if (r >= 0 && range.start >= range.end)
		r = err_set_addr(e, ERR_REFUSED, EINVAL, "exclude", range.end,
				 "'to' does not lie behind 'from': it is the first address outside the range");
	if (r < 0)
		err_prefix(e, "line %d: exclude", x->line);
	else
		*ret = range;
	return r < 0 ? r : 0;
}

int choose_for_file(const struct kind_context *ctx, const struct patchfile *file, struct poke_plan *plan, struct err *e)
{
	for (size_t i = 0; i < file->n_exclusions; i++) {
		struct poke_exclusion range;
		int r = exclusion_resolve(ctx, &file->exclusions[i], &range, e);

		if (r == 0 && plan->n_exclusions == POKE_EXCLUSIONS_MAX)
			r = err_set(e, ERR_REFUSED, E2BIG, "exclude", "line %d: more than %d excluded ranges, with those of a kind's own",
				    file->exclusions[i].line, POKE_EXCLUSIONS_MAX);
		if (r < 0)
			return r;
		plan->exclusions[plan->n_exclusions++] = range;
	}
	plan->atomic = file->atomic;
	/* An interrupted or preempted context inside an excluded range is on a stack, as one inside a site is. */
	plan->needs_quiescence |= plan->n_exclusions > 0;
	plan_choose(plan);
	return 0;
}

static const char *word(json_t *args, const char *key)
{
	return json_string_value(json_object_get(args, key));
}

int choose_check_words(json_t *args, struct err *e)
{
	const char *mode = word(args, "mode"), *traps = word(args, "traps");

	if (mode && poke_mode_from_name(mode) < 0)
		return err_set(e, ERR_USAGE, EINVAL, "mode", "mode must be flipped, staged, held or stopped, not '%.32s'",
			       mode);
	if (traps && poke_trap_from_name(traps) < 0)
		return err_set(e, ERR_USAGE, EINVAL, "trap", "traps must be int3 or hw, not '%.32s'", traps);
	return 0;
}

static bool has_traps(const struct poke_plan *plan)
{
	return plan->mode == POKE_MODE_STAGED || plan->mode == POKE_MODE_HELD;
}

int choose_as_asked(json_t *args, struct poke_plan *plan, struct err *e)
{
	const char *mode = word(args, "mode"), *traps = word(args, "traps");
	int r = choose_check_words(args, e);

	if (r == 0 && mode)
		r = plan_set_mode(plan, (enum poke_mode)poke_mode_from_name(mode), e);
	if (r < 0 || !traps)
		return r;
	if (!has_traps(plan))
		return err_set(e, ERR_REFUSED, EOPNOTSUPP, "trap",
			       "mode '%s', which is taken here, has no traps; ask for mode staged or held as well",
			       poke_mode_name(plan->mode));
	return plan_set_trap(plan, (enum backend_trap)poke_trap_from_name(traps), e);
}

/* Debug registers alone are traps for a few instructions only: said here, as the plan without sites cannot know. */
static json_t *mode_json(const struct poke_plan *plan, enum poke_mode mode)
{
	const char *why_not = plan_mode_unfit(plan, mode);
	bool trapped = mode == POKE_MODE_STAGED || mode == POKE_MODE_HELD;
	bool few = !why_not && trapped && !(plan->caps & BACKEND_TRAP_INT3);

	return json_pack("{s:s, s:b, s:s+}", "name", poke_mode_name(mode), "available", !why_not, "why",
			 why_not ? why_not : plan_mode_merit(mode),
			 few ? "; traps are debug registers here: at most 4 instructions, none of which may fault" : "");
}

json_t *choose_modes_json(unsigned caps)
{
	const struct poke_plan plan = { .caps = caps };
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(gentlest_first); i++)
		json_array_append_new(list, mode_json(&plan, gentlest_first[i]));
	return list;
}

json_t *choose_mode_names_json(unsigned caps)
{
	const struct poke_plan plan = { .caps = caps };
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(gentlest_first); i++)
		if (!plan_mode_unfit(&plan, gentlest_first[i]))
			json_array_append_new(list, json_string(poke_mode_name(gentlest_first[i])));
	return list;
}
