/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the modes of the engine cost, side by side in one run on one machine.
 * measure_*.c fill struct bench, print.c and picture.c show it.
 */
#ifndef VMPOKE_TESTS_BENCH_MODES_H
#define VMPOKE_TESTS_BENCH_MODES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "protocol/err.h"
#include "vmm/poke/poke.h"

#define BENCH_MODES   4
#define BENCH_VCPUS   4
#define BENCH_BATCHES 3
#define BENCH_PACE_US 1000 /* between two changes, where the guest's own work is looked at */

extern const enum poke_mode bench_modes[BENCH_MODES];
extern const unsigned bench_vcpus[BENCH_VCPUS];
extern const unsigned bench_batches[BENCH_BATCHES];

/* One mode with so many vCPUs. Negative: not possible here. */
struct bench_rate {
	double per_s;	  /* changes of one hot call, one after the other */
	double bare_per_s; /* the same remaps or barriers without the engine: nothing journaled, looked at or read back */
	double rounds;	  /* of the guest per second meanwhile, 1 as without changes */
	double paced;	  /* the same with a change every BENCH_PACE_US */
	double kicked;	  /* vCPUs taken out of guest mode, per change and vCPU */
	double held_us;	  /* longest that a vCPU waited at a trap */
};

struct bench {
	char lane[32];
	struct bench_rate rates[BENCH_MODES][BENCH_VCPUS];
	double batch_us[BENCH_MODES][BENCH_BATCHES]; /* a whole transaction */
	double memcpy_us[BENCH_BATCHES];	     /* the same bytes, stored plainly, nobody looking */
	double exit_us, trap_us;		     /* round trip of an OUT, of an int3 that is answered; trap 0: none here */
};

/* seconds: for each figure. -ENOENT, -EACCES: no /dev/kvm. A violation seen by the guest is an error. */
int measure_rates(struct bench *b, unsigned vcpus_at, unsigned seconds, struct err *e);
int measure_batch(struct bench *b, unsigned batch_at, unsigned seconds, struct err *e);
int measure_exits(struct bench *b, struct err *e);

void bench_print(const struct bench *b, FILE *out);
void bench_picture(const struct bench *b, FILE *out);

#endif
