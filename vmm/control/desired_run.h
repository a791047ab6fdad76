/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The inner side of desired.h: what is decided (desired.c) and what is done (desired_run.c). */
#ifndef VMPOKE_CONTROL_DESIRED_RUN_H
#define VMPOKE_CONTROL_DESIRED_RUN_H

#include "vmm/control/desired.h"

#define DESIRED_RESET_MS 1000 /* after a reset: firmware first, no kernel is there yet */

/* Takes the next step, if there is one to be taken now; called whenever something has happened. */
void desired_run(struct vm *vm);

/* The same, later. */
void desired_run_in(struct vm *vm, uint64_t ms);

/* Another boot: what was decided for the last one does not count any more. */
void desired_new_boot(struct vm *vm);

/* why may be NULL. Told to clients and to the log when the state is another one. */
void desired_set(struct vm *vm, struct desired_patch *p, enum desired_state state, const struct err *why);

/* NULL when no rule of this VM's is about it. */
struct desired_patch *desired_find(struct desired *d, const char *patch);

/* Is there something to be done about it? */
bool desired_needs(const struct desired_patch *p);

#endif
