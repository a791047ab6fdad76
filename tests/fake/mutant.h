/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hostile agent in memory, for the host's session: answers each request rightly,
 * then bytes of what it says are changed, dropped, doubled, cut or made up, as a
 * stream of choices says. Used by a unit test (choices from a seed) and by a fuzz
 * target (choices from the fuzzer).
 */
#ifndef VMPOKE_TESTS_MUTANT_H
#define VMPOKE_TESTS_MUTANT_H

#include "vmm/link/session.h"

/* Where choices come from: the next byte. */
struct mutant_choices {
	uint8_t (*next)(struct mutant_choices *c);
};

struct mutant_figures {
	unsigned ready, answered, failed; /* sessions that came up, questions by outcome */
};

/* One session of up to 12 questions against such an agent. Aborts when an invariant breaks. */
void mutant_session(struct mutant_choices *c, struct mutant_figures *f);

#endif
