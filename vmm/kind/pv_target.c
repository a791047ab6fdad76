// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the operations of a pv_group become: native, or functions that are named, each within the contract
 * of its operation, and all together one that works.
 * Must never make native locks paravirt that were not so at boot: the table that finds
 * a halted waiter (pv_lock_hash) is made then or never. Nor let a slow path that halts go with an unlock
 * that wakes nobody, now or once any patch is reverted.
 */
#include <errno.h>
#include <string.h>

#include "vmm/kind/pv.h"

#define FEATURE_UNLOCK	(PV_FEATURE_WORD * 32 + 20) /* X86_FEATURE_PVUNLOCK */
#define FEATURE_PREEMPT (PV_FEATURE_WORD * 32 + 21) /* X86_FEATURE_VCPUPREEMPT */
#define THUNK		"__raw_callee_save_" /* PV_CALLEE_SAVE_REGS_THUNK(): keeps all registers but RAX */

const struct pv_op pv_lock[PATCH_PV_OPS] = {
	[PATCH_PV_LOCK_SLOWPATH] = { "queued_spin_lock_slowpath", "native_queued_spin_lock_slowpath", "",
				     "_queued_spin_lock_slowpath", 0 },
	[PATCH_PV_UNLOCK] = { "queued_spin_unlock", THUNK "__native_queued_spin_unlock", THUNK, "_queued_spin_unlock",
			      FEATURE_UNLOCK },
	[PATCH_PV_PREEMPTED] = { "vcpu_is_preempted", THUNK "__native_vcpu_is_preempted", THUNK, "_vcpu_is_preempted",
				 FEATURE_PREEMPT },
};

int pv_refuse(uint64_t at, const char *sentence, struct err *e)
{
	return err_set_addr(e, ERR_REFUSED, EOPNOTSUPP, "pv-group", at, "%s", sentence);
}

int pv_symbol(const struct kind_context *ctx, const char *name, uint64_t *ret, struct err *e)
{
	size_t count;
	char type;
	int r = guest_symbol_find(ctx->guest, name, ret, &type, &count);

	return r < 0 ? err_set(e, ERR_REFUSED, ENOENT, "pv-group", "the guest's kernel has no symbol %s", name) : 0;
}

static bool is_native(const struct pv_group *g, enum patch_pv_op op)
{
	return g->now[op] == g->native[op];
}

int pv_stay_paravirt(const struct pv_group *g, struct err *e)
{
	if (!is_native(g, PATCH_PV_LOCK_SLOWPATH) && !is_native(g, PATCH_PV_UNLOCK))
		return 0;
	return pv_refuse(g->pv_ops,
			 "the locks are native since boot, so the table that finds a halted waiter (pv_lock_hash) was never "
			 "made; what a patch made native its revert makes paravirt again", e);
}

/*
 * A revert puts back its own half of the pair and asks nobody: had another patch changed the other half meanwhile,
 * waiters would halt again, with an unlock that wakes nobody.
 */
int pv_halves_check(const struct pv_group *g, struct err *e)
{
	if (is_native(g, PATCH_PV_LOCK_SLOWPATH) == is_native(g, PATCH_PV_UNLOCK))
		return 0;
	return pv_refuse(g->pv_ops,
			 "one of slow path and unlock is native and the other one not, as no guest boots: revert the patch that has "
			 "made it so first", e);
}

static bool name_fits(const struct pv_op *op, const char *name)
{
	size_t len = strlen(name), end = strlen(op->suffix);

	return strncmp(name, op->prefix, strlen(op->prefix)) == 0 && len > end &&
	       strcmp(name + len - end, op->suffix) == 0 && (op->prefix[0] || strncmp(name, THUNK, strlen(THUNK)) != 0);
}

/* A function of the kernel's own, which is never unloaded, that is called as the operation is. */
static int target_resolve(const struct pv_group *g, size_t op, const char *name, uint64_t *ret, struct err *e)
{
	size_t count;
	uint64_t at;
	char type;

	if (guest_symbol_find(g->ctx->guest, name, &at, &type, &count) < 0)
		return err_set(e, ERR_REFUSED, ENOENT, "pv-group",
			       "%s: the guest's kernel has no function (or several) of the name %s", pv_lock[op].member, name);
	if ((type != 't' && type != 'T') || !guest_is_text(g->ctx->guest, at, 1) || !name_fits(&pv_lock[op], name))
		return err_set_addr(e, ERR_REFUSED, EINVAL, "pv-group", at,
				    "%s cannot be %s: it takes a function of the kernel named %s...%s", pv_lock[op].member, name,
				    pv_lock[op].prefix, pv_lock[op].suffix);
	*ret = at;
	return 0;
}

/* Whoever halts needs the table, and the unlock that looks into it. */
static int pair_check(const struct pv_group *g, struct err *e)
{
	uint64_t pointer, table = 0;

	if (g->to[PATCH_PV_LOCK_SLOWPATH] == g->native[PATCH_PV_LOCK_SLOWPATH])
		return 0;
	if (g->to[PATCH_PV_UNLOCK] == g->native[PATCH_PV_UNLOCK])
		return pv_refuse(g->pv_ops,
				 "a slow path that halts its waiters goes with the unlock that wakes them, not with the native one", e);
	int r = pv_symbol(g->ctx, "pv_lock_hash", &pointer, e);
	if (r >= 0)
		r = guest_read(g->ctx->guest, pointer, &table, sizeof(table), e);
	return r < 0 || table ? r : pv_stay_paravirt(g, e);
}

int pv_targets_take(struct pv_group *g, const struct patchfile_site *site, struct err *e)
{
	bool given = site->choice == PATCH_CHOICE_TARGETS;
	int r = 0;

	for (size_t i = 0; i < PATCH_PV_OPS && r >= 0; i++) {
		g->to[i] = given ? g->now[i] : g->native[i];
		if (given && site->pv_target[i][0])
			r = target_resolve(g, i, site->pv_target[i], &g->to[i], e);
	}
	return r < 0 || !given ? r : pair_check(g, e);
}
