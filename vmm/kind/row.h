/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kinds share: private to vmm/kind. One row per kind; the function a
 * site lies in, read and decoded; the checks on a range inside it.
 */
#ifndef VMPOKE_VMM_KIND_ROW_H
#define VMPOKE_VMM_KIND_ROW_H

#include "vmm/kind/kind.h"

#define FUNCTION_SIZE_MAX (64u << 10) /* the longest function of a 6.1 kernel is half of it */

/* The function around a place: from its symbol to the next higher one. */
struct function {
	uint64_t start;
	size_t size;
	uint8_t *code; /* size bytes, owned */
	char name[GUEST_SYMBOL_MAX];
};

struct kind_ops {
	enum patch_kind kind;
	/* "at" names data (a key), not a place in text: fn is NULL, place any mapped address. */
	bool at_data;
	const char *prefix; /* of the symbols "at" names, which may be left out; NULL: none */
	/*
	 * Appends wants with gva, len, new_bytes, new_is_code or data and, when they are known, the
	 * expected bytes; kind.c completes them.
	 */
	int (*expand)(const struct kind_context *ctx, const struct patchfile_site *site, const struct function *fn,
		      uint64_t place, struct want_list *out, struct err *e);
};

extern const struct kind_ops kind_bytes, kind_return, kind_jump, kind_nop, kind_immediate, kind_static_key,
	kind_static_call;
extern const struct kind_ops kind_alternative, kind_pv_group, kind_detour;

/* True when the site names old bytes and the guest holds others: plan_build() will say so. */
bool kind_old_differs(const struct patchfile_site *site, const struct function *fn, uint64_t place);

/* function.c */
int function_load(const struct kind_context *ctx, uint64_t place, struct function *ret, struct err *e);
void function_clear(struct function *fn);
/* Does an instruction begin at place? ERR_REFUSED "mid-instruction", "decode" or "kprobe" when not. */
int function_boundary(const struct kind_context *ctx, const struct function *fn, uint64_t place, struct err *e);
/* The breakpoint opcode at offset, after the instruction before: a kprobe (true), or padding. */
bool function_trap_hides(const struct arch_ops *arch, const struct function *fn, const struct arch_insn *before,
			 size_t offset);

/*
 * flow.c: does anything jump to [start, end) at an offset that is not in allowed
 * (bit i: offset i)? Looks at the function, its .cold part, and the guest's tables
 * of jump labels and exception fixups. start itself must be in allowed.
 */
int flow_check(const struct kind_context *ctx, const struct function *fn, uint64_t start, size_t len, uint64_t allowed,
	       struct err *e);

/* tables.c: the guest's own lists of places in its text. */
int tables_check_targets(const struct kind_context *ctx, uint64_t start, size_t len, uint64_t allowed, struct err *e);
/*
 * All entries of one list: those of ctx->tables, or read into *own, which the caller clears. *ret is valid as
 * long as the owner is.
 */
int tables_sites(const struct kind_context *ctx, enum guest_site_kind kind, const struct guest_sites **ret,
		 struct guest_sites *own, struct err *e);
/* "self-patched": an instruction of [start, start + len) is one that the guest rewrites. */
int tables_check_owned(const struct kind_context *ctx, uint64_t start, size_t len, struct err *e);

/* image.c: the lists in the kernel's file. -ENOENT (ERR_REFUSED, "kernel-image") when nobody has it. */
int image_lists(const struct kind_context *ctx, const struct kind_image **ret, struct err *e);

/* alternative_form.c: the a->len bytes of a form, as the kernel would write it. ERR_REFUSED, "alternative". */
int alternative_form(const struct kind_context *ctx, const struct guest_alternative *a, bool original, uint8_t *out,
		     struct err *e);
/* Do both do the same at gva, whatever their NOPs and the lengths of their jumps are? */
bool alternative_same(const struct kind_context *ctx, const uint8_t *x, const uint8_t *y, size_t len, uint64_t gva);

/* entry.c: where a patch of a function's entry goes. */
struct entry {
	uint64_t at; /* after ENDBR64 */
	size_t pad;  /* length of the tracing pad at at, 0 when none */
};
int entry_find(const struct kind_context *ctx, const struct function *fn, uint64_t place, struct entry *ret,
	       struct err *e);
/* A jump to `to` in place of the entry: of the tracing pad where there is one, else of the first instructions. */
int entry_jump(const struct kind_context *ctx, const struct function *fn, uint64_t place, uint64_t to,
	       struct want_list *out, struct err *e);
/* Whole old instructions from start that make room for need bytes; all checks on the range done. */
int entry_widen(const struct kind_context *ctx, const struct function *fn, uint64_t start, size_t need, size_t *ret_len,
		struct err *e);

#endif
