// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What every architecture shares: where instructions begin in a range. Must
 * never guess: the first byte that does not decode ends the answer.
 */
#include "vmm/arch/arch.h"

#include <errno.h>

const struct arch_ops *arch_of(enum vcpu_arch arch)
{
	return arch == VCPU_ARM64 ? &arch_arm64 : &arch_x86_64;
}

int arch_boundaries(const struct arch_ops *arch, const uint8_t *code, size_t len, uint64_t gva, size_t need,
		    uint64_t *ret_mask, size_t *ret_end, size_t *ret_bad_offset)
{
	uint64_t mask = 0;
	size_t at = 0;

	if (need < 1 || need > 64)
		return -EINVAL;
	while (at < need) {
		struct arch_insn insn;
		int r = at < len ? arch->decode(code + at, len - at, gva + at, &insn) : -EILSEQ;
		if (r < 0) {
			*ret_bad_offset = at;
			return r;
		}
		mask |= UINT64_C(1) << at;
		at += insn.len;
	}
	*ret_mask = mask;
	*ret_end = at;
	return 0;
}
