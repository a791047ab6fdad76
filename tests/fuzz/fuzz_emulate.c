// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guest code, registers and stack into the emulator and the relocator: whatever is
 * refused or faults changed nothing, whatever is done moved RIP, and a moved
 * instruction is still one of the same length. Input: 8 bytes RSP, 8 bytes RIP, 8 bytes
 * flags, 1 byte CR4 choice, code.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/arch/arch.h"
#include "vmm/vcpu.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t stack[64];
static unsigned accesses;

static void check(bool ok)
{
	if (!ok)
		abort();
}

static int page_fault(uint64_t gva, struct arch_fault *fault)
{
	*fault = (struct arch_fault){ .vector = 14, .has_error_code = true, .cr2 = gva };
	return -EFAULT;
}

/* Half of all addresses are mapped, all to the same 64 bytes. */
static int stack_read(struct arch_access *a, uint64_t gva, void *buf, size_t len, struct arch_fault *fault)
{
	(void)a;
	accesses++;
	check(len == 8);
	if (gva & 0x1000)
		return page_fault(gva, fault);
	memcpy(buf, stack + gva % (sizeof(stack) - 8), len);
	return 0;
}

static int stack_write(struct arch_access *a, uint64_t gva, const void *buf, size_t len, struct arch_fault *fault)
{
	(void)a;
	accesses++;
	check(len == 8);
	if (gva & 0x1000)
		return page_fault(gva, fault);
	memcpy(stack + gva % (sizeof(stack) - 8), buf, len);
	return 0;
}

static void fuzz_emulate(const uint8_t *code, size_t len, const struct vcpu_regs *start)
{
	struct arch_access memory = { .read = stack_read, .write = stack_write };
	struct arch_fault fault = { 0 };
	struct vcpu_regs regs = *start;
	uint8_t before[sizeof(stack)];

	memcpy(before, stack, sizeof(before));
	accesses = 0;
	int r = arch_x86_64.emulate(code, len, &regs, &memory, &fault);
	check(r == 0 || r == -EFAULT || r == -EOPNOTSUPP);
	check(accesses <= 1);
	check(r == -EOPNOTSUPP || arch_x86_64.emulates(code, len));
	if (r < 0)
		check(memcmp(start, &regs, sizeof(regs)) == 0 && memcmp(before, stack, sizeof(stack)) == 0);
	if (r == -EFAULT)
		check(fault.vector == 12 || fault.vector == 13 || fault.vector == 14);
	if (r == 0)
		check((regs.rflags | 1u << 16) == (start->rflags | 1u << 16) && !(regs.rflags & 1u << 16));
}

static void fuzz_relocate(const uint8_t *code, size_t len, uint64_t from, uint64_t to)
{
	uint8_t out[ARCH_INSN_MAX];
	struct arch_insn a, b;
	ssize_t n = arch_x86_64.relocate(code, len, from, to, out, sizeof(out));

	check(n >= 0 || n == -ERANGE || !arch_x86_64.steps(code, len));
	if (n < 0)
		return;
	check(arch_x86_64.steps(code, len) == arch_x86_64.steps(out, (size_t)n));
	check(arch_x86_64.decode(code, len, from, &a) == 0 && a.len == n && a.flow == ARCH_FLOW_NONE);
	check(arch_x86_64.decode(out, (size_t)n, to, &b) == 0 && b.len == n && b.flow == ARCH_FLOW_NONE);
	check(a.pc_relative_data == b.pc_relative_data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vcpu_regs regs = { .cs = 0x10 };

	if (size < 26)
		return 0;
	memcpy(&regs.gpr[VCPU_RSP], data, 8);
	memcpy(&regs.rip, data + 8, 8);
	memcpy(&regs.rflags, data + 16, 8);
	regs.cr4 = (data[24] & 1 ? UINT64_C(1) << 12 : 0) | (data[24] & 2 ? UINT64_C(1) << 23 : 0);
	for (size_t i = 0; i < sizeof(stack); i++)
		stack[i] = data[i % size];
	fuzz_emulate(data + 25, size - 25, &regs);
	fuzz_relocate(data + 25, size - 25, regs.rip, regs.gpr[VCPU_RSP]);
	fuzz_relocate(data + 25, size - 25, regs.rip, regs.rip + 0x1000);
	return 0;
}
