// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Kind `pv_group`: operations of pv_ops that only work together are switched together,
 * their call sites, the pointers behind them, and what the kernel believes its CPU has (a
 * module that is loaded later is adapted to that). One group so far:
 *
 * lock: queued spinlocks, paravirt to native, or to functions that are named. A waiter that halts relies on the unlock
 * that kicks it, so slow path, unlock and preemption hint change in one transaction, and
 * only while nobody is in a slow path, of either variant: then no lock word holds
 * anything but free or held (the slow value of a hashed, halted waiter is taken back
 * before that waiter leaves), no queue node is in use, and both variants agree on what
 * the lock words say. wait and kick stay: nothing but the paravirt slow paths calls them.
 *
 * Must never change one of them without the others that rest on it.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vmm/guest/vmlinux.h"
#include "vmm/kind/pv.h"

#define CALL_LEN	6 /* call *disp32(%rip) */
#define DIRECT_LEN	5 /* call target; a NOP follows */
#define NOP		0x90

/* In which nobody may be. Those a kernel lacks are none. */
static const struct slow_path {
	const char *name;
	bool gated; /* void f(struct qspinlock *lock, u32 val): somebody is always in it when a lock is fought for */
} slow_paths[] = {
	{ "native_queued_spin_lock_slowpath", true },
	{ "__pv_queued_spin_lock_slowpath", true },
	{ "__pv_queued_spin_unlock_slowpath", false },
	{ "__raw_callee_save___pv_queued_spin_unlock_slowpath", false },
	{ "__pv_queued_spin_unlock", false },
	{ "__raw_callee_save___pv_queued_spin_unlock", false },
	{ "kvm_wait", false },
	{ "kvm_kick_cpu", false },
};

/* Where this kernel keeps the pointers and the feature bits. */
static int group_place(struct pv_group *g, struct err *e)
{
	struct guest_member m[2 + PATCH_PV_OPS] = { { "paravirt_patch_template", "lock", 0 },
						    { "cpuinfo_x86", "x86_capability", 0 } };
	uint64_t cpu = 0;

	for (size_t i = 0; i < PATCH_PV_OPS; i++)
		m[2 + i] = (struct guest_member){ "pv_lock_ops", pv_lock[i].member, 0 };
	int r = guest_member_offsets(g->ctx->guest, m, ARRAY_SIZE(m), e);
	if (r >= 0)
		r = pv_symbol(g->ctx, "boot_cpu_data", &cpu, e);
	for (size_t i = 0; i < PATCH_PV_OPS && r >= 0; i++) {
		g->offset[i] = m[0].offset + m[2 + i].offset;
		r = pv_symbol(g->ctx, pv_lock[i].native, &g->native[i], e);
	}
	g->features = cpu + m[1].offset + PV_FEATURE_WORD * sizeof(uint32_t);
	return r;
}

static int group_read(struct pv_group *g, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < PATCH_PV_OPS && r >= 0; i++) {
		r = guest_read(g->ctx->guest, g->pv_ops + g->offset[i], &g->now[i], sizeof(g->now[i]), e);
		if (r >= 0 && !guest_is_text(g->ctx->guest, g->now[i], 1))
			return pv_refuse(g->pv_ops + g->offset[i], "a pointer of pv_ops leads to nothing that is kernel text", e);
	}
	return r;
}

/* A call in the form the kernel gives it: call target; NOP. */
static int call_form(const struct pv_group *g, uint64_t at, uint64_t target, uint8_t *out, struct err *e)
{
	ssize_t n = g->ctx->arch->encode_call(out, CALL_LEN, at, target);

	if (n < 0)
		return pv_refuse(at, "the target of a call is out of reach", e);
	g->ctx->arch->encode_nop(out + n, CALL_LEN - (size_t)n);
	return 0;
}

/* The native code the kernel's file has for this very place, where it has one. */
static const struct guest_alternative *inlined(const struct pv_group *g, const struct pv_op *op, uint64_t at)
{
	size_t n;
	const struct guest_alternative *a = guest_alternatives_at(&g->image->alternatives, at, &n);

	for (size_t i = 0; op->feature && i < n; i++)
		if (!a[i].call && a[i].inverted && a[i].feature == op->feature && a[i].len == CALL_LEN)
			return &a[i];
	return NULL;
}

/*
 * What a site holds whose operation is `target`. The NOP behind a call stays where it is, so that
 * the site is one old instruction and nobody who returns there is inside: addresses of that kind
 * are all over the stacks of a guest that fights for locks, most of them long out of use.
 */
static int site_form(const struct pv_group *g, size_t op, uint64_t target, uint64_t at, uint8_t *out, struct err *e)
{
	const struct guest_alternative *a = target == g->native[op] ? inlined(g, &pv_lock[op], at) : NULL;

	if (!a)
		return call_form(g, at, target, out, e);
	if (a->replacement_len > DIRECT_LEN)
		return pv_refuse(at, "native code is longer than the call it is to replace", e);
	int r = alternative_form(g->ctx, a, false, out, e);
	if (r < 0)
		return r;
	g->ctx->arch->encode_nop(out + a->replacement_len, (size_t)DIRECT_LEN - a->replacement_len);
	g->ctx->arch->encode_nop(out + DIRECT_LEN, CALL_LEN - DIRECT_LEN);
	return 0;
}

static int site_add(const struct pv_group *g, size_t op, uint64_t at, struct want_list *out, struct err *e)
{
	struct plan_want w = { .gva = at, .len = DIRECT_LEN, .new_is_code = true, .has_expected = true };
	uint8_t present[CALL_LEN];
	int r = site_form(g, op, g->to[op], at, w.new_bytes, e);

	if (r >= 0)
		r = site_form(g, op, g->now[op], at, w.expected, e);
	if (r >= 0)
		r = guest_read(g->ctx->guest, at, present, sizeof(present), e);
	if (r < 0)
		return r;
	/* Native already, as where the compiler's call is followed by nothing to adapt. */
	if (alternative_same(g->ctx, present, w.new_bytes, CALL_LEN, at))
		return 0;
	/* Native since boot: the kernel filled up with a longer NOP, no half of which may be left. */
	if (present[DIRECT_LEN] != NOP)
		w.len = CALL_LEN;
	if (alternative_same(g->ctx, present, w.expected, CALL_LEN, at))
		memcpy(w.expected, present, sizeof(present));
	return want_list_add(out, &w, e);
}

/* The operation whose pointer is at that offset of pv_ops and that is to change; PATCH_PV_OPS: none. */
static size_t op_at(const struct pv_group *g, uint64_t offset)
{
	for (size_t i = 0; i < PATCH_PV_OPS; i++)
		if (g->offset[i] == offset && g->now[i] != g->to[i])
			return i;
	return PATCH_PV_OPS;
}

/* What is in text that was freed after boot is nobody's any more. */
static int call_add(const struct pv_group *g, uint64_t at, size_t len, uint64_t offset, struct want_list *out, struct err *e)
{
	size_t op = op_at(g, offset);

	if (op == PATCH_PV_OPS || !guest_is_text(g->ctx->guest, at, CALL_LEN))
		return 0;
	if (len != CALL_LEN)
		return pv_refuse(at, "a call of pv_ops has a form that is not known", e);
	return site_add(g, op, at, out, e);
}

/* Up to Linux 6.7 a list of their own, since 6.8 alternatives: call *pv_ops+X(%rip). */
static int sites_add(const struct pv_group *g, struct want_list *out, struct err *e)
{
	const struct guest_pv_calls *calls = &g->image->pv_calls;
	const struct guest_alternatives *all = &g->image->alternatives;
	int r = 0;

	for (size_t i = 0; i < calls->n && r >= 0; i++)
		r = call_add(g, calls->call[i].at, calls->call[i].len, calls->call[i].offset, out, e);
	for (size_t i = 0; i < all->n && r >= 0; i++) {
		const struct guest_alternative *a = &all->entry[i];
		int32_t disp;

		if (!a->call || a->len != CALL_LEN || a->original[0] != 0xff || a->original[1] != 0x15)
			continue;
		memcpy(&disp, a->original + 2, sizeof(disp));
		r = call_add(g, a->at, a->len, a->at + CALL_LEN + (uint64_t)(int64_t)disp - g->pv_ops, out, e);
	}
	return r;
}

static int data_add(uint64_t at, const void *old, const void *new, size_t len, struct want_list *out, struct err *e)
{
	struct plan_want w = { .gva = at, .len = (uint8_t)len, .data = true, .has_expected = true };

	memcpy(w.expected, old, len);
	memcpy(w.new_bytes, new, len);
	return memcmp(old, new, len) == 0 ? 0 : want_list_add(out, &w, e);
}

/* As the kernel would have it who booted with these targets. */
static uint32_t features_of(const struct pv_group *g, uint32_t now)
{
	for (size_t i = 0; i < PATCH_PV_OPS; i++) {
		uint32_t bit = pv_lock[i].feature ? 1u << (pv_lock[i].feature % 32) : 0;

		now = g->to[i] == g->now[i] ? now : g->to[i] == g->native[i] ? now & ~bit : now | bit;
	}
	return now;
}

static int data_all_add(const struct pv_group *g, struct want_list *out, struct err *e)
{
	uint32_t now = 0, become;
	int r = guest_read(g->ctx->guest, g->features, &now, sizeof(now), e);

	become = features_of(g, now);
	if (r >= 0)
		r = data_add(g->features, &now, &become, sizeof(now), out, e);
	for (size_t i = 0; i < PATCH_PV_OPS && r >= 0; i++)
		r = data_add(g->pv_ops + g->offset[i], &g->now[i], &g->to[i], sizeof(g->now[i]), out, e);
	return r;
}

/* Behind ENDBR64: a CPU that was put back to before an indirect branch still expects one. */
static int gate_find(const struct pv_group *g, uint64_t at, uint64_t *ret, struct err *e)
{
	static const uint8_t endbr[] = { 0xf3, 0x0f, 0x1e, 0xfa };
	uint8_t code[sizeof(endbr)];
	int r = guest_read(g->ctx->guest, at, code, sizeof(code), e);

	if (r >= 0)
		*ret = memcmp(code, endbr, sizeof(code)) == 0 ? at + sizeof(endbr) : at;
	return r;
}

static int exclusion_add(const struct pv_group *g, uint64_t start, bool gated, struct guest_symbol *s,
			 struct want_list *out, struct err *e)
{
	struct poke_exclusion x = { .start = start };
	uint64_t size;
	int r = 0;

	if (guest_symbol_at(g->ctx->guest, x.start, s, &size) < 0 || s->addr != x.start ||
	    !guest_is_text(g->ctx->guest, x.start, size))
		return pv_refuse(x.start, "the bounds of a slow path are not known", e);
	x.end = x.start + size;
	if (gated)
		r = gate_find(g, x.start, &x.gate, e);
	return r < 0 ? r : want_list_exclude(out, &x, e);
}

/* Whatever else the operations are, or become. */
static int targets_exclude(const struct pv_group *g, enum patch_pv_op op, bool gated, struct guest_symbol *s,
			   struct want_list *out, struct err *e)
{
	int r = g->now[op] == g->native[op] ? 0 : exclusion_add(g, g->now[op], gated, s, out, e);

	return r < 0 || g->to[op] == g->native[op] ? r : exclusion_add(g, g->to[op], gated, s, out, e);
}

static int exclusions_add(const struct pv_group *g, struct want_list *out, struct err *e)
{
	_cleanup_free_ struct guest_symbol *s = calloc(1, sizeof(*s));
	uint64_t start;
	size_t count;
	char type;
	int r = 0;

	if (!s)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	for (size_t i = 0; i < ARRAY_SIZE(slow_paths) && r >= 0; i++)
		if (guest_symbol_find(g->ctx->guest, slow_paths[i].name, &start, &type, &count) >= 0)
			r = exclusion_add(g, start, slow_paths[i].gated, s, out, e);
	if (r >= 0)
		r = targets_exclude(g, PATCH_PV_LOCK_SLOWPATH, true, s, out, e);
	return r < 0 ? r : targets_exclude(g, PATCH_PV_UNLOCK, false, s, out, e);
}

/* Whoever asks whether a vCPU is preempted gets a hint, which no lock rests on: that changes at any moment. */
static bool needs_drain(const struct pv_group *g)
{
	return g->to[PATCH_PV_LOCK_SLOWPATH] != g->now[PATCH_PV_LOCK_SLOWPATH] ||
	       g->to[PATCH_PV_UNLOCK] != g->now[PATCH_PV_UNLOCK];
}

static int wants_add(struct pv_group *g, struct want_list *out, struct err *e)
{
	if (memcmp(g->to, g->now, sizeof(g->to)) == 0)
		return 0;
	int r = needs_drain(g) ? pv_halves_check(g, e) : 0;
	if (r >= 0)
		r = image_lists(g->ctx, &g->image, e);
	if (r >= 0)
		r = sites_add(g, out, e);
	if (r >= 0)
		r = data_all_add(g, out, e);
	return r < 0 || !needs_drain(g) ? r : exclusions_add(g, out, e);
}

static int pv_group_expand(const struct kind_context *ctx, const struct patchfile_site *site, const struct function *fn,
			   uint64_t place, struct want_list *out, struct err *e)
{
	struct pv_group g = { .ctx = ctx };
	int r = pv_symbol(ctx, "pv_ops", &g.pv_ops, e);

	(void)fn;
	if (r >= 0 && place != g.pv_ops)
		return pv_refuse(place, "'at' must be pv_ops", e);
	if (r >= 0)
		r = group_place(&g, e);
	if (r >= 0)
		r = group_read(&g, e);
	if (r < 0 || site->choice == PATCH_CHOICE_PARAVIRT)
		return r < 0 ? r : pv_stay_paravirt(&g, e);
	r = pv_targets_take(&g, site, e);
	return r < 0 ? r : wants_add(&g, out, e);
}

const struct kind_ops kind_pv_group = {
	.kind = PATCH_KIND_PV_GROUP,
	.at_data = true,
	.expand = pv_group_expand,
};
