// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Who jumps into a range that replaces several instructions? A jump to the
 * middle of new bytes would run garbage. Within a kernel only a function itself,
 * its .cold part and the tables in tables.c know addresses inside a function.
 * Indirect jumps are let pass: they are jump tables, whose targets are the cases
 * of a switch, or tail calls; neither leads into a prologue's instructions. Must
 * never call a function clean that it could not decode to its end.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vmm/kind/row.h"

#define COLD_PARTS_MAX 64 /* functions of the same name, each with its own */

struct range {
	uint64_t start;
	size_t len;
	uint64_t allowed;
};

static bool range_is_hit(const struct range *r, uint64_t target)
{
	return target - r->start < r->len && !(r->allowed >> (target - r->start) & 1);
}

/* Jumps from inside the range vanish with it. */
static bool insn_jumps_into(const struct range *r, uint64_t at, const struct arch_insn *insn)
{
	bool direct = insn->flow == ARCH_FLOW_JUMP || insn->flow == ARCH_FLOW_BRANCH || insn->flow == ARCH_FLOW_CALL;

	return direct && at - r->start >= r->len && range_is_hit(r, insn->target);
}

/* Rest of the function is filling between functions. */
static bool is_padding(const struct kind_context *ctx, const uint8_t *code, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (ctx->arch->trap_len > 1 || code[i] != ctx->arch->trap[0])
			return false;
	return true;
}

static int refuse_decode(const struct function *fn, size_t offset, struct err *e)
{
	return err_set_addr(e, ERR_REFUSED, EILSEQ, "decode", fn->start + offset,
			    "%.200s+0x%zx does not decode, so nothing tells whether it jumps into the range", fn->name,
			    offset);
}

/* A kprobe's breakpoint may hide a branch. */
static int function_check(const struct kind_context *ctx, const struct function *fn, const struct range *range,
			  struct err *e)
{
	struct arch_insn insn, before = { 0 };

	for (size_t at = 0; at < fn->size; at += insn.len) {
		if (ctx->arch->decode(fn->code + at, fn->size - at, fn->start + at, &insn) < 0)
			return refuse_decode(fn, at, e);
		if (insn.trap && is_padding(ctx, fn->code + at, fn->size - at))
			return 0;
		if (insn.trap && function_trap_hides(ctx->arch, fn, &before, at))
			return err_set_addr(
				e, ERR_REFUSED, EBUSY, "kprobe", fn->start + at,
				"%.200s+0x%zx: a breakpoint may hide a jump into the range: the guest has a kprobe or is patching itself; disable it and try again",
				fn->name, at);
		before = insn;
		if (insn_jumps_into(range, fn->start + at, &insn))
			return err_set_addr(e, ERR_REFUSED, EBUSY, "jump-into", fn->start + at,
					    "%.200s+0x%zx jumps to 0x%" PRIx64
					    ", into the middle of the %zu bytes to be replaced",
					    fn->name, at, insn.target, range->len);
	}
	return 0;
}

static int cold_check(const struct kind_context *ctx, uint64_t at, const struct range *range, struct err *e)
{
	__attribute__((cleanup(function_clear))) struct function cold = { 0 };
	int r = function_load(ctx, at, &cold, e);

	return r < 0 ? r : function_check(ctx, &cold, range, e);
}

/*
 * gcc moves unlikely blocks to NAME.cold; they jump back. Static functions share
 * names, and nothing says whose part is whose: all of that name are looked at.
 */
static int cold_parts_check(const struct kind_context *ctx, const struct function *fn, const struct range *range,
			    struct err *e)
{
	struct guest_symbol_cursor cursor = { 0 };
	char name[GUEST_SYMBOL_MAX + 8];
	uint64_t addr;
	char type;
	size_t count = 0, seen = 0;

	snprintf(name, sizeof(name), "%s.cold", fn->name);
	int r = guest_symbol_find(ctx->guest, name, &addr, &type, &count);
	if (r == -ENOENT)
		return 0;
	if (r >= 0)
		return cold_check(ctx, addr, range, e);
	_cleanup_free_ struct guest_symbol *symbol = calloc(1, sizeof(*symbol));
	if (!symbol)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	for (r = 0; r >= 0 && seen < COLD_PARTS_MAX && guest_symbol_next(ctx->guest, &cursor, symbol) > 0;) {
		if (strcmp(symbol->name, name) != 0)
			continue;
		seen++;
		r = cold_check(ctx, symbol->addr, range, e);
	}
	return r;
}

int flow_check(const struct kind_context *ctx, const struct function *fn, uint64_t start, size_t len, uint64_t allowed,
	       struct err *e)
{
	struct range range = { .start = start, .len = len, .allowed = allowed };
	int r = function_check(ctx, fn, &range, e);

	if (r >= 0)
		r = cold_parts_check(ctx, fn, &range, e);
	if (r >= 0)
		r = tables_check_targets(ctx, start, len, allowed, e);
	return r;
}
