// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Where the traps go. The entry is past ENDBR64: there the CPU waits for no branch target
 * any more, so that a called function may begin with anything (the kernel seals the
 * ENDBR of functions nobody calls indirectly). The way out is the RET of the same
 * function: harmless to return to, and hit by those only who make the same syscall.
 * Must never take bytes on trust that do not decode.
 */
#include <errno.h>
#include <string.h>

#include "vmm/arch/arch.h"
#include "vmm/borrow/borrow_private.h"

#define CODE_MAX 256 /* it has some 80 bytes in every kernel seen */

static int refuse(struct err *e, const char *what)
{
	return err_set(e, ERR_REFUSED, EOPNOTSUPP, "borrow-syscall", "%s: %s; no context can be borrowed",
		       BORROW_SYSCALL_FN, what);
}

/* Kernels that must not return natively jump to one of several thunks instead. */
static bool is_return(struct borrow *b, const struct arch_insn *insn)
{
	struct guest_symbol symbol;

	if (insn->flow == ARCH_FLOW_RETURN)
		return true;
	return insn->flow == ARCH_FLOW_JUMP && guest_symbol_at(b->guest, insn->target, &symbol, NULL) == 0 &&
	       symbol.addr == insn->target && strstr(symbol.name, "return_thunk");
}

/* Offset of the first RET after from, or 0. */
static size_t find_return(struct borrow *b, const uint8_t *code, size_t len, uint64_t gva, size_t from)
{
	struct arch_insn insn;

	for (size_t at = from; at < len; at += insn.len) {
		if (arch_x86_64.decode(code + at, len - at, gva + at, &insn) < 0)
			return 0;
		if (at > from && is_return(b, &insn))
			return at;
	}
	return 0;
}

int borrow_find_syscall(struct borrow *b, struct err *e)
{
	struct guest_symbol symbol;
	uint8_t code[CODE_MAX];
	uint64_t gva, size;

	if (guest_symbol_find(b->guest, BORROW_SYSCALL_FN, &gva, NULL, NULL) < 0 ||
	    guest_symbol_at(b->guest, gva, &symbol, &size) < 0 || symbol.addr != gva)
		return refuse(e, "this kernel has no such function");
	size_t len = size < sizeof(code) ? (size_t)size : sizeof(code);
	if (!guest_is_text(b->guest, gva, len))
		return refuse(e, "it is not in the kernel's text");
	int r = guest_read(b->guest, gva, code, len, e);
	if (r < 0)
		return r;
	size_t entry = arch_x86_64.entry_skip(code, len);
	size_t leave = find_return(b, code, len, gva, entry);
	if (!leave)
		return refuse(e, "it has no return instruction");
	b->steps.site[BORROW_AT_ENTRY] = gva + entry;
	b->steps.site[BORROW_AT_LEAVE] = gva + leave;
	return 0;
}
