// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See shim.h. Every function passes its arguments on and its result back; must never
 * keep a call from the backend, nor be there between two runs.
 */
#include "tests/stress/shim.h"

static struct shim *on;

void shim_fire(struct shim *s, const char *before)
{
	if (s->fired)
		return;
	s->fired = true;
	s->before = before;
	s->failed = s->fire(s, &s->why);
}

static const struct backend_ops *before(const char *name)
{
	if (on->calls++ == on->fire_at)
		shim_fire(on, name);
	return on->real;
}

static int shim_arm(struct backend *b, struct backend_hit_handler *h, struct err *e)
{
	return before("arm")->live->arm(b, h, e);
}

static int shim_disarm(struct backend *b, struct backend_hit_handler *h, struct err *e)
{
	return before("disarm")->live->disarm(b, h, e);
}

static int shim_trap_hw(struct backend *b, struct backend_hit_handler *h, const uint64_t *gvas, size_t n,
			struct backend_barrier *ret, struct err *e)
{
	return before("trap_hw")->live->trap_hw(b, h, gvas, n, ret, e);
}

static int shim_live_write(struct backend *b, uint64_t gpa, const void *buf, size_t len, struct err *e)
{
	return before("store")->live->write(b, gpa, buf, len, e);
}

static int shim_barrier(struct backend *b, const uint64_t *gpas, size_t n, struct backend_barrier *ret, struct err *e)
{
	return before("barrier")->live->barrier(b, gpas, n, ret, e);
}

static int shim_flip(struct backend *b, const struct backend_flip *flips, size_t n, struct backend_barrier *ret,
		     struct err *e)
{
	return before("flip")->live->flip(b, flips, n, ret, e);
}

static int shim_release(struct backend *b, struct err *e)
{
	return before("release")->live->release(b, e);
}

static int shim_write(struct backend *b, uint64_t gpa, const void *buf, size_t len, struct err *e)
{
	return before("write")->write(b, gpa, buf, len, e);
}

static int shim_pause(struct backend *b, struct backend_pause_hook *hook, bool *ret_was_running, struct err *e)
{
	return before("pause")->pause(b, hook, ret_was_running, e);
}

static int shim_resume(struct backend *b, struct err *e)
{
	return before("resume")->resume(b, e);
}

void shim_on(struct shim *s, struct backend *b)
{
	s->real = b->ops;
	s->backend = b;
	s->ops = *b->ops;
	s->live = *b->ops->live;
	s->live.arm = shim_arm;
	s->live.disarm = shim_disarm;
	s->live.trap_hw = shim_trap_hw;
	s->live.write = shim_live_write;
	s->live.barrier = shim_barrier;
	s->live.flip = shim_flip;
	s->live.release = shim_release;
	s->ops.live = &s->live;
	s->ops.write = shim_write;
	s->ops.pause = shim_pause;
	s->ops.resume = shim_resume;
	on = s;
	b->ops = &s->ops;
}

void shim_off(struct shim *s)
{
	s->backend->ops = s->real;
	on = NULL;
}
