/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes of a kernel's text that are there, may be executed, and never are: what the
 * linker filled the room between two input sections with. arch/x86/kernel/vmlinux.lds.S
 * ends .text with ":text = 0xcccccccc" since 4.20 (7705dc855797, "x86/vmlinux: Use INT3
 * instead of NOP for linker fill bytes"), and aligns entry text to 2 MiB on both sides.
 */
#ifndef VMPOKE_VMM_GUEST_PADDING_H
#define VMPOKE_VMM_GUEST_PADDING_H

#include <stddef.h>
#include <stdint.h>

#include "protocol/err.h"

#define PADDING_BYTE	 0xcc /* int3 */
#define PADDING_RUN_MIN	 256  /* a shorter run may be part of a section: around thunks alignment goes up to 64 */
#define PADDING_MARGIN	 16   /* of each run is left alone at both ends, at least */
#define PADDING_TEXT_MAX (64ull << 20) /* bytes of text looked at; 16 MiB in Debian's kernels */

struct guest;

/* [start, end) may be used: all 0xCC, 16-byte aligned, and so is a margin around it. */
struct padding_run {
	uint64_t start, end;
};

/*
 * Runs in ascending order, until they hold `need` bytes together or there are cap of them; returns how
 * many, 0 when the kernel has none. Reads the text page by page up to there. Other errors: of guest memory.
 */
int guest_padding_find(struct guest *g, size_t need, struct padding_run *ret, size_t cap, struct err *e);

#endif
