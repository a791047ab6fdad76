/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of the stress test. */
#ifndef VMPOKE_TESTS_STRESS_OPTIONS_H
#define VMPOKE_TESTS_STRESS_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>

#include "vmm/poke/poke.h"

struct options {
	bool has_mode;
	bool naive;	     /* plain stores under running vCPUs: the control that must fail */
	enum poke_mode mode; /* when not naive */
	unsigned vcpus, seconds;
	unsigned sites;	     /* changed in turn with the others; 0: every shape at every place */
	unsigned flips;	     /* stop after so many; 0: only the time counts */
	unsigned changes;    /* the same, of sites: a transaction may change many */
	unsigned batch;	     /* sites per transaction; 0: as many as the traps allow */
	unsigned gap;	     /* µs between two transactions, for the guest to look at stable text */
	unsigned pairs;	     /* how many */
	bool unpaired;	     /* the halves of a pair are changed one after the other: the control of the pairs */
	unsigned nmi, mce;   /* injected per second, over all vCPUs */
	bool at;	     /* one event at each step of a transaction and each old instruction, see at.c */
	bool count_exits;    /* of vCPUs that have nothing to do with it, see exits.c */
	bool slots;	     /* room for copies of instructions that cannot be emulated */
	bool hw;	     /* debug-register traps only: at most 4 old boundaries a transaction */
	const char *shapes;  /* comma-separated names; NULL: all */
	const char *console; /* what the guest says goes there; NULL: nowhere */
	bool inside;	     /* every site inside one cache line, and so in as few pages as can be */
	bool prefer;	     /* the thread that changes text comes before those of vCPUs */
	bool json;
};

/* 0, or -EINVAL after a sentence on stderr. */
int options_parse(int argc, char *argv[], struct options *ret);
void options_usage(FILE *out);
const char *options_mode_name(const struct options *o);

#endif
