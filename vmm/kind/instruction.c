// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One instruction of the kernel, found by the name of its place: for work that watches
 * an instruction instead of changing it. The same checks as before a change: a trap in
 * the middle of an instruction would never be hit, and nobody would know why.
 */
#include <errno.h>
#include <string.h>

#include "vmm/kind/row.h"

static int instruction_read(const struct kind_context *ctx, const struct function *fn, uint64_t place,
			    struct kind_instruction *ret, struct err *e)
{
	size_t offset = (size_t)(place - fn->start);
	struct arch_insn insn;

	if (ctx->arch->decode(fn->code + offset, fn->size - offset, place, &insn) < 0)
		return err_set_addr(e, ERR_REFUSED, EILSEQ, "decode", place, "no instruction can be decoded here");
	*ret = (struct kind_instruction){ .gva = place, .len = insn.trap ? 0 : insn.len };
	memcpy(ret->bytes, fn->code + offset, ret->len);
	guest_format_addr(ctx->guest, place, ret->label, sizeof(ret->label));
	return 0;
}

int kind_instruction(const struct kind_context *ctx, const struct patch_place *place, struct kind_instruction *ret,
		     struct err *e)
{
	__attribute__((cleanup(function_clear))) struct function fn = { 0 };
	char text[PATCHFILE_SYMBOL_MAX + 32];
	uint64_t gva;
	int r = kind_resolve(ctx, place, "at", &gva, e);

	if (r >= 0)
		r = function_load(ctx, gva, &fn, e);
	if (r >= 0)
		r = function_boundary(ctx, &fn, gva, e);
	if (r >= 0)
		r = instruction_read(ctx, &fn, gva, ret, e);
	if (r < 0) {
		patch_place_format(place, text, sizeof(text));
		err_prefix(e, "%.255s", text);
	}
	return r;
}
