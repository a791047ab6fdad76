// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Counting while vCPUs run: the one that comes to the debug register exits, is counted
 * on its own thread and goes on. Where the arch can, the instruction is done by hand, so
 * that the vCPU is past it when it enters again; else the backend gets it past
 * (RFLAGS.RF, or a step). Must never claim a trap of the guest's own.
 */
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/util.h"
#include "vmm/poke/count.h"
#include "vmm/vcpu.h"

#define TICK_MS 50
#define DISARM_ROUNDS 3
#define RFLAGS_TF (UINT64_C(1) << 8)

struct counter {
	struct backend_hit_handler handler;
	const struct arch_ops *arch;
	struct count_request request; /* a copy: it may outlive the caller */
	bool by_hand;
	atomic_uint_fast64_t hits;
	struct counter *next; /* abandoned ones */
};

struct hit_memory {
	struct arch_access ops;
	struct backend *backend;
	size_t vcpu;
};

static int hit_read(struct arch_access *a, uint64_t gva, void *buf, size_t len, struct arch_fault *fault)
{
	struct hit_memory *m = container_of(a, struct hit_memory, ops);
	struct backend_fault ignored;

	(void)fault; /* one that faults is left to the CPU */
	return m->backend->ops->live->read_virtual(m->backend, m->vcpu, gva, buf, len, &ignored) < 0 ? -EFAULT : 0;
}

static int hit_write(struct arch_access *a, uint64_t gva, const void *buf, size_t len, struct arch_fault *fault)
{
	struct hit_memory *m = container_of(a, struct hit_memory, ops);
	struct backend_fault ignored;

	(void)fault;
	return m->backend->ops->live->write_virtual(m->backend, m->vcpu, gva, buf, len, &ignored) < 0 ? -EFAULT : 0;
}

/* The bytes that were planned for, and nothing the guest has made of them since (ftrace, a static branch). */
static bool still_there(const struct counter *c, struct arch_access *memory)
{
	uint8_t now[ARCH_INSN_MAX];
	struct arch_fault ignored;

	return memory->read(memory, c->request.gva, now, c->request.insn_len, &ignored) == 0 &&
	       memcmp(now, c->request.insn, c->request.insn_len) == 0;
}

/* Not done by hand: registers stay, and the backend takes the vCPU past the trap. */
static void go_past(const struct counter *c, struct hit_memory *m, struct vcpu_regs *regs)
{
	struct vcpu_regs after = *regs;
	struct arch_fault ignored;

	if (!c->by_hand || (regs->rflags & RFLAGS_TF) || !still_there(c, &m->ops))
		return;
	if (c->arch->emulate(c->request.insn, c->request.insn_len, &after, &m->ops, &ignored) == 0)
		*regs = after;
}

static enum backend_verdict hit(struct backend_hit_handler *handler, struct backend *b, size_t vcpu,
				enum backend_trap kind, struct vcpu_regs *regs, struct backend_fault *fault)
{
	struct counter *c = container_of(handler, struct counter, handler);
	struct hit_memory m = { .ops = { .read = hit_read, .write = hit_write }, .backend = b, .vcpu = vcpu };

	(void)fault;
	if (kind != BACKEND_TRAP_KIND_HW || regs->rip != c->request.gva || vcpu_cpl(regs))
		return BACKEND_HIT_FOREIGN;
	atomic_fetch_add_explicit(&c->hits, 1, memory_order_relaxed);
	go_past(c, &m, regs);
	return BACKEND_HIT_RESUME;
}

static int disarm_once(struct backend *b, struct counter *c, struct err *e)
{
	struct backend_barrier ignored;
	int r = b->ops->live->trap_hw(b, &c->handler, NULL, 0, &ignored, e);

	return r < 0 ? r : b->ops->live->disarm(b, &c->handler, e);
}

/* A counter that could not be taken back may still be asked: it stays. */
static void abandon(struct counter *c)
{
	static _Atomic(struct counter *) abandoned;

	c->next = atomic_exchange(&abandoned, c);
}

static int disarm(struct backend *b, struct counter *c, struct err *e)
{
	struct err why = { 0 };
	int r = -EIO;

	for (int i = 0; i < DISARM_ROUNDS && r < 0; i++)
		r = disarm_once(b, c, &why);
	if (r >= 0)
		return 0;
	abandon(c);
	return err_set(e, ERR_ATTENTION, EUCLEAN, "disarm", "the debug registers could not be cleared: %.300s", why.text);
}

static int arm(struct backend *b, struct counter *c, struct err *e)
{
	struct backend_barrier ignored;
	int r = b->ops->live->arm(b, &c->handler, e);

	return r < 0 ? r : b->ops->live->trap_hw(b, &c->handler, &c->request.gva, 1, &ignored, e);
}

static void watch_hits(struct counter *c, struct count_watch *watch, struct count_figures *f)
{
	uint64_t start = now_us(), now = start;
	struct count_rate rate = { .max = c->request.max_rate, .since_us = start };

	for (f->end = COUNT_END_TIME; now - start < c->request.duration_us; now = now_us()) {
		uint64_t left = c->request.duration_us - (now - start);

		poll(NULL, 0, left < TICK_MS * 1000u ? (int)(left / 1000) + 1 : TICK_MS);
		f->hits = atomic_load(&c->hits);
		f->elapsed_us = now_us() - start;
		if (count_rate_passed(&rate, f->hits, now_us())) {
			f->end = COUNT_END_RATE;
			break;
		}
		if (watch->tick(watch, f)) {
			f->end = COUNT_END_ASKED;
			break;
		}
	}
	f->elapsed_us = now_us() - start;
}

int count_live(struct backend *b, const struct arch_ops *arch, const struct count_request *request,
	       struct count_watch *watch, struct count_figures *ret, struct err *e)
{
	struct counter *c = calloc(1, sizeof(*c));

	if (!c)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	c->handler.hit = hit;
	c->arch = arch;
	c->request = *request;
	c->by_hand = arch->emulates(request->insn, request->insn_len);
	int r = arm(b, c, e);
	if (r >= 0)
		watch_hits(c, watch, ret);
	int cleared = disarm(b, c, r < 0 ? NULL : e);
	ret->hits = atomic_load(&c->hits); /* those under way when the time was over, too */
	if (cleared >= 0)
		free(c);
	return r < 0 ? r : cleared;
}
