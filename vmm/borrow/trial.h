/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Trials of steps.c's table in crash tests, compiled in only with -DVMPOKE_FAULT_POINTS: the thread is
 * kept asleep in the guest's kernel where it stands when a row is about to be taken, so that the guest can kill it
 * just there; and hits for other rows are not seen, as if the VMM had not reported them.
 */
#ifndef VMPOKE_VMM_BORROW_TRIAL_H
#define VMPOKE_VMM_BORROW_TRIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/vcpu.h"

struct borrow_memory;
struct borrow_steps;

enum borrow_trial_says {
	BORROW_TRIAL_NOTHING, /* the row is taken */
	BORROW_TRIAL_MISSED,  /* the hit is not seen */
	BORROW_TRIAL_SLEEPS,  /* *regs is what the vCPU goes on with; it comes back to the same place */
};

#ifdef VMPOKE_FAULT_POINTS
/*
 * "ROW:MISSED:FILE": at the first hit for row ROW (from 1; 0 none) FILE is made and the thread sleeps until FILE is gone.
 * MISSED are the rows, bit 1 << row, hexadecimal, whose hits are not seen. Of this process, as VMPOKE_FAULT is. NULL or "":
 * no trial. -EINVAL, also for a row that there is not. Only while nothing is asked of a borrowed thread.
 */
int borrow_trial_set(const char *spec);

/* How many rows the table has. */
unsigned borrow_trial_rows(void);

/* A hit that is ours, for a row (from 1). */
enum borrow_trial_says borrow_trial_hit(struct borrow_steps *s, size_t row, struct borrow_memory *m,
					struct vcpu_regs *regs);
/* Any hit: true when it is the sleeper's, which then sleeps again or stands where it was, *regs says. */
bool borrow_trial_woke(struct borrow_steps *s, struct borrow_memory *m, struct vcpu_regs *regs);
#else
static inline enum borrow_trial_says borrow_trial_hit(struct borrow_steps *s, size_t row, struct borrow_memory *m,
						      struct vcpu_regs *regs)
{
	(void)s, (void)row, (void)m, (void)regs;
	return BORROW_TRIAL_NOTHING;
}
static inline bool borrow_trial_woke(struct borrow_steps *s, struct borrow_memory *m, struct vcpu_regs *regs)
{
	(void)s, (void)m, (void)regs;
	return false;
}
#endif

#endif
