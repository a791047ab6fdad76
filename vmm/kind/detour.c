// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Kind `function`: a function's entry jumps to a function of the patch's own, which somebody
 * else has put into the guest's memory (or will, before this is written). What is changed of
 * the guest's text is what kind `jump` changes. Must never lead to a place that is not the
 * entry of a payload's function.
 */
#include <errno.h>

#include "vmm/kind/row.h"
#include "vmm/payload/payload.h"

static int detour_expand(const struct kind_context *ctx, const struct patchfile_site *site, const struct function *fn,
			 uint64_t place, struct want_list *out, struct err *e)
{
	size_t offset;

	if (ctx->arch != &arch_x86_64)
		return err_set_addr(e, ERR_REFUSED, EOPNOTSUPP, "arch", place, "payloads for %s cannot be made here",
				    ctx->arch->name);
	if (!ctx->payload || payload_function(ctx->payload, site->to.symbol, &offset) < 0)
		return err_set(e, ERR_REFUSED, ENOENT, "payload-function", "the patch has no function '%s'",
			       site->to.symbol);
	return entry_jump(ctx, fn, place, ctx->payload_base + offset, out, e);
}

const struct kind_ops kind_detour = {
	.kind = PATCH_KIND_FUNCTION,
	.expand = detour_expand,
};
