/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changes the guest's text to and fro, one transaction per group in turn. */
#ifndef VMPOKE_TESTS_STRESS_CHANGE_H
#define VMPOKE_TESTS_STRESS_CHANGE_H

#include "tests/stress/inject.h"
#include "vmm/poke/poke.h"

/* Added up over all transactions. */
struct change_figures {
	uint64_t flips; /* transactions done */
	uint64_t changes; /* sites they changed, added up */
	uint64_t busy;	/* given up by the engine in time, nothing changed */
	uint64_t held, copied; /* of the traps: waited, stepped through a copy */
	uint64_t traps, kicked, already_out, waited_us;
	uint64_t longest_us, spent_us;
	uint64_t barriers;
	uint64_t held_us; /* the longest wait */
};

struct changer;

/* injector: told at every state of every transaction; NULL: none, and no changer_run(). */
int changer_create(struct guest *g, const struct options *o, struct injector *injector, struct changer **ret,
		   struct err *e);
void changer_free(struct changer *c); /* NULL allowed */
DEFINE_CLEANUP(struct changer, changer_free)

/* Until the time is over, the flips are done or the guest is dead. Ends early with an error that is not "busy". */
int changer_run(struct changer *c, struct change_figures *ret, struct err *e);

/* One transaction. One that was busy is counted and is no error. */
int changer_change(struct changer *c, size_t group, struct change_figures *f, struct err *e);
/* What the group holds: 0 old, 1 new. */
int changer_version(const struct changer *c, size_t group);

#endif
