/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One event for each step of a transaction and each place where a vCPU can stand. */
#ifndef VMPOKE_TESTS_STRESS_AT_H
#define VMPOKE_TESTS_STRESS_AT_H

#include "tests/stress/change.h"

struct at_figures {
	struct change_figures change;
	struct smp_vcpu sum;
	uint64_t nmis, mces;
	uint64_t landed;   /* events that interrupted just the instruction they were meant for */
	uint64_t blocked;  /* NMIs sent into the handler of another one, and held back by it */
	uint64_t steps;	   /* single-steps to get vCPUs there */
	uint64_t places;   /* instructions: of the sites, and of the handler's own site */
	uint64_t stages;   /* most calls of one transaction */
	uint64_t dirty;	   /* vCPUs left with NMIs blocked, MCG_STATUS set, or an event pending */
	uint64_t uncounted, fallen;
};

uint64_t at_violations(const struct at_figures *f);
/* All chosen shapes in turn, each in a guest of its own. */
int at_run(const struct options *o, struct at_figures *ret, struct err *e);

#endif
