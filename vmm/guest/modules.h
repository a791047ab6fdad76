/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's loaded modules: where their text is, and their parts of the kernel's own lists. */
#ifndef VMPOKE_VMM_GUEST_MODULES_H
#define VMPOKE_VMM_GUEST_MODULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/err.h"

struct guest;

#define GUEST_MODULES_MAX 4096

struct guest_module {
	uint64_t text, text_len;
	uint64_t keys, n_keys;	 /* its __jump_table */
	uint64_t calls, n_calls; /* its .static_call_sites */
};

/* Only those that are loaded for good: not on their way in or out. */
struct guest_modules {
	struct guest_module *module; /* owned */
	size_t n;
	bool moving; /* some module is on its way in or out */
};

/*
 * -EOPNOTSUPP when the kernel has modules and does not say what they look like (BTF); -EBADMSG when
 * its list makes no sense; none at all for a kernel without module support.
 */
int guest_modules_read(struct guest *g, struct guest_modules *ret, struct err *e);
void guest_modules_clear(struct guest_modules *m);

/* True when [gva, gva + len) is text of one of them that stays after its start. */
bool guest_modules_hold(const struct guest_modules *m, uint64_t gva, size_t len);

#endif
