/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kind pv_group: what pv_group.c and pv_target.c share. */
#ifndef VMPOKE_VMM_KIND_PV_H
#define VMPOKE_VMM_KIND_PV_H

#include "vmm/kind/row.h"

#define PV_FEATURE_WORD 8 /* of x86_capability: virtualisation (asm/cpufeatures.h) */

/* An operation: its pointer in struct pv_lock_ops, what it is natively, and the feature that says it is not. */
struct pv_op {
	const char *member, *native;
	const char *prefix, *suffix; /* of the functions that can be one: the kernel's names tell how they are called */
	unsigned feature;	     /* whose absence puts native code in place of the call; 0: it stays a call */
};

extern const struct pv_op pv_lock[PATCH_PV_OPS];

struct pv_group {
	const struct kind_context *ctx;
	const struct kind_image *image;
	uint64_t pv_ops, features; /* addresses; features: of word PV_FEATURE_WORD of boot_cpu_data */
	uint32_t offset[PATCH_PV_OPS]; /* of the pointers, in pv_ops */
	uint64_t now[PATCH_PV_OPS], native[PATCH_PV_OPS], to[PATCH_PV_OPS]; /* targets */
};

/* ERR_REFUSED, rule "pv-group", -EOPNOTSUPP. */
int pv_refuse(uint64_t at, const char *sentence, struct err *e);
/* -ENOENT (ERR_REFUSED): the kernel has none of the name, or several. */
int pv_symbol(const struct kind_context *ctx, const char *name, uint64_t *ret, struct err *e);

/* pv_target.c: sets to[] from what the site asks for; choice is native or targets. ERR_REFUSED when that cannot be. */
int pv_targets_take(struct pv_group *g, const struct patchfile_site *site, struct err *e);
/* "paravirt" is what a guest is (0), or it cannot be made so. */
int pv_stay_paravirt(const struct pv_group *g, struct err *e);
/* Before slow path or unlock changes: refused where a patch that is in has changed but one of them. */
int pv_halves_check(const struct pv_group *g, struct err *e);

#endif
