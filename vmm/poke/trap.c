// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The answer to a vCPU at a trap; see trap.h. Order of preference: execute by hand
 * (the new code from a first boundary, as Linux does; the old code inside a range,
 * where a context that was already there has to get out), else hold. Must never
 * claim a trap of somebody else: a kprobe of the guest or a debugger in its user mode
 * gets its #BP as if we were not there.
 */
#include "vmm/poke/trap.h"

#include <errno.h>
#include <string.h>

#include "vmm/poke/timeline.h"
#include "vmm/vcpu.h"

#define EFER_LMA  (UINT64_C(1) << 10)
#define RFLAGS_TF (UINT64_C(1) << 8)

/* One hit, while it is answered. */
struct hit {
	struct arch_access memory;
	struct poke_traps *traps;
	struct backend *backend;
	size_t vcpu;
	enum backend_trap kind;
	const struct poke_site *site;
	const struct poke_walk *walk;
	size_t offset;
	bool trap_there; /* the trap byte is still in memory */
	const char *answer; /* for the timeline; NULL: the verdict says it all */
};

static void fault_in(const struct backend_fault *from, struct arch_fault *to)
{
	*to = (struct arch_fault){ from->vector, from->has_error_code, from->error_code, from->cr2 };
}

static int hit_read(struct arch_access *a, uint64_t gva, void *buf, size_t len, struct arch_fault *fault)
{
	struct hit *h = container_of(a, struct hit, memory);
	struct backend_fault why = { 0 };
	int r = h->backend->ops->live->read_virtual(h->backend, h->vcpu, gva, buf, len, &why);

	if (r < 0)
		fault_in(&why, fault);
	return r < 0 ? -EFAULT : 0;
}

static int hit_write(struct arch_access *a, uint64_t gva, const void *buf, size_t len, struct arch_fault *fault)
{
	struct hit *h = container_of(a, struct hit, memory);
	struct backend_fault why = { 0 };
	int r = h->backend->ops->live->write_virtual(h->backend, h->vcpu, gva, buf, len, &why);

	if (r < 0)
		fault_in(&why, fault);
	return r < 0 ? -EFAULT : 0;
}

/* The site with a boundary at rip, or NULL. Sites are sorted and do not overlap. */
static bool hit_find(struct hit *h, uint64_t rip)
{
	const struct poke_plan *plan = h->traps->plan;
	size_t lo = 0, hi = plan->n_sites;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct poke_site *site = &plan->sites[mid];

		if (rip < site->gva) {
			hi = mid;
		} else if (rip - site->gva >= site->len) {
			lo = mid + 1;
		} else {
			h->site = site;
			h->walk = &h->traps->walks[mid];
			h->offset = rip - site->gva;
			return site->boundaries >> h->offset & 1;
		}
	}
	return false;
}

static bool byte_is_ours(const struct arch_ops *arch, const struct poke_site *site, size_t i, uint8_t found)
{
	return found == site->old_bytes[i] || found == site->new_bytes[i] ||
	       ((site->boundaries >> i & 1) && found == arch->trap[0]);
}

/*
 * The address alone proves nothing: the same one may be mapped to something else in
 * the address space this vCPU runs in. What it would fetch there must be our site in
 * some stage of its change.
 */
static bool hit_is_our_site(struct hit *h)
{
	const struct arch_ops *arch = h->traps->arch;
	uint8_t found[POKE_SITE_LEN_MAX];
	struct arch_fault ignored;

	if (hit_read(&h->memory, h->site->gva, found, h->site->len, &ignored) < 0)
		return false;
	for (size_t i = 0; i < h->site->len; i++)
		if (!byte_is_ours(arch, h->site, i, found[i]))
			return false;
	h->trap_there = h->kind == BACKEND_TRAP_KIND_INT3 && found[h->offset] == arch->trap[0];
	return true;
}

static bool hit_claim(struct hit *h, const struct vcpu_regs *regs)
{
	return vcpu_cpl(regs) == 0 && (regs->efer & EFER_LMA) && hit_find(h, regs->rip) && hit_is_our_site(h);
}

/*
 * The slot was found in the kernel's address space. With page tables of its own for user mode
 * (KPTI) entry code also runs in another one, where most of the text is not mapped.
 */
static bool slot_is_there(struct hit *h, const struct poke_copy *c)
{
	uint8_t found[POKE_SLOT_LEN];
	struct arch_fault ignored;

	return hit_read(&h->memory, c->slot.gva, found, c->len, &ignored) == 0 && memcmp(found, c->bytes, c->len) == 0;
}

/* TF of its own would be mixed up with the step's. */
static bool hit_step(struct hit *h, bool is_new, struct vcpu_regs *regs)
{
	size_t site = (size_t)(h->site - h->traps->plan->sites);
	const struct poke_copy *c = regs->rflags & RFLAGS_TF ? NULL : poke_copy_find(h->traps, site, h->offset, is_new);

	if (!c || !slot_is_there(h, c))
		return false;
	regs->rip = c->slot.gva;
	atomic_fetch_add(&h->traps->stepped, 1);
	return true;
}

static enum backend_verdict hit_walk(struct hit *h, const uint8_t *bytes, struct vcpu_regs *regs,
				     struct backend_fault *fault)
{
	struct arch_fault why = { 0 };
	int r = poke_walk(h->traps->arch, h->site, bytes, regs, &h->memory, &why);

	if (r == -EOPNOTSUPP)
		return BACKEND_HIT_HOLD;
	h->answer = bytes == h->site->new_bytes ? "new code by hand" : "old code by hand";
	if (r < 0)
		*fault = (struct backend_fault){ why.vector, why.has_error_code, why.error_code, why.cr2 };
	return r < 0 ? BACKEND_HIT_FAULT : BACKEND_HIT_RESUME;
}

/*
 * A vCPU at the first boundary of a site of mode staged. New before old, so that
 * contexts inside a range only get fewer. Old only while no vCPU can have fetched
 * the new bytes: the trap is still in memory.
 */
static enum backend_verdict at_entry_staged(struct hit *h, struct vcpu_regs *regs, struct backend_fault *fault)
{
	bool one = h->site->boundaries == 1;
	bool old_allowed = h->traps->phase == POKE_PHASE_GATHER || (one && h->trap_there);

	if (h->walk->new_whole)
		return hit_walk(h, h->site->new_bytes, regs, fault);
	if (h->site->new_boundaries == 1 && hit_step(h, true, regs))
		return BACKEND_HIT_STEP;
	if (old_allowed && h->walk->old_whole)
		return hit_walk(h, h->site->old_bytes, regs, fault);
	return one && old_allowed && hit_step(h, false, regs) ? BACKEND_HIT_STEP : BACKEND_HIT_HOLD;
}

/*
 * Held: nobody passes a site from the first trap to the last byte. Only while contexts
 * have still to leave a range may the old code go on, or who holds up those contexts
 * could itself be held up here; nobody has seen a new byte then.
 */
static enum backend_verdict at_entry_held(struct hit *h, struct vcpu_regs *regs, struct backend_fault *fault)
{
	bool gathering = h->traps->phase == POKE_PHASE_GATHER && h->traps->plan->needs_quiescence;

	return gathering && h->walk->old_whole ? hit_walk(h, h->site->old_bytes, regs, fault) : BACKEND_HIT_HOLD;
}

/* Inside a range: out of it on the old code. A copy does one instruction, and the vCPU is at the next trap. */
static enum backend_verdict at_inside(struct hit *h, struct vcpu_regs *regs, struct backend_fault *fault)
{
	if (h->walk->old_from >> h->offset & 1)
		return hit_walk(h, h->site->old_bytes, regs, fault);
	return hit_step(h, false, regs) ? BACKEND_HIT_STEP : BACKEND_HIT_HOLD;
}

static enum backend_verdict hit_decide(struct hit *h, struct vcpu_regs *regs, struct backend_fault *fault)
{
	if (h->offset > 0)
		return at_inside(h, regs, fault);
	if (h->traps->phase == POKE_PHASE_BACK)
		return h->walk->old_whole ? hit_walk(h, h->site->old_bytes, regs, fault) : BACKEND_HIT_HOLD;
	if (h->traps->plan->mode == POKE_MODE_HELD)
		return at_entry_held(h, regs, fault);
	return at_entry_staged(h, regs, fault);
}

static void hold_count(struct poke_traps *traps, size_t vcpu, uint64_t rip, bool held, uint64_t now)
{
	struct poke_hold *hold = &traps->holds[vcpu];

	hold->rip = rip;
	if (held && !hold->since) {
		hold->since = now;
		atomic_fetch_add(&traps->held, 1);
	} else if (!held && hold->since) {
		uint64_t took = now - hold->since, longest = atomic_load(&traps->held_us);
		while (took > longest && !atomic_compare_exchange_weak(&traps->held_us, &longest, took))
			;
		hold->since = 0;
	}
}

/*
 * Not at a trap of this transaction. It may have been one of the transaction before,
 * whose exit is answered only now: where the trap is gone, what is there now is executed,
 * as if the vCPU had come a moment later. A debug-register trap is gone with the
 * registers; the guest's own ones are not reported while ours are in use.
 */
static enum backend_verdict not_ours(struct hit *h, const struct vcpu_regs *regs)
{
	struct arch_fault ignored;
	uint8_t byte;

	if (h->kind == BACKEND_TRAP_KIND_HW)
		return BACKEND_HIT_RESUME;
	if (vcpu_cpl(regs) || hit_read(&h->memory, regs->rip, &byte, 1, &ignored) < 0)
		return BACKEND_HIT_FOREIGN;
	return byte == h->traps->arch->trap[0] ? BACKEND_HIT_FOREIGN : BACKEND_HIT_RESUME;
}

/*
 * Phase over: a vCPU that left guest mode before the last trap was taken back, and is
 * asked only now, executes what is there. A trap that is there now is somebody else's.
 */
static enum backend_verdict hit_answer(struct hit *h, struct vcpu_regs *regs, struct backend_fault *fault)
{
	struct poke_traps *traps = h->traps;
	const struct poke_hold *hold = &traps->holds[h->vcpu];

	if (!traps->plan) /* abandoned: what is in memory is not known */
		return BACKEND_HIT_HOLD;
	if (hold->since && hold->rip != regs->rip) /* walked out meanwhile: it is at no trap any more */
		return BACKEND_HIT_RESUME;
	if (!hit_claim(h, regs))
		return not_ours(h, regs);
	if (traps->phase == POKE_PHASE_OVER)
		return h->trap_there ? BACKEND_HIT_FOREIGN : BACKEND_HIT_RESUME;
	if (!hold->since)
		atomic_fetch_add(&traps->hits, 1);
	return hit_decide(h, regs, fault);
}

/* A vCPU that asks again after a release came to its trap long ago: of that the hold tells. */
static void show(const struct hit *h, uint64_t start, uint64_t rip, enum backend_verdict verdict, bool first)
{
	static const char *const answers[] = {
		[BACKEND_HIT_FOREIGN] = "not ours",
		[BACKEND_HIT_RESUME] = "late: what is there now",
		[BACKEND_HIT_STEP] = "stepped as a copy",
		[BACKEND_HIT_HOLD] = "held",
		[BACKEND_HIT_FAULT] = "fault",
	};
	struct timeline *line = h->traps->timeline;
	int vcpu = (int)h->vcpu;
	uint64_t now = now_us();

	if (first)
		timeline_add(line, TIMELINE_TRAP, vcpu, start, now, rip, h->answer ? h->answer : answers[verdict]);
	else if (verdict != BACKEND_HIT_HOLD)
		timeline_add(line, TIMELINE_HOLD, vcpu, h->traps->holds[vcpu].since, now, rip, NULL);
	if (verdict == BACKEND_HIT_FAULT)
		timeline_add(line, TIMELINE_FAULT, vcpu, now, now, rip, "delivered to the guest");
}

static enum backend_verdict hit(struct backend_hit_handler *handler, struct backend *b, size_t vcpu,
				enum backend_trap kind, struct vcpu_regs *regs, struct backend_fault *fault)
{
	struct poke_traps *traps = container_of(handler, struct poke_traps, handler);
	struct hit h = { .memory = { .read = hit_read, .write = hit_write },
			 .traps = traps,
			 .backend = b,
			 .vcpu = vcpu,
			 .kind = kind };
	enum backend_verdict verdict = BACKEND_HIT_FOREIGN;
	uint64_t start = now_us(), rip = regs->rip;

	if (vcpu >= traps->n_vcpus)
		return BACKEND_HIT_FOREIGN;
	pthread_rwlock_rdlock(&traps->lock);
	verdict = hit_answer(&h, regs, fault);
	if (traps->timeline)
		show(&h, start, rip, verdict, !traps->holds[vcpu].since);
	pthread_rwlock_unlock(&traps->lock);
	hold_count(traps, vcpu, regs->rip, verdict == BACKEND_HIT_HOLD, now_us());
	return verdict;
}

/* The engine is one against many: readers that keep coming must not starve it. */
static int lock_init(pthread_rwlock_t *lock)
{
	pthread_rwlockattr_t attr;
	int r = pthread_rwlockattr_init(&attr);

	if (r)
		return -r;
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	r = pthread_rwlock_init(lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	return -r;
}

int poke_traps_new(const struct arch_ops *arch, const struct poke_plan *plan, size_t n_vcpus, struct poke_traps **ret,
		   struct err *e)
{
	struct poke_traps *traps = calloc(1, sizeof(*traps));
	int r = traps ? lock_init(&traps->lock) : -ENOMEM;

	if (r < 0) {
		free(traps);
		return err_set(e, ERR_FAILED, -r, "", "out of memory");
	}
	traps->handler.hit = hit;
	traps->arch = arch;
	traps->plan = plan;
	traps->n_vcpus = n_vcpus;
	traps->walks = calloc(plan->n_sites, sizeof(*traps->walks));
	traps->holds = calloc(n_vcpus, sizeof(*traps->holds));
	if (!traps->walks || !traps->holds) {
		poke_traps_free(traps);
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	}
	for (size_t i = 0; i < plan->n_sites; i++)
		poke_walk_prepare(arch, &plan->sites[i], &traps->walks[i]);
	r = poke_copies_prepare(traps, e);
	if (r < 0) {
		poke_traps_free(traps);
		return r;
	}
	*ret = traps;
	return 0;
}

void poke_traps_free(struct poke_traps *traps)
{
	if (!traps)
		return;
	pthread_rwlock_destroy(&traps->lock);
	free(traps->walks);
	free(traps->copies);
	free(traps->holds);
	free(traps);
}

void poke_traps_abandon(struct poke_traps *traps)
{
	static _Atomic(struct poke_traps *) abandoned;

	pthread_rwlock_wrlock(&traps->lock);
	traps->plan = NULL; /* the caller's, soon gone */
	traps->timeline = NULL;
	pthread_rwlock_unlock(&traps->lock);
	traps->next = atomic_exchange(&abandoned, traps);
}

void poke_traps_phase(struct poke_traps *traps, enum poke_phase phase)
{
	pthread_rwlock_wrlock(&traps->lock);
	traps->phase = phase;
	pthread_rwlock_unlock(&traps->lock);
}

/* No hit() is under way: the holds are nobody's but ours now. */
void poke_traps_let_go(struct poke_traps *traps, uint64_t when_us)
{
	for (size_t i = 0; i < traps->n_vcpus; i++) {
		const struct poke_hold hold = traps->holds[i];
		uint64_t until = when_us > hold.since ? when_us : hold.since;

		if (!hold.since)
			continue;
		timeline_add(traps->timeline, TIMELINE_HOLD, (int)i, hold.since, until, hold.rip, NULL);
		hold_count(traps, i, hold.rip, false, until);
	}
}

void poke_traps_count(struct poke_traps *traps, struct poke_stats *stats)
{
	stats->traps = atomic_load(&traps->hits);
	stats->held = atomic_load(&traps->held);
	stats->copied = atomic_load(&traps->stepped);
	stats->held_us = atomic_load(&traps->held_us);
}
