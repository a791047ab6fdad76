/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VMPOKE_TESTS_STRESS_MISSING_H
#define VMPOKE_TESTS_STRESS_MISSING_H

struct machine;

/* On stderr, of a vCPU that does not rest: what our VMM thinks of it, and where it stands. */
void missing_print(struct machine *m, unsigned vcpu);

#endif
