/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is done to the borrowed thread at each trap: registers and stack words in,
 * registers and stack words out. Knows no backend and no guest, so that it can be tested
 * against any order of hits. Not locked: the caller has one hit at a time.
 */
#ifndef VMPOKE_VMM_BORROW_STEPS_H
#define VMPOKE_VMM_BORROW_STEPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/borrow/borrow.h"
#include "vmm/vcpu.h"

/* Guest-virtual memory of the vCPU that hit. All of it or nothing; -EFAULT and others. */
struct borrow_memory {
	int (*read)(struct borrow_memory *m, uint64_t gva, void *buf, size_t len);
	int (*write)(struct borrow_memory *m, uint64_t gva, const void *buf, size_t len);
};

enum borrow_site {
	BORROW_AT_ENTRY,  /* the syscall function's first instruction, after ENDBR64 */
	BORROW_AT_LEAVE,  /* its RET */
	BORROW_AT_UNLOCK, /* the first byte of the function that gives text_mutex back */
	BORROW_SITES,
};

enum borrow_state {
	BORROW_IDLE,	    /* nothing asked: whoever comes passes */
	BORROW_WANTED,	    /* the thread's next entry is the call's */
	BORROW_LOCK_WANTED, /* ... is text_mutex's */
	BORROW_CALLED,	    /* in the function */
	BORROW_LOCKING,	    /* waits for text_mutex */
	BORROW_KEPT,	    /* holds it, sleeps */
	BORROW_KEPT_WANTED, /* holds it; its next waking is the call's */
	BORROW_KEPT_CALLED, /* in the function, with text_mutex */
	BORROW_RELEASED,    /* holds it, gives it back when its sleep ends */
	BORROW_LEAVING,	    /* in the unlock function */
	BORROW_DONE,	    /* the syscall is over; result is there */
	BORROW_FAILED,	    /* memory could not be read or written: nothing was changed */
	BORROW_MISSED,	    /* the thread went on without the trap being reported: it ran the right way, unseen */
};

enum borrow_verdict {
	BORROW_NOT_OURS, /* no trap of ours at this address */
	BORROW_PASS,	 /* one of ours, but not for us: the instruction under it is executed */
	BORROW_GO,	 /* *regs is what the vCPU goes on with */
};

struct borrow_steps {
	uint64_t site[BORROW_SITES]; /* 0: none */
	uint64_t text_start, text_end;
	uint64_t nonce[2];
	uint64_t lock_fn, sleep_fn;

	enum borrow_state state;
	uint64_t fn, args[BORROW_ARGS_MAX];
	uint64_t result;
	int error;	/* of BORROW_FAILED, negative */
	bool clobbered; /* callee-saved registers were not what they had been */

	struct vcpu_regs saved; /* at the entry */
	uint64_t back;		/* the word at saved RSP: where the syscall function returns to */
	struct borrow_stats stats;
};

/* One vCPU at a trap. *regs is changed only with BORROW_GO. */
enum borrow_verdict borrow_steps_hit(struct borrow_steps *s, struct borrow_memory *m, struct vcpu_regs *regs);

/* The thread is somewhere between the entry and the end of its syscall. */
bool borrow_steps_inside(const struct borrow_steps *s);

/* ... and holds text_mutex, as far as the traps tell. */
bool borrow_steps_holds(const struct borrow_steps *s);

#endif
