// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Kind `nop`: one instruction (a call, a store, a branch) becomes NOPs of its
 * length. Whether the code around still makes sense without it is the author's
 * business; that it is one instruction, and the one the author meant, is ours.
 */
#include <errno.h>
#include <string.h>

#include "vmm/kind/row.h"

static int nop_len(const struct kind_context *ctx, const struct patchfile_site *site, const struct function *fn,
		   uint64_t place, size_t *ret, struct err *e)
{
	size_t offset = (size_t)(place - fn->start);
	struct arch_insn insn;

	/* plan_build() says what is there instead. */
	*ret = site->old_len;
	if (kind_old_differs(site, fn, place))
		return 0;
	if (ctx->arch->decode(fn->code + offset, fn->size - offset, place, &insn) < 0)
		return err_set_addr(e, ERR_REFUSED, EILSEQ, "decode", place, "no instruction can be decoded here");
	if (insn.trap)
		return err_set_addr(
			e, ERR_REFUSED, EBUSY, "kprobe", place,
			"a breakpoint is set here: the guest has a kprobe or is patching itself; disable it and try again");
	if (site->old_len && site->old_len != insn.len)
		return err_set_addr(e, ERR_REFUSED, EINVAL, "mid-instruction", place,
				    "old names %u bytes, but the instruction here is %u bytes long", site->old_len,
				    insn.len);
	*ret = insn.len;
	return 0;
}

static int nop_expand(const struct kind_context *ctx, const struct patchfile_site *site, const struct function *fn,
		      uint64_t place, struct want_list *out, struct err *e)
{
	struct plan_want w = { .gva = place, .new_is_code = true, .has_expected = site->old_len > 0 };
	size_t len;
	int r = nop_len(ctx, site, fn, place, &len, e);

	if (r < 0)
		return r;
	w.len = (uint8_t)len;
	memcpy(w.expected, site->old_bytes, site->old_len);
	ctx->arch->encode_nop(w.new_bytes, len);
	return want_list_add(out, &w, e);
}

const struct kind_ops kind_nop = {
	.kind = PATCH_KIND_NOP,
	.expand = nop_expand,
};
