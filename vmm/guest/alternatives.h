/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lists of places that a kernel rewrites once, while it boots, and then forgets:
 * alternatives (arch/x86/include/asm/alternative.h, struct alt_instr) and, before
 * Linux 6.8, calls of paravirt operations (asm/paravirt_types.h, struct
 * paravirt_patch_site). Read from the kernel's file; addresses are the guest's.
 */
#ifndef VMPOKE_VMM_GUEST_ALTERNATIVES_H
#define VMPOKE_VMM_GUEST_ALTERNATIVES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/err.h"

struct vmlinux;

#define GUEST_ALTERNATIVES_MAX (1u << 16) /* Debian's 6.1 has 4,468, its 6.12 9,256 */

struct guest_alternative {
	uint64_t at;	/* the place, in the guest */
	uint8_t len;	/* of the place */
	uint8_t replacement_len; /* at most len */
	uint16_t feature; /* X86_FEATURE_*, word * 32 + bit */
	bool inverted;	/* replaced where the CPU lacks the feature */
	bool call;	/* the replacement is a call of what the indirect call at the place calls (ALT_FLAG_DIRECT_CALL) */
	uint64_t replacement_at; /* where the replacement's bytes were linked, in the guest: branches are relative to it */
	const uint8_t *original, *replacement; /* the list's own */
};

struct guest_alternatives {
	struct guest_alternative *entry; /* by at; those of one place in the order the kernel applies them. Owned. */
	size_t n;
	uint8_t *bytes;
};

/*
 * slide: how far the guest's kernel is from its link address. -ENOENT (ERR_REFUSED, "kernel-image") when
 * the image has no such list; -EBADMSG when it makes no sense.
 */
int guest_alternatives_read(const struct vmlinux *v, uint64_t slide, struct guest_alternatives *ret, struct err *e);
void guest_alternatives_clear(struct guest_alternatives *a);
/* The first entry of that very place; *ret_count: how many it has. NULL: none. */
const struct guest_alternative *guest_alternatives_at(const struct guest_alternatives *a, uint64_t at, size_t *ret_count);

/* A call through a pointer of pv_ops, as the compiler made it. */
struct guest_pv_call {
	uint64_t at;
	uint8_t len;
	uint16_t offset; /* of the pointer in pv_ops, bytes */
};

struct guest_pv_calls {
	struct guest_pv_call *call; /* by at; owned */
	size_t n;
};

/* .parainstructions; none (n 0) in a kernel that has no such list. -EBADMSG. */
int guest_pv_calls_read(const struct vmlinux *v, uint64_t slide, struct guest_pv_calls *ret, struct err *e);
void guest_pv_calls_clear(struct guest_pv_calls *c);

#endif
