// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * arm64: any words, any place. What decodes is one word long and does so wherever it lies; what is
 * encoded decodes to what was asked for. Input: 8 bytes of address, 8 of a target, code.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/arch/arch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void check_decode(const uint8_t *code, size_t len, uint64_t gva)
{
	struct arch_insn insn, elsewhere;

	if (arch_arm64.decode(code, len, gva, &insn) < 0) {
		check(len < 4 || gva % 4 || arch_arm64.decode(code, 4, 0, &insn) < 0);
		return;
	}
	check(insn.len == 4 && gva % 4 == 0);
	check(arch_arm64.decode(code, 4, gva + 64, &elsewhere) == 0 && elsewhere.flow == insn.flow);
	bool direct = insn.flow == ARCH_FLOW_JUMP || insn.flow == ARCH_FLOW_CALL || insn.flow == ARCH_FLOW_BRANCH;
	check(direct ? elsewhere.target - insn.target == 64 && insn.target % 4 == 0 : insn.target == 0);
	check(!insn.trap || insn.flow == ARCH_FLOW_TRAP);
}

static void check_encode(uint64_t gva, uint64_t to)
{
	struct arch_insn insn;
	uint8_t out[16];
	ssize_t n = arch_arm64.encode_jump(out, sizeof(out), gva, to);

	if (n > 0 && gva % 4 == 0)
		check(arch_arm64.decode(out, (size_t)n, gva, &insn) == 0 && insn.flow == ARCH_FLOW_JUMP &&
		      insn.target == to);
	n = arch_arm64.encode_return(out, sizeof(out), (int64_t)to, 0, 0);
	check(n == -ERANGE || n == 8 || n == 12);
	for (ssize_t at = 0; at < n; at += 4) {
		check(arch_arm64.decode(out + at, 4, 0, &insn) == 0);
		check(insn.flow == (at + 4 == n ? ARCH_FLOW_RETURN : ARCH_FLOW_NONE));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t gva, to, mask;
	size_t end, bad;

	if (size < 17)
		return 0;
	memcpy(&gva, data, 8);
	memcpy(&to, data + 8, 8);
	data += 16;
	size -= 16;
	check_decode(data, size, gva);
	check_encode(gva, to);
	if (arch_boundaries(&arch_arm64, data, size, gva, size < 64 ? size : 64, &mask, &end, &bad) == 0)
		check(end % 4 == 0 && (mask & ~UINT64_C(0x1111111111111111)) == 0);
	arch_arm64.trace_pad(data, size);
	arch_arm64.entry_skip(data, size);
	return 0;
}
