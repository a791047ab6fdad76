/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What vmm/guest does differently for each architecture a guest may have: one row each, in
 * x86_64.c and arm64.c. Private to vmm/guest.
 */
#ifndef VMPOKE_VMM_GUEST_GUEST_ARCH_H
#define VMPOKE_VMM_GUEST_GUEST_ARCH_H

#include "vmm/guest/image.h"
#include "vmm/guest/internal.h"

struct scan;

/* A top table worth trying, and whose registers it is from. */
struct guest_root {
	const struct vcpu_regs *regs;
	uint64_t root;
};

struct guest_arch {
	/* The most promising first, at most cap; returns how many. 0: no vCPU runs a 64-bit kernel. */
	size_t (*roots)(const struct vcpu_regs *regs, size_t n_regs, struct guest_root *ret, size_t cap);
	/* Initialises w. -EOPNOTSUPP: a paging mode that is not known here. */
	int (*walk)(struct walk *w, struct guest_memory *mem, const struct guest_root *root, struct err *e);
	int (*image)(struct image *image, struct walk *w, const struct vcpu_regs *regs, struct err *e);
	/* Everything that follows from the symbol table, and the top table that stays. g->image, g->base_gpa are set. */
	int (*facts)(struct guest *g, const struct image *image, const struct vcpu_regs *regs, struct err *e);
	/* Do the page tables of this vCPU still put the kernel where we found it? May change g->walk's root. */
	bool (*maps)(struct guest *g, const struct vcpu_regs *regs);
	int (*layout)(struct guest *g, struct layout *ret, struct err *e);

	/* Remembers what only registers tell; NULL: nothing. */
	void (*note)(struct guest *g, const struct vcpu_regs *regs, size_t n_regs);

	/* stacks.c: a vCPU that is set up at all; its registers; which stacks it leaves live. */
	bool (*counts)(const struct vcpu_regs *regs);
	int (*vcpu_scan)(struct scan *s, const struct vcpu_regs *regs, size_t i);
	int (*vcpu_place)(struct scan *s, const struct vcpu_regs *regs, size_t i, struct err *e);
	uint64_t (*word)(uint64_t word); /* the address that a word on a stack may stand for; NULL: itself */
};

extern const struct guest_arch guest_x86_64, guest_arm64;

/* probe.c, for the rows: -EBADMSG, rule "kernel-contradicts". */
int probe_contradiction(struct err *e, uint64_t addr, const char *sentence);
/* g->banner and g->notes .. g->notes_end into the facts. */
int probe_texts_load(struct guest *g, struct err *e);
/* _stext, _etext, _sinittext, _einittext into the facts. */
int probe_bounds_set(struct guest *g, uint64_t text, uint64_t text_end, uint64_t init, uint64_t init_end,
		     struct err *e);

#endif
