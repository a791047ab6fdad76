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
	struct plan_want w = { .new_is_code = true };
	struct entry entry;
	uint64_t to;
	int r = entry_find(ctx, fn, place, &entry, e);

	if (r >= 0)
		r = jump_target(ctx, site, fn, &to, e);
	if (r < 0)
		return r;
	ssize_t n = ctx->arch->encode_jump(w.new_bytes, sizeof(w.new_bytes), entry.at, to);
	if (n < 0)
		return err_set_addr(e, ERR_REFUSED, ERANGE, "range", to, "'to' is more than %s away", ctx->arch->reach);
	size_t len = entry.pad;
	if (len != (size_t)n)
		r = entry_widen(ctx, fn, entry.at, (size_t)n, &len, e);
	if (r < 0)
		return r;
	ctx->arch->encode_nop(w.new_bytes + n, len - (size_t)n);
	w.gva = entry.at;
	w.len = (uint8_t)len;
	return want_list_add(out, &w, e);
}

const struct kind_ops kind_jump = {
	.kind = PATCH_KIND_JUMP,
	.expand = jump_expand,
};
