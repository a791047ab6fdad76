/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a transaction costs vCPUs that have nothing to do with it, by KVM's own counter of exits. */
#ifndef VMPOKE_TESTS_STRESS_EXITS_H
#define VMPOKE_TESTS_STRESS_EXITS_H

#include "tests/stress/options.h"

#define EXITS_BATCHES 4

/* Of a transaction, the vCPU in guest mode: a quarter of the rounds had no more than low. */
struct exits_batch {
	unsigned sites;
	unsigned every; /* bytes from one to the next */
	unsigned limit; /* of low */
	unsigned rounds;
	uint64_t low, median, most;
};

struct exits_figures {
	struct exits_batch batches[EXITS_BATCHES];
	unsigned n;	     /* of them measured: debug registers hold no more than 4 sites, see also exits.c */
	uint64_t ticks;	     /* of the host's timer meanwhile */
	uint64_t halted;     /* exits of the halted vCPU, in all rounds */
	uint64_t violations; /* batches beyond their limit, or in which nothing was counted; exits of the halted vCPU */
};

/* -ENOTSUP: this host cannot tell (no counter of exits, one CPU, no irqchip). *ret holds what was measured. */
int exits_run(const struct options *o, struct exits_figures *ret, struct err *e);

#endif
