// SPDX-License-Identifier: GPL-2.0-or-later
/* Trials of the table of steps; see trial.h. Empty in normal builds. */
#include "vmm/borrow/trial.h"

#include "vmm/fault.h"

#ifdef VMPOKE_FAULT_POINTS
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "protocol/util.h"
#include "vmm/borrow/steps.h"

#define NAP_MS 100u

static struct {
	unsigned row;
	uint32_t missed;
	char file[108];
	bool asleep;
	struct vcpu_regs at; /* where the thread was */
} trial;

int borrow_trial_set(const char *spec)
{
	memset(&trial, 0, sizeof(trial));
	if (!spec || !*spec)
		return 0;
	if (sscanf(spec, "%u:%" SCNx32 ":%107s", &trial.row, &trial.missed, trial.file) == 3 &&
	    trial.row <= borrow_trial_rows())
		return 0;
	memset(&trial, 0, sizeof(trial));
	return -EINVAL;
}

/* Where the nap returns to: not to the entry with whatever is in the registers then, nobody may be there to see it. */
static uint64_t back_to(const struct borrow_steps *s)
{
	uint64_t rip = trial.at.rip;

	return rip == s->site[BORROW_AT_ENTRY] ? s->site[BORROW_AT_LEAVE] : rip;
}

static bool nap(struct borrow_steps *s, struct borrow_memory *m, struct vcpu_regs *regs)
{
	const struct vcpu_regs *at = &trial.at;
	uint64_t rsp = at->gpr[VCPU_RSP] - 8, word = back_to(s);

	if (!s->sleep_fn || m->write(m, rsp, &word, sizeof(word)) < 0)
		return false;
	*regs = *at;
	regs->rip = s->sleep_fn;
	regs->gpr[VCPU_RSP] = rsp;
	regs->gpr[VCPU_RDI] = NAP_MS;
	return true;
}

enum borrow_trial_says borrow_trial_hit(struct borrow_steps *s, size_t row, struct borrow_memory *m,
					struct vcpu_regs *regs)
{
	if (trial.missed >> row & 1)
		return BORROW_TRIAL_MISSED;
	if (trial.row != row)
		return BORROW_TRIAL_NOTHING;
	trial.row = 0;
	trial.at = *regs;
	_cleanup_close_ int fd = open(trial.file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	trial.asleep = fd >= 0 && nap(s, m, regs);
	return trial.asleep ? BORROW_TRIAL_SLEEPS : BORROW_TRIAL_NOTHING;
}

bool borrow_trial_woke(struct borrow_steps *s, struct borrow_memory *m, struct vcpu_regs *regs)
{
	if (!trial.asleep || regs->rip != back_to(s) || regs->gpr[VCPU_RSP] != trial.at.gpr[VCPU_RSP])
		return false;
	if (access(trial.file, F_OK) == 0 && nap(s, m, regs))
		return true;
	/* The trap is hit again, by a thread that never was away. */
	trial.asleep = false;
	*regs = trial.at;
	return true;
}
#else
typedef int borrow_trial_not_compiled_in; /* ISO C forbids an empty translation unit */
#endif
