/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which patches somebody took out of a VM by hand, and in which boot (STATE/held/NAME.json): a restarted daemon must not put them back. */
#ifndef VMPOKE_CONTROL_DESIRED_HOLD_H
#define VMPOKE_CONTROL_DESIRED_HOLD_H

#include "vmm/control/desired.h"

/* Fills boot and held. A file that is not there, or makes no sense, is none. */
void desired_hold_load(struct vm *vm);
/* Writes both; without names the file goes. Failures are logged: then it is forgotten with this daemon. */
void desired_hold_save(struct vm *vm);

/* The sentence for it. */
void desired_hold_why(struct err *ret);

bool desired_holds(const struct desired *d, const char *patch);
/* Do not save. */
void desired_hold(struct desired *d, const char *patch);
void desired_unhold(struct desired *d, const char *patch);

#endif
