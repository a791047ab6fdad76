// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What kinds take from the file of the guest's kernel: the lists that the kernel frees
 * once it has booted. Whoever opened the file has compared its build-id.
 */
#include <errno.h>

#include "vmm/guest/vmlinux.h"
#include "vmm/kind/row.h"

void kind_image_clear(struct kind_image *i)
{
	guest_alternatives_clear(&i->alternatives);
	guest_pv_calls_clear(&i->pv_calls);
	i->read = false;
}

int image_lists(const struct kind_context *ctx, const struct kind_image **ret, struct err *e)
{
	struct kind_image *i = ctx->image;
	uint64_t slide = guest_facts(ctx->guest)->base - VMLINUX_LINK_BASE;

	if (!i || (!i->vmlinux && !i->read))
		return err_set(e, ERR_REFUSED, ENOENT, "kernel-image",
			       "the kernel has freed the list of these places: give the file it came from with --vmlinux FILE, or put it into the folder of vmpoked's --images");
	if (!i->read) {
		int r = guest_alternatives_read(i->vmlinux, slide, &i->alternatives, e);
		if (r >= 0)
			r = guest_pv_calls_read(i->vmlinux, slide, &i->pv_calls, e);
		if (r < 0)
			return r;
		i->read = true;
	}
	*ret = i;
	return 0;
}
