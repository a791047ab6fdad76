// SPDX-License-Identifier: GPL-2.0-or-later
/* The live side of fake_borrow.h: a thread of ours is the vCPU. */
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "tests/fake/fake_borrow.h"

static struct fake_borrow *fake(struct backend *b)
{
	return container_of(b, struct fake_borrow, base);
}

static void *vcpu_thread(void *arg)
{
	struct fake_borrow *f = arg;
	struct backend_fault fault;

	for (;;) {
		pthread_mutex_lock(&f->lock);
		bool stop = f->stop;
		if (!stop && f->handler && fake_borrow_trapped(f)) {
			uint64_t rip = f->regs.rip;
			if (f->handler->hit(f->handler, &f->base, 0, BACKEND_TRAP_KIND_HW, &f->regs, &fault) !=
			    BACKEND_HIT_RESUME)
				fake_borrow_broke(f, "the guest gets a trap of ours");
			if (f->regs.rip == rip)
				fake_borrow_step(f);
		} else if (!stop) {
			fake_borrow_step(f);
		}
		pthread_mutex_unlock(&f->lock);
		if (stop)
			return NULL;
		sched_yield();
	}
}

static int fl_arm(struct backend *b, struct backend_hit_handler *h, struct err *e)
{
	(void)e;
	pthread_mutex_lock(&fake(b)->lock);
	fake(b)->handler = h;
	pthread_mutex_unlock(&fake(b)->lock);
	return 0;
}

static int fl_disarm(struct backend *b, struct backend_hit_handler *h, struct err *e)
{
	(void)h;
	return fl_arm(b, NULL, e);
}

static int fl_trap_hw(struct backend *b, struct backend_hit_handler *h, const uint64_t *gvas, size_t n,
		      struct backend_barrier *ret, struct err *e)
{
	struct fake_borrow *f = fake(b);

	(void)h;
	(void)ret;
	(void)e;
	pthread_mutex_lock(&f->lock);
	for (size_t i = 0; i < n; i++)
		f->traps[i] = gvas[i];
	f->n_traps = n;
	pthread_mutex_unlock(&f->lock);
	return 0;
}

int fake_borrow_live_regs(struct backend *b, size_t vcpu, struct vcpu_regs *ret, struct err *e)
{
	pthread_mutex_lock(&fake(b)->lock);
	int r = fake_borrow_regs(b, vcpu, ret, e);
	pthread_mutex_unlock(&fake(b)->lock);
	return r;
}

static int stack_access(struct fake_borrow *f, uint64_t gva, void *to, const void *from, size_t len)
{
	if (gva < FB_STACK || gva > (FB_STACK + FB_STACK_SIZE) - len)
		return -EFAULT;
	uint8_t *at = f->image.ram + FB_STACK_PA + (gva - FB_STACK);
	memcpy(to ? to : at, to ? at : from, len);
	return 0;
}

static int fl_read(struct backend *b, size_t vcpu, uint64_t gva, void *buf, size_t len, struct backend_fault *fault)
{
	(void)vcpu;
	(void)fault;
	return stack_access(fake(b), gva, buf, NULL, len);
}

static int fl_write(struct backend *b, size_t vcpu, uint64_t gva, const void *buf, size_t len,
		    struct backend_fault *fault)
{
	(void)vcpu;
	(void)fault;
	return stack_access(fake(b), gva, NULL, buf, len);
}

const struct backend_live_ops fake_borrow_live = {
	.arm = fl_arm,
	.disarm = fl_disarm,
	.trap_hw = fl_trap_hw,
	.read_virtual = fl_read,
	.write_virtual = fl_write,
};

void fake_borrow_start(struct fake_borrow *f)
{
	if (pthread_create(&f->thread, NULL, vcpu_thread, f))
		fake_borrow_broke(f, "no thread");
}

void fake_borrow_stop(struct fake_borrow *f)
{
	pthread_mutex_lock(&f->lock);
	f->stop = true;
	pthread_mutex_unlock(&f->lock);
	pthread_join(f->thread, NULL);
}
