// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guest code bytes into the decoder and the boundary walk, and the encoders'
 * output back through the decoder. Input: 8 bytes address, 1 byte range length,
 * code.
 */
#include <stdlib.h>
#include <string.h>

#include "vmm/arch/arch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void fuzz_decode(const uint8_t *code, size_t len, uint64_t gva)
{
	struct arch_insn insn;

	if (arch_x86_64.decode(code, len, gva, &insn) < 0)
		return;
	check(insn.len >= 1 && insn.len <= ARCH_INSN_MAX && insn.len <= len);
	check(!insn.trap || insn.flow == ARCH_FLOW_TRAP);
	check(!insn.nop || insn.flow == ARCH_FLOW_NONE);

	/* What an instruction is does not hang on what follows it. */
	struct arch_insn alone;
	check(arch_x86_64.decode(code, insn.len, gva, &alone) == 0 && alone.len == insn.len &&
	      alone.flow == insn.flow && alone.target == insn.target);
	check(insn.len == 1 || arch_x86_64.decode(code, insn.len - 1u, gva, &alone) < 0);
}

static void fuzz_boundaries(const uint8_t *code, size_t len, uint64_t gva, size_t need)
{
	uint64_t mask;
	size_t end, bad;

	if (arch_boundaries(&arch_x86_64, code, len, gva, need, &mask, &end, &bad) < 0)
		return;
	check(need >= 1 && need <= 64 && end >= need && end <= len && end < need + ARCH_INSN_MAX);
	check((mask & 1) && (need == 64 || mask >> need == 0));
	for (size_t i = 0; i < need; i++) {
		struct arch_insn insn;
		size_t next = i + 1;

		if (!(mask >> i & 1))
			continue;
		while (next < need && !(mask >> next & 1))
			next++;
		check(arch_x86_64.decode(code + i, len - i, gva + i, &insn) == 0);
		check(i + insn.len == (next < need ? next : end));
	}
}

static void fuzz_encode(uint64_t gva, uint64_t to)
{
	struct arch_insn insn;
	uint8_t out[16];
	ssize_t n = arch_x86_64.encode_jump(out, sizeof(out), gva, to);

	if (n >= 0)
		check(arch_x86_64.decode(out, (size_t)n, gva, &insn) == 0 && insn.flow == ARCH_FLOW_JUMP &&
		      insn.target == to);
	n = arch_x86_64.encode_call(out, sizeof(out), gva, to);
	if (n >= 0)
		check(arch_x86_64.decode(out, (size_t)n, gva, &insn) == 0 && insn.flow == ARCH_FLOW_CALL &&
		      insn.target == to);
	n = arch_x86_64.encode_return(out, sizeof(out), (int64_t)to, gva, 0);
	if (n >= 0) {
		check(arch_x86_64.decode(out, (size_t)n, gva, &insn) == 0 && insn.len == n - 1);
		check(arch_x86_64.decode(out + n - 1, 1, gva, &insn) == 0 && insn.flow == ARCH_FLOW_RETURN);
	}
	n = arch_x86_64.encode_return(out, sizeof(out), 1, gva, to ? to : 1);
	if (n >= 0) {
		check(arch_x86_64.decode(out, (size_t)n, gva, &insn) == 0 && insn.len == 5);
		check(arch_x86_64.decode(out + 5, (size_t)n - 5, gva + 5, &insn) == 0 && insn.len == n - 5 &&
		      insn.flow == ARCH_FLOW_JUMP && insn.target == (to ? to : 1));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t gva, to = 0;

	if (size < 10)
		return 0;
	memcpy(&gva, data, sizeof(gva));
	memcpy(&to, data + 9, size - 9 < sizeof(to) ? size - 9 : sizeof(to));
	fuzz_decode(data + 9, size - 9, gva);
	fuzz_boundaries(data + 9, size - 9, gva, data[8]);
	fuzz_encode(gva, to);
	fuzz_encode(gva, gva + (uint64_t)(int64_t)(int32_t)to);
	arch_x86_64.trace_pad(data + 9, size - 9);
	arch_x86_64.entry_skip(data + 9, size - 9);
	return 0;
}
