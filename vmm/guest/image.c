// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Finds the mapped runs of a kernel image; see image.h. Reads page tables only,
 * never the image itself, and at most one entry per page of the window.
 */
#include "vmm/guest/image.h"

#include <errno.h>

#include "vmm/guest/walk.h"

/* Too many runs: the rest is dropped. A kernel has a dozen; only a hostile one has more. */
static void run_add(struct image *image, uint64_t gva, const struct walk_page *page)
{
	struct image_run *last = image->n_runs ? &image->runs[image->n_runs - 1] : NULL;

	if (last && last->end == gva && last->exec == page->exec && last->write == page->write)
		last->end += page->left;
	else if (image->n_runs < IMAGE_RUNS_MAX)
		image->runs[image->n_runs++] = (struct image_run){
			.start = gva,
			.end = gva + page->left,
			.exec = page->exec,
			.write = page->write,
		};
}

int image_runs_collect(struct image *image, struct walk *w, struct err *e)
{
	uint64_t end = image->window.end;

	image->n_runs = 0;
	for (uint64_t gva = image->window.start; gva < end;) {
		struct walk_page page;
		int r = walk_translate(w, gva, &page, NULL); /* no sentence per hole */
		if (r < 0 && r != -EFAULT)
			return walk_translate(w, gva, &page, e);
		if (page.left > end - gva)
			page.left = end - gva;
		if (r == 0)
			run_add(image, gva, &page);
		gva += page.left;
	}
	return 0;
}

/*
 * Runs that touch belong together: from the one that holds the hint back to the
 * first, because text may be mapped with mixed permissions while the kernel boots.
 */
static uint64_t base_of(const struct image *image, uint64_t hint)
{
	uint64_t base = 0, end = 0;

	for (size_t i = 0; i < image->n_runs; i++) {
		const struct image_run *run = &image->runs[i];
		if (run->start != end || !base)
			base = run->start;
		end = run->end;
		if (hint ? hint >= run->start && hint < end : run->exec)
			return base;
	}
	return 0;
}

int image_find(struct image *image, struct walk *w, uint64_t hint, struct err *e)
{
	image->window = (struct image_window){ IMAGE_MAP, IMAGE_MAP_END };
	image->base_symbol = "_text";
	int r = image_runs_collect(image, w, e);
	if (r < 0)
		return r;
	image->base = base_of(image, hint);
	if (!image->base)
		return err_set(e, ERR_FAILED, ENOENT, "no-kernel",
			       "no kernel text is mapped at 0x%llx..0x%llx: the guest is still booting or is not Linux",
			       IMAGE_MAP, IMAGE_MAP_END);
	if (image->base % IMAGE_ALIGN)
		return err_set_addr(e, ERR_FAILED, EBADMSG, "kernel-base", image->base,
				    "kernel text begins at 0x%llx, which is not 2 MiB-aligned",
				    (unsigned long long)image->base);
	return 0;
}
