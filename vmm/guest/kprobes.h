/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's kprobes, also those that are registered and not in force: the text shows nothing of them, but the
 * kernel keeps a copy of the bytes they stand on, and writes it or executes it one day.
 */
#ifndef VMPOKE_VMM_GUEST_KPROBES_H
#define VMPOKE_VMM_GUEST_KPROBES_H

#include <stddef.h>
#include <stdint.h>

#include "protocol/err.h"

struct guest;

#define GUEST_KPROBES_MAX 4096

struct guest_kprobes {
	uint64_t *at; /* addresses they stand on, owned, in no order */
	size_t n;
};

/* Finds out where the guest keeps them: once a guest, before a pause. 0 too where it does not tell; see below. */
int guest_kprobes_prepare(struct guest *g, struct err *e);

/*
 * All there are; none where the kernel has none or does not tell (no symbol, no BTF). -EBADMSG (ERR_REFUSED,
 * "kprobe") for a list without an end or more than GUEST_KPROBES_MAX; -ENOMEM; -EFAULT. Bounded, so that it may be
 * asked in a pause; one that the guest is registering just now may be missing unless it is asked in one.
 */
int guest_kprobes_read(struct guest *g, struct guest_kprobes *ret, struct err *e);
void guest_kprobes_clear(struct guest_kprobes *k);

/* The one whose copy holds some of [gva, gva + len), or NULL. */
const uint64_t *guest_kprobes_near(const struct guest_kprobes *k, uint64_t gva, size_t len);

/* 1 while the guest is adding or taking out one (kprobe_mutex); 0; or negative. Asked in a pause. */
int guest_kprobes_moving(struct guest *g, struct err *e);

#endif
