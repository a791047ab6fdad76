/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Patch kinds: from one site of a patch file to the bytes it means in this guest.
 * Each kind is one file with one row. Kinds read the guest, never write it.
 */
#ifndef VMPOKE_VMM_KIND_KIND_H
#define VMPOKE_VMM_KIND_KIND_H

#include "protocol/patchfile.h"
#include "vmm/arch/arch.h"
#include "vmm/guest/alternatives.h"
#include "vmm/guest/guest.h"
#include "vmm/guest/sites.h"
#include "vmm/poke/plan.h"

/* The guest's own lists of places in its text, each read when first asked for. Zeroed at first. */
#define KIND_TABLES 4
struct kind_tables {
	struct kind_sites {
		bool read;
		struct guest_sites sites;
	} sites[GUEST_SITE_KINDS];
	struct kind_table {
		bool read;
		size_t n;
		uint64_t *places; /* ascending */
	} table[KIND_TABLES];
};
void kind_tables_clear(struct kind_tables *t);

/* The file the guest's kernel came from, and its lists, each read when first asked for. */
struct kind_image {
	const struct vmlinux *vmlinux; /* borrowed; NULL: nobody has it. Its build-id is the guest's. */
	bool read;		       /* from now on without vmlinux, as long as the guest is the same boot of the same kernel */
	struct guest_alternatives alternatives;
	struct guest_pv_calls pv_calls;
};
void kind_image_clear(struct kind_image *i);
struct payload;

struct kind_context {
	const struct arch_ops *arch;
	struct guest *guest;
	struct kind_tables *tables; /* kept from site to site; NULL: read for each. Must not outlive one request. */
	struct kind_image *image;   /* the same for what is in the kernel's file */
	const struct payload *payload; /* of kind function; NULL: the patch has none */
	uint64_t payload_base;	       /* where in the guest it is, or will be */
};

/*
 * Resolves a site against this guest and appends complete wants (addresses, present
 * bytes, label, line): one, none or many, as the kind needs. On failure out is as it
 * was. ERR_REFUSED with these rules:
 *   "unknown-symbol" (-ENOENT), "ambiguous-symbol" (-ENOTUNIQ), "not-text" (outside kernel text, or
 *   text freed after boot), "mid-instruction" (not an instruction boundary of its function),
 *   "not-entry" (return, jump: not where a function starts), "decode" (the function does not decode),
 *   "traced" (entry pad in use by ftrace), "kprobe" (a 0xCC there), "too-short" (function ends before the
 *   patch does), "jump-into" (something jumps into the middle of the range), "self-patched" (return, jump: the
 *   guest rewrites an instruction of the range itself), "range" (jump: target out of reach).
 * Old bytes that differ from the ones the patch names are left to plan_build().
 */
int kind_expand(const struct kind_context *ctx, const struct patchfile_site *site,
		struct want_list *out, struct err *e);

/* kind.c: address of a place, inside kernel text. what: "at" or "to", for sentences. */
int kind_resolve(const struct kind_context *ctx, const struct patch_place *place, const char *what,
		 uint64_t *ret, struct err *e);

/* One instruction of the kernel. */
struct kind_instruction {
	uint64_t gva;
	uint8_t len; /* 0: a breakpoint is there, which hides what it is */
	uint8_t bytes[ARCH_INSN_MAX];
	char label[96]; /* "do_idle+0x3c" */
};

/* instruction.c: the one at a place; the rules "unknown-symbol" to "decode" of kind_expand(). */
int kind_instruction(const struct kind_context *ctx, const struct patch_place *place, struct kind_instruction *ret,
		     struct err *e);

#endif
