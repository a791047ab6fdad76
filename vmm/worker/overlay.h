/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory as it was before patches went in: pieces of old bytes laid over what is read. A plan
 * made under an overlay is the plan that was made when the patch was applied. Reads only.
 */
#ifndef VMPOKE_VMM_WORKER_OVERLAY_H
#define VMPOKE_VMM_WORKER_OVERLAY_H

#include "vmm/guest/guest.h"
#include "vmm/poke/poke.h"

/* Never more than one page's: a site on two pages is two pieces. */
struct overlay_piece {
	uint64_t gpa;
	uint8_t len;
	uint8_t bytes[POKE_SITE_LEN_MAX];
	size_t layer;
	bool own; /* shown to its own layer only */
};

/* Zeroed at first. */
struct overlay {
	struct overlay_piece *pieces; /* after overlay_close(): ascending, none overlaps another */
	size_t n, cap;
	size_t layer; /* pieces of this layer and of those above it are shown */
};

void overlay_clear(struct overlay *o);

/*
 * The old bytes of a site as one layer's, at the places where g's page tables have it now. own: a site that is
 * not kernel text: those of other layers must not see it changed. -EFAULT: it is not mapped; -ENOMEM.
 */
int overlay_add(struct overlay *o, struct guest *g, const struct poke_site *site, size_t layer, struct err *e);

/* Sorts. -EEXIST (ERR_REFUSED, "overlap"): two pieces share a byte. */
int overlay_close(struct overlay *o, struct err *e);

/* Lays what is shown over len bytes that were read at gpa. */
void overlay_show(const struct overlay *o, uint64_t gpa, void *buf, size_t len);

#endif
