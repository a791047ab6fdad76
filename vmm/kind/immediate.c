// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Kind `immediate`: the constant of a `mov` becomes another one. Opcode and register
 * stay; the site is nevertheless the whole instruction, so that a breakpoint on it is
 * seen and the change can be staged behind one.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vmm/kind/row.h"

/* 64 bits take any value; fewer take what fits as a signed or as an unsigned number, unless they are sign-extended. */
static bool fits(const struct patchfile_site *site, const struct arch_immediate *imm)
{
	unsigned bits = 8u * imm->size;

	if (imm->size == 8)
		return true;
	if (site->value_unsigned)
		return false;
	return site->value >= -(INT64_C(1) << (bits - 1)) &&
	       site->value < (imm->extended ? INT64_C(1) << (bits - 1) : INT64_C(1) << bits);
}

static int mov_find(const struct kind_context *ctx, const struct function *fn, uint64_t place, struct arch_insn *ret,
		    struct arch_immediate *ret_imm, struct err *e)
{
	size_t offset = (size_t)(place - fn->start);

	if (ctx->arch->decode(fn->code + offset, fn->size - offset, place, ret) < 0)
		return err_set_addr(e, ERR_REFUSED, EILSEQ, "decode", place, "no instruction can be decoded here");
	if (ret->trap)
		return err_set_addr(
			e, ERR_REFUSED, EBUSY, "kprobe", place,
			"a breakpoint is set here: the guest has a kprobe or is patching itself; disable it and try again");
	if (!ctx->arch->immediate)
		return err_set_addr(e, ERR_REFUSED, EOPNOTSUPP, "arch", place,
				    "constants in instructions of %s are not changed by this kind; `bytes` does it",
				    ctx->arch->name);
	if (ctx->arch->immediate(fn->code + offset, ret->len, ret_imm) < 0 ||
	    (ret_imm->size != 1 && ret_imm->size != 2 && ret_imm->size != 4 && ret_imm->size != 8))
		return err_set_addr(e, ERR_REFUSED, EINVAL, "not-immediate", place,
				    "the instruction here is not a mov of a constant of 1, 2, 4 or 8 bytes");
	return 0;
}

static int immediate_expand(const struct kind_context *ctx, const struct patchfile_site *site,
			    const struct function *fn, uint64_t place, struct want_list *out, struct err *e)
{
	struct plan_want w = { .gva = place, .new_is_code = true };
	struct arch_immediate imm;
	struct arch_insn insn;
	int r = mov_find(ctx, fn, place, &insn, &imm, e);

	if (r < 0)
		return r;
	if (!fits(site, &imm))
		return err_set_addr(e, ERR_REFUSED, ERANGE, "range", place,
				    "the value does not fit the %u bytes%s of the instruction here", imm.size,
				    imm.extended ? " (sign-extended)" : "");
	w.len = insn.len;
	memcpy(w.new_bytes, fn->code + (place - fn->start), insn.len);
	for (unsigned i = 0; i < imm.size; i++)
		w.new_bytes[imm.offset + i] = (uint8_t)((uint64_t)site->value >> (8 * i));
	return want_list_add(out, &w, e);
}

const struct kind_ops kind_immediate = {
	.kind = PATCH_KIND_IMMEDIATE,
	.expand = immediate_expand,
};
