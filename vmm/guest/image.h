/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the kernel image lies: the mapped runs of the part of the address space that may hold it. */
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

/* Nothing of the image lies outside. */
struct image_window {
	uint64_t start, end;
};

struct image_run {
	uint64_t start, end;
	bool exec, write;
};

struct image {
	struct image_window window;
	const char *base_symbol; /* what the symbol table calls base */
	uint64_t base;		 /* lowest page of the run of text */
	size_t n_runs;
	struct image_run runs[IMAGE_RUNS_MAX];
};

/*
 * x86-64: the 1 GiB that Linux keeps for it. hint: an address known to be kernel text, or 0: then the
 * first executable page is taken. -ENOENT when nothing there looks like a kernel.
 */
int image_find(struct image *image, struct walk *w, uint64_t hint, struct err *e);

/* The mapped runs of image->window. Errors of guest memory. */
int image_runs_collect(struct image *image, struct walk *w, struct err *e);

static inline bool image_holds(const struct image_window *w, uint64_t gva)
{
	return gva >= w->start && gva < w->end;
}

#endif
