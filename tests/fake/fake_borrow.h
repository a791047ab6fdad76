/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest with one thread that makes the syscall of vmm/borrow for ever: a kernel of a dozen
 * functions, executed one step at a time, with a text_mutex, payload memory in real page
 * tables, and a checker: every return goes where a return address says, callee-saved
 * registers come back as they were, nothing ends up in user mode with the mutex held.
 * Reached by stopping it or live. Traps that nobody answers are not felt.
 */
#ifndef VMPOKE_TESTS_FAKE_BORROW_H
#define VMPOKE_TESTS_FAKE_BORROW_H

#include <pthread.h>

#include "tests/fake/guest_image.h"
#include "vmm/backend.h"

#define FB_ENTRY      (IMAGE_BASE + 0x500) /* the syscall function: endbr64; nop; mov; ret */
#define FB_LEAVE      (FB_ENTRY + 16)
#define FB_CALLER     (IMAGE_BASE + 0x480)    /* where it returns to */
#define FB_STACK      (IMAGE_BASE + 0x100000) /* 16 KiB */
#define FB_STACK_SIZE 0x4000u
#define FB_STACK_PA   (IMAGE_RAM - FB_STACK_SIZE)
#define FB_MODULE     (IMAGE_BASE + 0x180000) /* payload memory */
#define FB_MUTEX      (IMAGE_BASE + 0xfc0)    /* text_mutex: its first word is the owner */

struct fake_borrow {
	struct backend base;
	struct guest_image image;
	struct vcpu_regs regs; /* of the thread; in user mode when cs is 0x33 */
	unsigned caps;
	bool paused, running;
	uint64_t traps[4];
	size_t n_traps;

	/* the guest */
	uint64_t nonce[2];
	uint64_t depth;	      /* of the stack, changes with each syscall as with randomize_kstack_offset */
	bool mutex_held;      /* by the thread */
	bool mutex_elsewhere; /* by another task: the thread waits in lock() */
	unsigned sleeping;    /* steps msleep() still takes */
	uint64_t module_size; /* allocated */
	bool odd_pages;	      /* set_memory_x() lies */
	bool clobber;	      /* int_sqrt() does not give RBX back */
	bool never;	      /* msleep() does not end */
	unsigned syscalls, locks, sleeps, waits;
	const char *broken; /* first rule that was broken */

	/* called before each step; may change anything */
	void (*before)(struct fake_borrow *f);
	unsigned steps, die_at;
	unsigned writes_running;

	/* live */
	pthread_t thread;
	pthread_mutex_t lock;
	struct backend_hit_handler *handler;
	bool stop;
};

void fake_borrow_init(struct fake_borrow *f, bool live);
void fake_borrow_start(struct fake_borrow *f); /* live: a thread that runs it */
void fake_borrow_stop(struct fake_borrow *f);
/* One instruction, traps not felt. */
void fake_borrow_step(struct fake_borrow *f);

/* Between its two files. */
extern const struct backend_live_ops fake_borrow_live;
int fake_borrow_live_regs(struct backend *b, size_t vcpu, struct vcpu_regs *ret, struct err *e);
int fake_borrow_regs(struct backend *b, size_t vcpu, struct vcpu_regs *ret, struct err *e);
bool fake_borrow_trapped(const struct fake_borrow *f);
void fake_borrow_broke(struct fake_borrow *f, const char *rule);

#endif
