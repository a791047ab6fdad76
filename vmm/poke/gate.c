// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A gate before an excluded range that is never empty. Under a lock that is fought for some vCPU
 * is always in the lock's slow path, so waiting for a moment without one does not end; nor may
 * a vCPU that comes there be held, as who has the lock may wait for an interrupt that it has to answer. So
 * it waits at the gate the way virt_spin_lock() waits: a debug register stops it before the first
 * instruction, and it gets the lock if that is free and nobody is queued for it, the very thing the
 * caller's fast path tried, and returns; else it is put back before the call, where interrupts are
 * taken, and calls again. Those inside leave in their own order, nobody else gets in, everybody makes progress.
 * What shows that nobody is inside is the search in the pause, never the gate: whom it lets pass
 * costs another try. Must never take a lock word that holds anything but 0.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "vmm/poke/tx.h"
#include "vmm/vcpu.h"

#define EFER_LMA     (UINT64_C(1) << 10)
#define CALL_LEN     5 /* e8, then the distance from behind it */
#define WAIT_NS	     50000u /* in the host, before the call is made again; doubled ... */
#define WAIT_DOUBLED 4	    /* ... so many times in a row */
#define OPEN_ROUNDS  3
#define LOCK_FREE    0u
#define LOCK_TAKEN   1u

struct poke_gate {
	struct backend_hit_handler handler;
	struct poke_exclusion ranges[POKE_TRAPS_HW_MAX];
	uint64_t gvas[POKE_TRAPS_HW_MAX];
	size_t n;
	size_t n_vcpus;
	unsigned *tries; /* one per vCPU, used by its own thread only: in vain since it last got a lock */
	atomic_uint came;
	struct poke_gate *next; /* abandoned ones */
};

static const struct poke_exclusion *range_at(const struct poke_gate *g, uint64_t rip)
{
	for (size_t i = 0; i < g->n; i++)
		if (g->gvas[i] == rip)
			return &g->ranges[i];
	return NULL;
}

static bool lock_take(struct backend *b, size_t vcpu, uint64_t lock)
{
	const struct backend_live_ops *live = b->ops->live;
	struct backend_fault ignored;
	uint32_t word;

	if (lock % sizeof(word) || live->read_virtual(b, vcpu, lock, &word, sizeof(word), &ignored) < 0)
		return false;
	/* Looked at first: a locked instruction for each try would keep the line from who has the lock. */
	return word == LOCK_FREE && live->exchange_virtual(b, vcpu, lock, LOCK_FREE, LOCK_TAKEN, &ignored) == 1;
}

/* The call that led here, where it is one that can be made again with nothing but RIP and RSP put back. */
static bool call_find(struct backend *b, size_t vcpu, uint64_t back, uint64_t entry, uint64_t *ret)
{
	uint8_t code[CALL_LEN];
	struct backend_fault ignored;
	int32_t distance;

	if (b->ops->live->read_virtual(b, vcpu, back - CALL_LEN, code, sizeof(code), &ignored) < 0 || code[0] != 0xe8)
		return false;
	memcpy(&distance, code + 1, sizeof(distance));
	*ret = back - CALL_LEN;
	return back + (uint64_t)(int64_t)distance == entry;
}

/* Short: an interrupt for this vCPU waits as well. A signal that takes it out for something else ends it. */
static void wait_in_vain(struct poke_gate *g, size_t vcpu)
{
	unsigned doubled = g->tries[vcpu] < WAIT_DOUBLED ? g->tries[vcpu] : WAIT_DOUBLED;
	struct timespec wait = { .tv_nsec = (long)(WAIT_NS << doubled) };

	g->tries[vcpu]++;
	nanosleep(&wait, NULL);
}

static void leave(struct vcpu_regs *regs, uint64_t to)
{
	regs->rip = to;
	regs->gpr[VCPU_RSP] += sizeof(uint64_t);
}

/* RESUME where it stands: it goes in, as without a gate. */
static enum backend_verdict hit(struct backend_hit_handler *handler, struct backend *b, size_t vcpu,
				enum backend_trap kind, struct vcpu_regs *regs, struct backend_fault *fault)
{
	struct poke_gate *g = container_of(handler, struct poke_gate, handler);
	const struct poke_exclusion *range = range_at(g, regs->rip);
	uint64_t back, call;

	if (kind != BACKEND_TRAP_KIND_HW || !range || vcpu >= g->n_vcpus || vcpu_cpl(regs) || !(regs->efer & EFER_LMA))
		return BACKEND_HIT_FOREIGN;
	atomic_fetch_add_explicit(&g->came, 1, memory_order_relaxed);
	if (b->ops->live->read_virtual(b, vcpu, regs->gpr[VCPU_RSP], &back, sizeof(back), fault) < 0)
		return BACKEND_HIT_RESUME;
	if (lock_take(b, vcpu, regs->gpr[VCPU_RDI])) {
		g->tries[vcpu] = 0;
		leave(regs, back);
	} else if (call_find(b, vcpu, back, range->start, &call)) {
		leave(regs, call);
		wait_in_vain(g, vcpu);
	}
	return BACKEND_HIT_RESUME;
}

static void gate_free(struct poke_gate *g)
{
	free(g->tries);
	free(g);
}

static bool possible(const struct poke_tx *t)
{
	const struct backend_live_ops *live = t->backend->ops->live;

	/* Beside traps of the transaction's own a hit of the gate's would be theirs to answer (trap.c). */
	return live && live->exchange_virtual && (t->caps & BACKEND_TRAP_HW) && t->was_running && !t->armed &&
	       t->arch == &arch_x86_64;
}

static struct poke_gate *gate_new(const struct poke_tx *t)
{
	struct poke_gate *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->handler.hit = hit;
	g->n_vcpus = t->n_vcpus;
	g->tries = calloc(t->n_vcpus, sizeof(*g->tries));
	for (size_t i = 0; i < t->plan->n_exclusions && g->n < POKE_TRAPS_HW_MAX; i++) {
		if (!t->plan->exclusions[i].gate)
			continue;
		g->ranges[g->n] = t->plan->exclusions[i];
		g->gvas[g->n++] = t->plan->exclusions[i].gate;
	}
	if (!g->tries || !g->n) {
		gate_free(g);
		return NULL;
	}
	return g;
}

/* A gate that could not be taken back may still be asked: it stays. */
static void abandon(struct poke_gate *g)
{
	static _Atomic(struct poke_gate *) abandoned;

	g->next = atomic_exchange(&abandoned, g);
}

static int gate_end(struct poke_tx *t, struct poke_gate *g, struct err *e)
{
	const struct backend_live_ops *live = t->backend->ops->live;
	struct err why = { 0 };
	int r = -EIO;

	for (int i = 0; i < OPEN_ROUNDS && r < 0; i++) {
		r = live->trap_hw(t->backend, &g->handler, NULL, 0, NULL, &why);
		if (r >= 0)
			r = live->disarm(t->backend, &g->handler, &why);
	}
	t->stats.gated += atomic_load(&g->came);
	if (r >= 0) {
		gate_free(g);
		return 0;
	}
	abandon(g);
	return err_set(e, ERR_ATTENTION, EUCLEAN, "disarm", "the debug registers could not be cleared: %.300s", why.text);
}

/* Registers that others use (who counts, the guest's thread that is lent) are no failure: there is no gate then. */
int poke_gate_close(struct poke_tx *t, struct err *e)
{
	const struct backend_live_ops *live = t->backend->ops->live;
	struct poke_gate *g = t->gate_asked || !possible(t) ? NULL : gate_new(t);
	struct err ignored = { 0 };

	t->gate_asked = true;
	if (!g)
		return 0;
	if (live->arm(t->backend, &g->handler, &ignored) < 0) {
		gate_free(g);
		return 0;
	}
	if (live->trap_hw(t->backend, &g->handler, g->gvas, g->n, NULL, &ignored) < 0)
		return gate_end(t, g, e);
	t->gate = g;
	return 0;
}

int poke_gate_open(struct poke_tx *t, struct err *e)
{
	struct poke_gate *g = t->gate;

	t->gate = NULL;
	return g ? gate_end(t, g, e) : 0;
}
