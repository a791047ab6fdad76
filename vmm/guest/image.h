/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the kernel image lies: the mapped runs of the 1 GiB that Linux keeps for it. */
#ifndef VMPOKE_VMM_GUEST_IMAGE_H
#define VMPOKE_VMM_GUEST_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/err.h"

/* Linux Documentation/arch/x86/x86_64/mm.rst: kernel text mapping; 1 GiB with RANDOMIZE_BASE. */
#define IMAGE_MAP      0xffffffff80000000ull
#define IMAGE_MAP_END  0xffffffffc0000000ull
#define IMAGE_ALIGN    (2ull << 20)
#define IMAGE_RUNS_MAX 256

struct walk;

struct image_run {
	uint64_t start, end;
	bool exec, write;
};

struct image {
	uint64_t base; /* lowest page of the run of text */
	size_t n_runs;
	struct image_run runs[IMAGE_RUNS_MAX];
};

/*
 * hint: an address known to be kernel text, or 0: then the first executable page
 * is taken. -ENOENT when nothing there looks like a kernel.
 */
int image_find(struct image *image, struct walk *w, uint64_t hint, struct err *e);

static inline bool image_holds(uint64_t gva)
{
	return gva >= IMAGE_MAP && gva < IMAGE_MAP_END;
}

#endif
