// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The recorder. A writer takes the next slot with one atomic add, fills it, and
 * marks it complete; slots are never taken back, so there is nothing to wait
 * for. Must never block, and never be written to after timeline_free().
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "vmm/poke/timeline.h"

struct slot {
	struct timeline_event event;
	atomic_bool complete;
};

struct pool {
	struct slot *slots;
	size_t max;
	atomic_size_t taken; /* may pass max: the excess is what was lost */
};

struct timeline {
	struct pool engine, vcpus;
};

static int pool_init(struct pool *pool, size_t max)
{
	pool->slots = calloc(max, sizeof(*pool->slots));
	pool->max = max;
	return pool->slots ? 0 : -ENOMEM;
}

struct timeline *timeline_new(size_t max)
{
	_cleanup_(timeline_free) struct timeline *t = calloc(1, sizeof(*t));

	if (max < 1 || max > TIMELINE_EVENTS_MAX)
		max = TIMELINE_EVENTS_MAX;
	if (!t || pool_init(&t->engine, TIMELINE_ENGINE_MAX) < 0 || pool_init(&t->vcpus, max) < 0)
		return NULL;
	return TAKE_PTR(t);
}

void timeline_free(struct timeline *t)
{
	if (!t)
		return;
	free(t->engine.slots);
	free(t->vcpus.slots);
	free(t);
}

/* Labels hold symbol names of the guest: nothing of them may upset a terminal, JSON or XML. */
static void copy_text(char *to, const char *text)
{
	size_t i = 0;

	for (; text && text[i] && i < TIMELINE_TEXT_MAX - 1; i++)
		to[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
	to[i] = '\0';
}

void timeline_add(struct timeline *t, enum timeline_kind kind, int vcpu, uint64_t start_us, uint64_t end_us,
		  uint64_t gva, const char *text)
{
	if (!t || vcpu < TIMELINE_ENGINE || vcpu >= TIMELINE_VCPUS_MAX || (unsigned)kind >= TIMELINE_KIND_COUNT)
		return;
	struct pool *pool = vcpu == TIMELINE_ENGINE ? &t->engine : &t->vcpus;
	size_t i = atomic_fetch_add_explicit(&pool->taken, 1, memory_order_relaxed);

	if (i >= pool->max)
		return;
	struct slot *slot = &pool->slots[i];
	slot->event = (struct timeline_event){ .start_us = start_us,
					       .end_us = end_us < start_us ? start_us : end_us,
					       .gva = gva,
					       .vcpu = vcpu,
					       .kind = kind };
	copy_text(slot->event.text, text);
	atomic_store_explicit(&slot->complete, true, memory_order_release);
}

static void pool_read(struct pool *pool, struct timeline_record *r)
{
	size_t taken = atomic_load_explicit(&pool->taken, memory_order_relaxed);
	size_t n = taken < pool->max ? taken : pool->max;

	r->lost += taken - n;
	for (size_t i = 0; i < n; i++)
		if (atomic_load_explicit(&pool->slots[i].complete, memory_order_acquire))
			r->events[r->n++] = pool->slots[i].event;
}

/* The longer one first where two begin together: a stage before what happens in it. */
static int by_start(const void *left, const void *right)
{
	const struct timeline_event *a = left, *b = right;

	if (a->start_us != b->start_us)
		return a->start_us < b->start_us ? -1 : 1;
	if (a->end_us != b->end_us)
		return a->end_us > b->end_us ? -1 : 1;
	return a->vcpu - b->vcpu;
}

int timeline_read(struct timeline *t, struct timeline_record *ret, struct err *e)
{
	struct timeline_record r = { 0 };

	r.events = calloc(t->engine.max + t->vcpus.max, sizeof(*r.events));
	if (!r.events)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	pool_read(&t->engine, &r);
	pool_read(&t->vcpus, &r);
	qsort(r.events, r.n, sizeof(*r.events), by_start);
	for (size_t i = 0; i < r.n; i++)
		if (r.events[i].vcpu >= (int)r.vcpus)
			r.vcpus = (size_t)r.events[i].vcpu + 1;
	*ret = r;
	return 0;
}

void timeline_record_clear(struct timeline_record *r)
{
	free(r->events);
	*r = (struct timeline_record){ 0 };
}

const char *timeline_kind_name(enum timeline_kind kind)
{
	static const char *const names[TIMELINE_KIND_COUNT] = {
		[TIMELINE_STAGE] = "stage", [TIMELINE_BARRIER] = "barrier", [TIMELINE_FLIP] = "flip",
		[TIMELINE_SCAN] = "scan",   [TIMELINE_PAUSE] = "pause",	    [TIMELINE_KICK] = "kick",
		[TIMELINE_TRAP] = "trap",   [TIMELINE_HOLD] = "hold",	    [TIMELINE_FAULT] = "fault",
		[TIMELINE_NMI] = "nmi",
	};

	return (unsigned)kind < TIMELINE_KIND_COUNT ? names[kind] : "?";
}
