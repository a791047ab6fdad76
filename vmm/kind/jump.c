// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Kind `jump`: a function's entry jumps to another function's entry, with
 * registers and stack as the caller left them. It takes the place of the tracing
 * pad where there is one: a single old instruction, so no context can stand in
 * its middle. While the patch is applied the guest cannot trace that function
 * (ftrace compares the pad before it writes, and turns itself off when it finds
 * something else).
 */
#include <errno.h>
#include <string.h>

#include "vmm/kind/row.h"

static int jump_target(const struct kind_context *ctx, const struct patchfile_site *site, const struct function *fn,
		       uint64_t *ret, struct err *e)
{
	uint64_t size;
	int r = kind_resolve(ctx, &site->to, "to", ret, e);

	if (r < 0)
		return r;
	_cleanup_free_ struct guest_symbol *symbol = calloc(1, sizeof(*symbol));
	if (!symbol)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	if (guest_symbol_at(ctx->guest, *ret, symbol, &size) < 0 || symbol->addr != *ret)
		return err_set_addr(e, ERR_REFUSED, EINVAL, "not-entry", *ret, "'to' is not the start of a function");
	if (*ret == fn->start)
		return err_set_addr(e, ERR_REFUSED, ELOOP, "not-entry", *ret,
				    "'to' is the function itself, which would never return");
	return 0;
}

static int jump_expand(const struct kind_context *ctx, const struct patchfile_site *site, const struct function *fn,
		       uint64_t place, struct want_list *out, struct err *e)
{
	uint64_t to;
	int r = jump_target(ctx, site, fn, &to, e);

	return r < 0 ? r : entry_jump(ctx, fn, place, to, out, e);
}

const struct kind_ops kind_jump = {
	.kind = PATCH_KIND_JUMP,
	.expand = jump_expand,
};
