/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One transaction of poke_run() on a fake VM, for the tests of mode stopped. Whatever happens: 0 means all new, an error
 * means all old (unless it asks for attention), the VM ends as it was found, nothing is written to a running VM, and
 * every state is recorded in time.
 */
#ifndef VMPOKE_TESTS_UNIT_POKE_CASE_H
#define VMPOKE_TESTS_UNIT_POKE_CASE_H

#include "tests/fake/fake_poke.h"

extern struct fake_poke p;

/* A VM, and a plan of three sites, one of them on two pages and with three instructions. */
void three_sites(size_t n_vcpus, bool running);
int run_with(uint64_t timeout_us, struct poke_stats *stats, struct err *e);
/* The rules above, after a run that began with the VM running or not and ended with r. */
void check_outcome(int r, bool running, const struct err *e);

#endif
