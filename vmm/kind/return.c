// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Kind `return`: a function returns a constant. The tracing pad at its entry is
 * left alone, so that the guest's ftrace finds what it expects there and goes on
 * working; the load and the return come after it, and NOPs fill up the last old
 * instruction. Not int3: a breakpoint nobody owns panics the guest if it is ever
 * reached.
 */
#include <string.h>

#include "vmm/kind/row.h"

static int return_expand(const struct kind_context *ctx, const struct patchfile_site *site, const struct function *fn,
			 uint64_t place, struct plan_want *ret, struct err *e)
{
	struct entry entry;
	size_t len;
	int r = entry_find(ctx, fn, place, &entry, e);

	if (r < 0)
		return r;
	ssize_t n = ctx->arch->encode_return(ret->new_bytes, sizeof(ret->new_bytes), site->value);
	if (n < 0)
		return err_set(e, ERR_USAGE, (int)-n, "", "value %lld does not fit: -2147483648 to 4294967295",
			       (long long)site->value);
	ret->gva = entry.at + entry.pad;
	r = entry_widen(ctx, fn, ret->gva, (size_t)n, &len, e);
	if (r < 0)
		return r;
	ctx->arch->encode_nop(ret->new_bytes + n, len - (size_t)n);
	ret->len = (uint8_t)len;
	ret->new_is_code = true;
	return 0;
}

const struct kind_ops kind_return = {
	.kind = PATCH_KIND_RETURN,
	.expand = return_expand,
};
