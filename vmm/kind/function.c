// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The function around an address: read once, decoded from its first byte, as
 * x86 instructions can only be told apart from a known start. Where decoding
 * gets lost the answer is a refusal; must never guess a boundary.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vmm/kind/row.h"

void function_clear(struct function *fn)
{
	free(fn->code);
	fn->code = NULL;
}

/* The last function's symbol may reach beyond the text: cut it there. */
static uint64_t size_in_text(const struct kind_context *ctx, uint64_t start, uint64_t size)
{
	uint64_t end = guest_facts(ctx->guest)->text_end;

	return start < end && size > end - start ? end - start : size;
}

int function_load(const struct kind_context *ctx, uint64_t place, struct function *ret, struct err *e)
{
	_cleanup_free_ struct guest_symbol *symbol = calloc(1, sizeof(*symbol));
	_cleanup_free_ uint8_t *code = NULL;
	uint64_t size = 0;

	if (!symbol)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	int r = guest_symbol_at(ctx->guest, place, symbol, &size);
	size = size_in_text(ctx, symbol->addr, size);
	if (r < 0 || place - symbol->addr >= size)
		return err_set_addr(e, ERR_REFUSED, ENOENT, "unknown-symbol", place,
				    "no symbol covers 0x%" PRIx64 ", so nothing tells where an instruction begins",
				    place);
	if (size > FUNCTION_SIZE_MAX)
		return err_set_addr(e, ERR_REFUSED, EFBIG, "decode", symbol->addr,
				    "%.200s is %" PRIu64 " bytes long; more than %u are not decoded", symbol->name,
				    size, FUNCTION_SIZE_MAX);
	if (!guest_is_text(ctx->guest, symbol->addr, (size_t)size))
		return err_set_addr(e, ERR_REFUSED, EFAULT, "not-text", place,
				    "%.200s is not all kernel text that stays after boot", symbol->name);
	code = malloc((size_t)size);
	if (!code)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	r = guest_read(ctx->guest, symbol->addr, code, (size_t)size, e);
	if (r < 0)
		return r;
	*ret = (struct function){ .start = symbol->addr, .size = (size_t)size, .code = TAKE_PTR(code) };
	memcpy(ret->name, symbol->name, sizeof(ret->name));
	ret->name[sizeof(ret->name) - 1] = '\0';
	return 0;
}

/*
 * A breakpoint hides how long the instruction under it is, so nothing behind it
 * can be trusted; unless it is padding, which follows what does not fall through:
 * RET and jumps out of the function (straight-line speculation: return and
 * indirect-branch thunks are reached by a plain JMP), UD2, other padding. After a
 * jump within the function only a run of them is padding (`alternatives` shorten
 * a JMP rel32 so): a lone one may be a kprobe on the instruction that follows.
 */
bool function_trap_hides(const struct arch_ops *arch, const struct function *fn, const struct arch_insn *before,
			 size_t offset)
{
	if (arch->trap_len > 1) /* no filling is made of those */
		return true;

	bool run = offset + 1 < fn->size && fn->code[offset + 1] == fn->code[offset];

	if (before->flow == ARCH_FLOW_JUMP)
		return before->target - fn->start < fn->size && !run;
	return before->flow != ARCH_FLOW_RETURN && before->flow != ARCH_FLOW_INDIRECT && before->flow != ARCH_FLOW_TRAP;
}

int function_boundary(const struct kind_context *ctx, const struct function *fn, uint64_t place, struct err *e)
{
	struct arch_insn insn, before = { 0 };
	uint64_t at = fn->start;

	while (at < place) {
		size_t offset = (size_t)(at - fn->start);

		if (ctx->arch->decode(fn->code + offset, fn->size - offset, at, &insn) < 0)
			return err_set_addr(
				e, ERR_REFUSED, EILSEQ, "decode", at,
				"%.200s+0x%zx does not decode, so nothing tells where an instruction begins", fn->name,
				offset);
		if (insn.trap && function_trap_hides(ctx->arch, fn, &before, offset))
			return err_set_addr(
				e, ERR_REFUSED, EBUSY, "kprobe", at,
				"%.200s+0x%zx: a breakpoint hides the instruction there: the guest has a kprobe or is patching itself; disable it and try again",
				fn->name, offset);
		before = insn;
		at += insn.len;
	}
	if (at == place)
		return 0;
	return err_set_addr(e, ERR_REFUSED, EINVAL, "mid-instruction", place,
			    "this address is in the middle of an instruction; the next one begins at %.200s+0x%" PRIx64,
			    fn->name, at - fn->start);
}
