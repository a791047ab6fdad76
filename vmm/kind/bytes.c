// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Kind `bytes`: old bytes become new bytes of the same length. Both must be whole
 * instructions (plan_build() decodes them). A jump into the range is refused
 * unless it finds the start of a new instruction there.
 */
#include <errno.h>
#include <string.h>

#include "vmm/kind/row.h"

/* Decoded with what follows in the guest; left to plan_build() to refuse when it does not decode. */
static bool boundaries_of(const struct kind_context *ctx, const struct function *fn, uint64_t place,
			  const uint8_t *bytes, size_t len, uint64_t *ret)
{
	uint8_t code[POKE_SITE_LEN_MAX + ARCH_INSN_MAX];
	size_t offset = (size_t)(place - fn->start), end, bad, n = fn->size - offset;

	if (n > len + ARCH_INSN_MAX)
		n = len + ARCH_INSN_MAX;
	if (n < len)
		return false;
	memcpy(code, fn->code + offset, n);
	memcpy(code, bytes, len);
	return arch_boundaries(ctx->arch, code, n, place, len, ret, &end, &bad) == 0 && end == len;
}

static int bytes_expand(const struct kind_context *ctx, const struct patchfile_site *site, const struct function *fn,
			uint64_t place, struct want_list *out, struct err *e)
{
	struct plan_want w = { .gva = place, .len = site->new_len, .new_is_code = true, .has_expected = true };
	uint64_t old_mask, new_mask;
	int r = 0;

	if (site->old_len < 1 || site->old_len > POKE_SITE_LEN_MAX || site->old_len != site->new_len)
		return err_set(e, ERR_USAGE, EINVAL, "", "old has %u bytes, new has %u: both need the same 1 to %d",
			       site->old_len, site->new_len, POKE_SITE_LEN_MAX);
	memcpy(w.expected, site->old_bytes, site->old_len);
	memcpy(w.new_bytes, site->new_bytes, site->new_len);
	/* A lone old instruction has no middle that anything could jump to. */
	if (!kind_old_differs(site, fn, place) &&
	    boundaries_of(ctx, fn, place, site->old_bytes, site->old_len, &old_mask) &&
	    boundaries_of(ctx, fn, place, site->new_bytes, site->new_len, &new_mask) && old_mask != 1)
		r = flow_check(ctx, fn, place, site->old_len, new_mask, e);
	return r < 0 ? r : want_list_add(out, &w, e);
}

const struct kind_ops kind_bytes = {
	.kind = PATCH_KIND_BYTES,
	.expand = bytes_expand,
};
