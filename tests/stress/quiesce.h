/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tells the engine whether a saved context of the test guest lies inside a range that is to change. */
#ifndef VMPOKE_TESTS_STRESS_QUIESCE_H
#define VMPOKE_TESTS_STRESS_QUIESCE_H

#include "tests/stress/guest.h"

struct stack_scan {
	struct poke_quiesce quiesce;
	const struct guest *guest;
};

void stack_scan_init(struct stack_scan *s, const struct guest *g);

#endif
