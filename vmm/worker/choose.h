/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a plan is carried out: what the patch file says, what the plan allows, what the request insists on. */
#ifndef VMPOKE_VMM_WORKER_CHOOSE_H
#define VMPOKE_VMM_WORKER_CHOOSE_H

#include "vmm/kind/kind.h"
#include "vmm/worker/session.h"

/* "atomic" and "exclude" of the file, the latter behind what the plan has already, resolved against this guest; then the gentlest safe mode. ERR_REFUSED. */
int choose_for_file(const struct kind_context *ctx, const struct patchfile *file, struct poke_plan *plan, struct err *e);

/*
 * "mode" and "traps" of a request, both optional. -EINVAL (ERR_USAGE) for words that are none;
 * -EOPNOTSUPP (ERR_REFUSED, rules "mode" and "trap") for what is not safe with these sites on this VM.
 */
int choose_as_asked(json_t *args, struct poke_plan *plan, struct err *e);

/* Are the words of a request such words at all? Said before anything is looked at. */
int choose_check_words(json_t *args, struct err *e);

/* [{name, available, why}], gentlest first: what a backend with these abilities can do for a plan without sites. NULL: no memory. */
json_t *choose_modes_json(unsigned caps);
/* The names of the available ones. */
json_t *choose_mode_names_json(unsigned caps);

#endif
