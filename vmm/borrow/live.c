// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The road of backends that trap while the VM runs (our own VMM): a hit is answered on the
 * vCPU's own thread, the others never notice. One of the backend's hit handlers from
 * attach to detach, beside that of a transaction. Must never hold a vCPU.
 */
#include <errno.h>
#include <time.h>

#include "vmm/borrow/borrow_private.h"

struct view {
	struct borrow_memory ops;
	struct backend *backend;
	size_t vcpu;
};

static int view_read(struct borrow_memory *m, uint64_t gva, void *buf, size_t len)
{
	struct view *v = container_of(m, struct view, ops);
	struct backend_fault ignored;

	return v->backend->ops->live->read_virtual(v->backend, v->vcpu, gva, buf, len, &ignored);
}

static int view_write(struct borrow_memory *m, uint64_t gva, const void *buf, size_t len)
{
	struct view *v = container_of(m, struct view, ops);
	struct backend_fault ignored;

	return v->backend->ops->live->write_virtual(v->backend, v->vcpu, gva, buf, len, &ignored);
}

static enum backend_verdict hit(struct backend_hit_handler *h, struct backend *backend, size_t vcpu,
				enum backend_trap kind, struct vcpu_regs *regs, struct backend_fault *fault)
{
	struct borrow *b = container_of(h, struct borrow, handler);
	struct view v = { .ops = { view_read, view_write }, .backend = backend, .vcpu = vcpu };

	(void)fault;
	if (kind != BACKEND_TRAP_KIND_HW)
		return BACKEND_HIT_FOREIGN;
	pthread_mutex_lock(&b->lock);
	enum borrow_verdict verdict = borrow_steps_hit(&b->steps, &v.ops, regs);
	pthread_cond_broadcast(&b->changed);
	pthread_mutex_unlock(&b->lock);
	return verdict == BORROW_NOT_OURS ? BACKEND_HIT_FOREIGN : BACKEND_HIT_RESUME;
}

static int set_traps(struct borrow *b, bool spare, struct err *e)
{
	uint64_t gvas[BORROW_SITES];
	size_t n = 0;

	for (size_t at = spare ? BORROW_AT_UNLOCK : 0; at < BORROW_SITES; at++)
		if (b->steps.site[at])
			gvas[n++] = b->steps.site[at];
	return b->backend->ops->live->trap_hw(b->backend, &b->handler, gvas, n, NULL, e);
}

static int attach(struct borrow *b, struct err *e)
{
	const struct backend_live_ops *live = b->backend->ops->live;

	b->handler.hit = hit;
	int r = live->arm(b->backend, &b->handler, e);
	if (r < 0)
		return r;
	r = set_traps(b, false, e);
	if (r < 0)
		return live->disarm(b->backend, &b->handler, NULL) < 0 ? -ENOTRECOVERABLE : r;
	b->attached = true;
	return 0;
}

/* disarm() that succeeds is the proof that no hit() is under way or will come. */
static int detach(struct borrow *b, struct err *e)
{
	const struct backend_live_ops *live = b->backend->ops->live;
	int r = live->trap_hw(b->backend, &b->handler, NULL, 0, NULL, e);
	int disarmed = live->disarm(b->backend, &b->handler, r < 0 ? NULL : e);

	b->attached = disarmed < 0;
	return r < 0 ? r : disarmed;
}

/* Holds b->lock. 0 woken or a slice has passed. */
static void wait_slice(struct borrow *b, uint64_t deadline_us)
{
	uint64_t until = now_us() + BORROW_SLICE_US;

	if (until > deadline_us)
		until = deadline_us;
	struct timespec at = { .tv_sec = (time_t)(until / 1000000), .tv_nsec = (long)(until % 1000000) * 1000 };
	pthread_cond_clockwait(&b->changed, &b->lock, CLOCK_MONOTONIC, &at);
}

static int wait_live(struct borrow *b, unsigned states, uint64_t deadline_us, struct err *e)
{
	uint64_t checked = now_us();
	int r = 0;

	pthread_mutex_lock(&b->lock);
	while (r >= 0 && !(states >> b->steps.state & 1)) {
		if (now_us() >= deadline_us) {
			r = -ETIMEDOUT;
			break;
		}
		wait_slice(b, deadline_us);
		if (now_us() - checked < BORROW_SLICE_US)
			continue;
		pthread_mutex_unlock(&b->lock); /* looking needs the vCPUs, and they may be on their way into hit() */
		r = borrow_check_guest(b, e);
		checked = now_us();
		pthread_mutex_lock(&b->lock);
	}
	pthread_mutex_unlock(&b->lock);
	return r;
}

const struct borrow_road borrow_road_live = {
	.attach = attach,
	.detach = detach,
	.spare = set_traps,
	.wait = wait_live,
};
