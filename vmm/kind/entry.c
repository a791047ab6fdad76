// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The entry of a function: ENDBR64, the compiler's tracing pad, and how many of
 * the first instructions a patch takes. Must never let a patch reach past the
 * function's last instruction.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vmm/kind/row.h"

/*
 * A CALL at the entry is ftrace's when it leads to one of its trampolines: the
 * built-in ones by name, the allocated ones because they lie outside the text.
 * A function without a pad may begin with a call of its own.
 */
static bool is_tracer(const struct kind_context *ctx, uint64_t target)
{
	_cleanup_free_ struct guest_symbol *symbol = calloc(1, sizeof(*symbol));
	uint64_t size;

	if (!symbol || !guest_is_text(ctx->guest, target, 1) || guest_symbol_at(ctx->guest, target, symbol, &size) < 0)
		return true;
	return strncmp(symbol->name, "ftrace_", 7) == 0 || strcmp(symbol->name, "__fentry__") == 0;
}

int entry_find(const struct kind_context *ctx, const struct function *fn, uint64_t place, struct entry *ret,
	       struct err *e)
{
	struct arch_insn insn;

	if (place != fn->start)
		return err_set_addr(
			e, ERR_REFUSED, EINVAL, "not-entry", place,
			"this kind changes a whole function and needs its first address: %.200s, not an address in it",
			fn->name);
	size_t skip = ctx->arch->entry_skip(fn->code, fn->size);
	ssize_t pad = ctx->arch->trace_pad(fn->code + skip, fn->size - skip);
	if (pad == -EBUSY && ctx->arch->decode(fn->code + skip, fn->size - skip, fn->start + skip, &insn) == 0 &&
	    !is_tracer(ctx, insn.target))
		pad = 0;
	if (pad < 0)
		return err_set_addr(
			e, ERR_REFUSED, EBUSY, "traced", fn->start + skip,
			"%.200s is being traced (ftrace, a kprobe on it, or a livepatch); end that and try again",
			fn->name);
	*ret = (struct entry){ .at = fn->start + skip, .pad = (size_t)pad };
	return 0;
}

static int too_short(const struct function *fn, uint64_t start, size_t has, size_t need, struct err *e)
{
	return err_set_addr(e, ERR_REFUSED, ENOSPC, "too-short", start,
			    "%.200s ends %zu bytes after this point; the patch needs %zu", fn->name, has, need);
}

/* Whole instructions from start; the last may end the function, none before it may. */
static int widen(const struct kind_context *ctx, const struct function *fn, uint64_t start, size_t need,
		 size_t *ret_len, struct err *e)
{
	size_t offset = (size_t)(start - fn->start), at = 0;

	while (at < need) {
		struct arch_insn insn;

		if (offset + at >= fn->size)
			return too_short(fn, start, at, need, e);
		if (ctx->arch->decode(fn->code + offset + at, fn->size - offset - at, start + at, &insn) < 0)
			return err_set_addr(e, ERR_REFUSED, EILSEQ, "decode", start + at,
					    "%.200s+0x%zx does not decode", fn->name, offset + at);
		if (insn.trap)
			return err_set_addr(
				e, ERR_REFUSED, EBUSY, "kprobe", start + at,
				"%.200s+0x%zx: a breakpoint is set here: the guest has a kprobe or is patching itself; disable it and try again",
				fn->name, offset + at);
		at += insn.len;
		if (at < need &&
		    (insn.flow == ARCH_FLOW_RETURN || insn.flow == ARCH_FLOW_JUMP || insn.flow == ARCH_FLOW_INDIRECT))
			return too_short(fn, start, at, need, e);
	}
	*ret_len = at;
	return 0;
}

int entry_widen(const struct kind_context *ctx, const struct function *fn, uint64_t start, size_t need, size_t *ret_len,
		struct err *e)
{
	int r = widen(ctx, fn, start, need, ret_len, e);

	if (r < 0)
		return r;
	if (*ret_len > POKE_SITE_LEN_MAX)
		return err_set_addr(e, ERR_REFUSED, E2BIG, "too-short", start,
				    "%.200s begins with instructions that are too long", fn->name);
	r = tables_check_owned(ctx, start, *ret_len, e);
	/* Bit 0: whoever jumps to the first byte gets the patch, as whoever calls. */
	return r < 0 ? r : flow_check(ctx, fn, start, *ret_len, 1, e);
}

int entry_jump(const struct kind_context *ctx, const struct function *fn, uint64_t place, uint64_t to,
	       struct want_list *out, struct err *e)
{
	struct plan_want w = { .new_is_code = true };
	struct entry entry;
	int r = entry_find(ctx, fn, place, &entry, e);

	if (r < 0)
		return r;
	ssize_t n = ctx->arch->encode_jump(w.new_bytes, sizeof(w.new_bytes), entry.at, to);
	if (n < 0)
		return err_set_addr(e, ERR_REFUSED, ERANGE, "range", to, "the target is more than %s away", ctx->arch->reach);
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
