/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finding what an arm64 kernel's symbol table does not name: Debian's is built without
 * CONFIG_KALLSYMS_ALL, so it holds functions only. Private to vmm/guest.
 */
#ifndef VMPOKE_VMM_GUEST_ARM64_H
#define VMPOKE_VMM_GUEST_ARM64_H

#include "vmm/guest/guest_arch.h"

/* Bytes looked for in the image's data. */
struct data_want {
	const void *bytes;
	size_t len;
	/* Is what lies at gva it? Reads the guest as it likes. */
	bool (*accept)(struct walk *w, const struct image_run *run, uint64_t gva);
	uint64_t found; /* the first accepted; 0: none */
	unsigned hits;	/* looked at, at most DATA_HITS_MAX */
};
#define DATA_HITS_MAX 256

/* One pass over the read-only data of the image, 4-byte aligned places only. -ENOMEM. */
int arm64_data_find(struct walk *w, const struct image *image, struct data_want *wants, size_t n, struct err *e);

/*
 * The addresses that code makes with ADRP and ADD, in order, at most cap; returns how many. gva: of
 * code[0], a multiple of 4. Looks at no more than those two instructions: a register that something else
 * has changed in between gives a wrong address, so the caller checks what lies there.
 */
size_t arm64_addresses(const uint8_t *code, size_t len, uint64_t gva, uint64_t *ret, size_t cap);

/* Fills g->derived from functions that use the tables, and jump_label_mutex. What cannot be told gets bounds that nobody trusts. */
int arm64_derive(struct guest *g, struct err *e);

/* guest_arch.layout */
int arm64_layout(struct guest *g, struct layout *ret, struct err *e);

/* Remembers the per-cpu bases of these vCPUs. */
void arm64_bases_note(struct guest *g, const struct vcpu_regs *regs, size_t n_regs);

#endif
