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

/*
 * Where the guest's functions return through a thunk (retbleed, SRSO: a bare RET
 * can be made to mispredict), ours must too. Which one it chose at boot is seen
 * from this function's own returns; 0: it has a bare RET, or none at all.
 */
static uint64_t return_thunk(const struct kind_context *ctx, const struct function *fn)
{
	_cleanup_free_ struct guest_symbol *symbol = calloc(1, sizeof(*symbol));
	struct arch_insn insn;
	uint64_t size;

	for (size_t at = 0; symbol && at < fn->size; at += insn.len) {
		if (ctx->arch->decode(fn->code + at, fn->size - at, fn->start + at, &insn) < 0)
			return 0;
		if (insn.flow == ARCH_FLOW_JUMP && insn.target - fn->start >= fn->size &&
		    guest_symbol_at(ctx->guest, insn.target, symbol, &size) == 0 && symbol->addr == insn.target &&
		    strstr(symbol->name, "return_thunk"))
			return insn.target;
	}
	return 0;
}

static int return_expand(const struct kind_context *ctx, const struct patchfile_site *site, const struct function *fn,
			 uint64_t place, struct want_list *out, struct err *e)
{
	struct plan_want w = { .new_is_code = true };
	struct entry entry;
	size_t len;
	int r = entry_find(ctx, fn, place, &entry, e);

	if (r < 0)
		return r;
	w.gva = entry.at + entry.pad;
	ssize_t n = ctx->arch->encode_return(w.new_bytes, sizeof(w.new_bytes), site->value, w.gva,
					     return_thunk(ctx, fn));
	if (n < 0)
		return err_set(e, ERR_USAGE, (int)-n, "", "value %lld does not fit: -2147483648 to 4294967295",
			       (long long)site->value);
	r = entry_widen(ctx, fn, w.gva, (size_t)n, &len, e);
	if (r < 0)
		return r;
	ctx->arch->encode_nop(w.new_bytes + n, len - (size_t)n);
	w.len = (uint8_t)len;
	return want_list_add(out, &w, e);
}

const struct kind_ops kind_return = {
	.kind = PATCH_KIND_RETURN,
	.expand = return_expand,
};
