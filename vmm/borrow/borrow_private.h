/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of struct borrow, shared by the files of vmm/borrow and nobody else. */
#ifndef VMPOKE_VMM_BORROW_PRIVATE_H
#define VMPOKE_VMM_BORROW_PRIVATE_H

#include <pthread.h>

#include "vmm/backend.h"
#include "vmm/borrow/borrow.h"
#include "vmm/borrow/functions.h"
#include "vmm/borrow/steps.h"
#include "vmm/guest/guest.h"
#include "vmm/guest/walk.h"

#define BORROW_SLICE_US 200000u /* between two looks whether the guest is still the same one */

/* How traps of this backend reach us. */
struct borrow_road {
	int (*attach)(struct borrow *b, struct err *e);
	int (*detach)(struct borrow *b, struct err *e);
	/* All traps, or those only that keep text_mutex. NULL: there is nothing to be gained. */
	int (*spare)(struct borrow *b, bool spare, struct err *e);
	/* Until the thread is in one of the states (bit mask), or deadline_us (now_us()): -ETIMEDOUT. */
	int (*wait)(struct borrow *b, unsigned states, uint64_t deadline_us, struct err *e);
};

struct borrow {
	struct backend *backend;
	struct guest *guest;
	const struct borrow_road *road;
	uint64_t function[BORROW_FUNCTION_COUNT];
	const char *asked; /* what the thread does now, for sentences */

	pthread_mutex_t lock; /* of steps: hits come on vCPU threads where the VM is not stopped */
	pthread_cond_t changed;
	struct borrow_steps steps;

	struct guest_memory memory;	    /* for walks of our own, see borrow_walk() */
	struct backend_hit_handler handler; /* live.c */
	bool attached;
	size_t traps; /* stopped.c: how many are set */
	uint64_t stopped_us, longest_stop_us; /* stopped.c */
	struct backend_pause_hook *hook;
	bool spared;
	uint64_t mutex, owner; /* text_mutex, and what it held when the thread had got it: a task */
};

extern const struct borrow_road borrow_road_stopped, borrow_road_live;

/* find.c: the places in the syscall function; fills steps.site[ENTRY, LEAVE]. */
int borrow_find_syscall(struct borrow *b, struct err *e);

/* -ESTALE when another kernel runs there by now, -ENOTCONN when none does. */
int borrow_check_guest(struct borrow *b, struct err *e);

/* Runs fn in the thread; asked names it. */
int borrow_ask(struct borrow *b, const char *asked, enum borrow_state want, uint64_t fn, const uint64_t *args, size_t n,
	       struct err *e);
/* text.c: f, which takes no argument, with text_mutex held. */
int borrow_call_kept(struct borrow *b, enum borrow_function f, uint64_t timeout_us, struct err *e);

/* Like borrow_wait() for any set of states; what a failed state means is told in *e. */
int borrow_await(struct borrow *b, unsigned states, uint64_t timeout_us, struct err *e);

static inline enum borrow_state borrow_state(struct borrow *b)
{
	pthread_mutex_lock(&b->lock);
	enum borrow_state state = b->steps.state;
	pthread_mutex_unlock(&b->lock);
	return state;
}

#endif
