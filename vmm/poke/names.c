// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Names that leave the process: modes and states (journal, replies), kill points
 * (crash tests). A journal written by an older version must stay readable: names
 * are never changed, only added.
 */
#include <errno.h>
#include <string.h>

#include "vmm/poke/poke.h"

/* clang-format off: one name a line */
static const char *const mode_names[] = {
	[POKE_MODE_STOPPED] = "stopped",
	[POKE_MODE_STAGED] = "staged",
	[POKE_MODE_HELD] = "held",
	[POKE_MODE_FLIPPED] = "flipped",
};

static const char *const trap_names[] = {
	[BACKEND_TRAP_KIND_INT3] = "int3",
	[BACKEND_TRAP_KIND_HW] = "hw",
};

static const char *const state_names[POKE_STATE_COUNT] = {
	[POKE_PLANNED] = "planned",   [POKE_PAUSED] = "paused", [POKE_TRAPPED] = "trapped",
	[POKE_TAILED] = "tailed",     [POKE_HEADED] = "headed", [POKE_WRITTEN] = "written",
	[POKE_VERIFIED] = "verified", [POKE_DONE] = "done",	[POKE_UNDONE] = "undone",
};

const char *const poke_fault_points[] = {
	"poke-begin",
	"poke-pause-recorded",
	"poke-paused",
	"poke-registers-read",
	"poke-cleared",
	"poke-checked",
	"poke-write-recorded",
	"poke-site-written",
	"poke-written",
	"poke-read-back",
	"poke-verify-recorded",
	"poke-resumed",
	"poke-done",
	NULL,
};

const char *const poke_fault_points_staged[] = {
	"poke-begin",
	"poke-checked",
	"poke-trap-recorded",
	"poke-site-trapped",
	"poke-barrier",
	"poke-trapped",
	"poke-quiet",
	"poke-tail-recorded",
	"poke-site-tailed",
	"poke-tailed",
	"poke-head-recorded",
	"poke-site-headed",
	"poke-headed",
	"poke-read-back",
	"poke-verify-recorded",
	"poke-released",
	"poke-done",
	NULL,
};

const char *const poke_fault_points_flipped[] = {
	"poke-begin",
	"poke-checked",
	"poke-write-recorded",
	"poke-flipped",
	"poke-read-back",
	"poke-verify-recorded",
	"poke-done",
	NULL,
};

const char *const poke_fault_points_rare[] = {
	"poke-page-written",   "poke-retry",	     "poke-undo",	  "poke-site-undone", "poke-undone",
	"poke-site-settled",   "poke-copies-written", "poke-slot-settled",
	"poke-tasks-left",     "count-stopped",       NULL,
};

/* clang-format on */

const char *poke_mode_name(enum poke_mode mode)
{
	return (unsigned)mode < ARRAY_SIZE(mode_names) ? mode_names[mode] : "unknown";
}

const char *poke_state_name(enum poke_state state)
{
	return (unsigned)state < POKE_STATE_COUNT ? state_names[state] : "unknown";
}

static int index_of(const char *const *names, size_t n, const char *name)
{
	for (size_t i = 0; name && i < n; i++)
		if (strcmp(names[i], name) == 0)
			return (int)i;
	return -EINVAL;
}

int poke_mode_from_name(const char *name)
{
	return index_of(mode_names, ARRAY_SIZE(mode_names), name);
}

const char *poke_trap_name(enum backend_trap trap)
{
	return (unsigned)trap < ARRAY_SIZE(trap_names) ? trap_names[trap] : "unknown";
}

int poke_trap_from_name(const char *name)
{
	return index_of(trap_names, ARRAY_SIZE(trap_names), name);
}

int poke_state_from_name(const char *name)
{
	return index_of(state_names, POKE_STATE_COUNT, name);
}
