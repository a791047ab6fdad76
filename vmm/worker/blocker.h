/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is in the way of a change, said to people and to programs. */
#ifndef VMPOKE_VMM_WORKER_BLOCKER_H
#define VMPOKE_VMM_WORKER_BLOCKER_H

#include "protocol/err.h"

struct guest;
struct guest_blocker;

/* Fills *e: "WHAT is busy: task stack of sleep (pid 123) returns to do_nanosleep+0x7b inside it", -EBUSY, rule "busy". */
int blocker_describe(struct guest *g, const struct guest_blocker *who, const char *what, struct err *e);

#endif
