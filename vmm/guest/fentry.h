/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The places of ftrace: private to vmm/guest. */
#ifndef VMPOKE_VMM_GUEST_FENTRY_H
#define VMPOKE_VMM_GUEST_FENTRY_H

#include "vmm/guest/sites.h"

/* Appends all of them, unsorted; none where the kernel has no ftrace. -EOPNOTSUPP without BTF; -EBADMSG. */
int guest_fentry_read(struct guest *g, struct guest_sites *s, struct err *e);

#endif
