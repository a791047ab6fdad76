// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The emulator against the CPU this test runs on: the same instruction, registers,
 * flags and stack in a child that is single-stepped, and both must end alike. And
 * the relocator: a moved instruction reads what it read, and does on the CPU what it did.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "protocol/util.h"
#include "vmm/arch/arch.h"
#include "vmm/vcpu.h"

#define CODE_SIZE  0x4000u
#define STACK_SIZE 0x3000u
#define FLAGS_FREE 0xcd5u /* OF DF SF ZF AF PF CF: what user mode may set */
#define CASES	   20000

static const struct arch_ops *const arch = &arch_x86_64;
static uint8_t *code, *stack, stack_before[STACK_SIZE], stack_emulated[STACK_SIZE];
static pid_t child;

static uint64_t next_random(void)
{
	static uint64_t seed = 88172645463325252u;

	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* --- the CPU's side --- */

static int setup(void **state)
{
	int prot = PROT_READ | PROT_WRITE | PROT_EXEC, status;

	(void)state;
	code = mmap(NULL, CODE_SIZE, prot, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	stack = mmap(NULL, STACK_SIZE + 4096, prot, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (code == MAP_FAILED || stack == MAP_FAILED || munmap(stack + STACK_SIZE, 4096) < 0)
		return -1;
	child = fork();
	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(0);
	}
	return child < 0 || waitpid(child, &status, 0) != child || !WIFSTOPPED(status) ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	kill(child, SIGKILL);
	return waitpid(child, NULL, 0) == child ? 0 : -1;
}

static unsigned long long *user_gpr(struct user_regs_struct *u, size_t i)
{
	unsigned long long *const slots[VCPU_GPR_COUNT] = { &u->rax, &u->rcx, &u->rdx, &u->rbx, &u->rsp, &u->rbp,
							    &u->rsi, &u->rdi, &u->r8,  &u->r9,	&u->r10, &u->r11,
							    &u->r12, &u->r13, &u->r14, &u->r15 };

	return slots[i];
}

/* One instruction on the CPU. The signal it ended in: SIGTRAP when it went well. */
static int cpu_step(struct vcpu_regs *regs)
{
	struct user_regs_struct u;
	int status;

	assert_int_equal(ptrace(PTRACE_GETREGS, child, NULL, &u), 0);
	for (size_t i = 0; i < VCPU_GPR_COUNT; i++)
		*user_gpr(&u, i) = regs->gpr[i];
	u.rip = regs->rip;
	u.eflags = regs->rflags;
	u.orig_rax = ~0ull; /* not in a system call */
	assert_int_equal(ptrace(PTRACE_SETREGS, child, NULL, &u), 0);
	assert_int_equal(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSTOPPED(status));
	assert_int_equal(ptrace(PTRACE_GETREGS, child, NULL, &u), 0);
	for (size_t i = 0; i < VCPU_GPR_COUNT; i++)
		regs->gpr[i] = *user_gpr(&u, i);
	regs->rip = u.rip;
	regs->rflags = u.eflags & ~(UINT64_C(1) << 8);
	return WSTOPSIG(status);
}

/* --- the emulator's side --- */

static bool in_stack(uint64_t gva, size_t len)
{
	uint64_t base = (uint64_t)(uintptr_t)stack;

	return gva >= base && gva - base <= STACK_SIZE - len;
}

static int no_page(uint64_t gva, bool write, struct arch_fault *fault)
{
	*fault = (struct arch_fault){ .vector = 14, .has_error_code = true, .error_code = write ? 2 : 0, .cr2 = gva };
	return -EFAULT;
}

static int stack_read(struct arch_access *a, uint64_t gva, void *buf, size_t len, struct arch_fault *fault)
{
	(void)a;
	if (!in_stack(gva, len))
		return no_page(gva, false, fault);
	memcpy(buf, stack_emulated + (gva - (uint64_t)(uintptr_t)stack), len);
	return 0;
}

static int stack_write(struct arch_access *a, uint64_t gva, const void *buf, size_t len, struct arch_fault *fault)
{
	(void)a;
	if (!in_stack(gva, len))
		return no_page(gva, true, fault);
	memcpy(stack_emulated + (gva - (uint64_t)(uintptr_t)stack), buf, len);
	return 0;
}

static struct arch_access memory = { .read = stack_read, .write = stack_write };

/* --- random instructions --- */

static size_t put(uint8_t *out, size_t at, uint64_t value, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[at + i] = (uint8_t)(value >> (8 * i));
	return at + n;
}

static size_t random_nop(uint8_t *out)
{
	return (size_t)arch->encode_nop(out, 1 + next_random() % 8);
}

static size_t random_branch(uint8_t *out)
{
	uint64_t r = next_random();

	switch (r % 5) {
	case 0:
		out[0] = 0xe8;
		return put(out, 1, r >> 8, 4);
	case 1:
		out[0] = 0xe9;
		return put(out, 1, r >> 8, 4);
	case 2:
		out[0] = 0xeb;
		return put(out, 1, r >> 8, 1);
	case 3:
		out[0] = (uint8_t)(0x70 | (r >> 60));
		return put(out, 1, r >> 8, 1);
	default:
		out[0] = 0x0f;
		out[1] = (uint8_t)(0x80 | (r >> 60));
		return put(out, 2, r >> 8, 4);
	}
}

static size_t random_return(uint8_t *out)
{
	static const char *const forms[] = { "c3", "f3 c3", "f2 c3", "c2 10 00", "c2 f8 ff" };

	return (size_t)hex_decode(forms[next_random() % ARRAY_SIZE(forms)], out, ARCH_INSN_MAX);
}

/* Prefixes in random mixtures; whatever comes out is what both sides get. */
static size_t random_mov(uint8_t *out)
{
	uint64_t r = next_random();
	size_t at = 0;
	bool wide = false;

	if (r & 0x100)
		out[at++] = 0x66;
	if (r & 0x200) {
		out[at] = (uint8_t)(0x40 | (r >> 12 & 0xf));
		wide = out[at++] & 8;
	}
	size_t immediate = wide ? 8 : r & 0x100 ? 2 : 4;
	switch (r % 4) {
	case 0:
		out[at++] = (uint8_t)(0xb0 | (r >> 16 & 7));
		return put(out, at, next_random(), 1);
	case 1:
		out[at++] = (uint8_t)(0xb8 | (r >> 16 & 7));
		return put(out, at, next_random(), immediate);
	case 2:
		out[at++] = 0xc6;
		out[at++] = (uint8_t)(0xc0 | (r >> 16 & 7));
		return put(out, at, next_random(), 1);
	default:
		out[at++] = 0xc7;
		out[at++] = (uint8_t)(0xc0 | (r >> 16 & 7));
		return put(out, at, next_random(), immediate == 8 ? 4 : immediate);
	}
}

static size_t (*const shapes[])(uint8_t *) = { random_nop, random_branch, random_return, random_mov };

static void random_regs(struct vcpu_regs *regs, uint64_t rip)
{
	static const uint64_t odd[] = { 0x00007ffffffffff8u, 0x0000800000000000u, 0x8000000000000000u, 8, 0,
					0xffff800000000004u };

	for (size_t i = 0; i < VCPU_GPR_COUNT; i++)
		regs->gpr[i] = next_random();
	regs->gpr[VCPU_RSP] = (uint64_t)(uintptr_t)stack + 64 + next_random() % (STACK_SIZE - 128);
	if (next_random() % 16 == 0) /* across the two ends of what is mapped */
		regs->gpr[VCPU_RSP] = (uint64_t)(uintptr_t)stack + STACK_SIZE - next_random() % 12;
	if (next_random() % 16 == 0)
		regs->gpr[VCPU_RSP] = odd[next_random() % ARRAY_SIZE(odd)];
	regs->rip = rip;
	regs->rflags = 0x202 | (next_random() & FLAGS_FREE);
}

/* Words to return to: any, mostly canonical. */
static void random_stack(void)
{
	for (size_t i = 0; i + 8 <= STACK_SIZE; i += 8) {
		uint64_t word = next_random() >> (i % 64 ? 17 : 0);
		memcpy(stack_before + i, &word, 8);
	}
}

static void same_regs(const struct vcpu_regs *a, const struct vcpu_regs *b)
{
	for (size_t i = 0; i < VCPU_GPR_COUNT; i++)
		assert_int_equal(a->gpr[i], b->gpr[i]);
	assert_int_equal(a->rip, b->rip);
	assert_int_equal(a->rflags & FLAGS_FREE, b->rflags & FLAGS_FREE);
}

static int signal_of(const struct arch_fault *fault)
{
	return fault->vector == 12 ? SIGBUS : SIGSEGV; /* #SS; #GP, #PF */
}

static bool one_case(size_t shape, unsigned *faulted)
{
	struct vcpu_regs cpu = { 0 }, emulated;
	struct arch_fault fault = { 0 };
	uint64_t at = next_random() % (CODE_SIZE - 16);
	size_t len = shapes[shape](code + at);

	random_regs(&cpu, (uint64_t)(uintptr_t)code + at);
	emulated = cpu;
	memcpy(stack, stack_before, STACK_SIZE);
	memcpy(stack_emulated, stack_before, STACK_SIZE);
	int r = arch->emulate(code + at, len, &emulated, &memory, &fault);
	assert_int_equal(arch->emulates(code + at, len), r != -EOPNOTSUPP);
	if (r == -EOPNOTSUPP)
		return false;
	int signal = cpu_step(&cpu);
	assert_int_equal(signal, r < 0 ? signal_of(&fault) : SIGTRAP);
	*faulted += r < 0;
	same_regs(&cpu, &emulated);
	assert_memory_equal(stack, stack_emulated, STACK_SIZE);
	return true;
}

static void as_the_cpu_does(void **state)
{
	(void)state;
	for (size_t shape = 0; shape < ARRAY_SIZE(shapes); shape++) {
		unsigned done = 0, faulted = 0;

		for (unsigned i = 0; i < CASES / ARRAY_SIZE(shapes); i++) {
			if (i % 64 == 0)
				random_stack();
			done += one_case(shape, &faulted);
		}
		assert_true(done > CASES / ARRAY_SIZE(shapes) * 9 / 10);
		assert_true(shape != 2 || faulted > 100);
	}
}

static void conditions(void **state)
{
	(void)state;
	for (unsigned condition = 0; condition < 16; condition++)
		for (unsigned flags = 0; flags < 32; flags++) {
			struct vcpu_regs cpu = { 0 }, emulated;
			struct arch_fault fault;

			random_regs(&cpu, (uint64_t)(uintptr_t)code);
			code[0] = (uint8_t)(0x70 | condition);
			code[1] = 0x10;
			cpu.rflags = 0x202u | (flags & 1) | (flags & 2) << 1 | (flags & 4) << 4 | (flags & 8) << 4 |
				     (flags & 16) << 7;
			emulated = cpu;
			assert_int_equal(arch->emulate(code, 2, &emulated, &memory, &fault), 0);
			assert_int_equal(cpu_step(&cpu), SIGTRAP);
			same_regs(&cpu, &emulated);
		}
}

static void refuses(const char *hex, struct vcpu_regs *regs, int expected)
{
	uint8_t bytes[ARCH_INSN_MAX];
	struct vcpu_regs before = *regs;
	struct arch_fault fault;
	ssize_t n = hex_decode(hex, bytes, sizeof(bytes));

	assert_true(n > 0);
	assert_int_equal(arch->emulate(bytes, (size_t)n, regs, &memory, &fault), expected);
	assert_memory_equal(&before, regs, sizeof(before));
}

static void refusals(void **state)
{
	static const char *const others[] = {
		"cc",
		"f3 90",
		"e3 05",
		"e2 fe",
		"c7 f8 00 00 00 00",
		"66 c3",
		"cb",
		"ff d0",
		"ff e0",
		"48 89 e5",
		"c7 00 01 00 00 00",
		"8b c8",
		"48 cf",
		"f3 0f 1e fa",
		"e8 00 00",
		"0f 0b",
		"b8 01",
		"66 e9 00 00",
		"49 90",
	};
	struct vcpu_regs regs = { .rflags = 0x202 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		refuses(others[i], &regs, -EOPNOTSUPP);
	regs.rflags |= 1u << 8; /* a debugger steps here: each instruction ends in a #DB */
	refuses("90", &regs, -EOPNOTSUPP);
	regs.rflags = 0x202;
	regs.cr4 = 1u << 23; /* a shadow stack may be in use */
	refuses("c3", &regs, -EOPNOTSUPP);
	refuses("e8 00 00 00 00", &regs, -EOPNOTSUPP);
}

static void five_levels(void **state)
{
	struct vcpu_regs regs = { .rflags = 0x202, .rip = 0x00007ffffffffff0u };

	(void)state;
	refuses("e9 00 01 00 00", &regs, -EFAULT); /* just past the hole's edge ... */
	regs.cr4 = 1u << 12;
	uint8_t jump[] = { 0xe9, 0, 1, 0, 0 };
	struct arch_fault fault;
	assert_int_equal(arch->emulate(jump, 5, &regs, &memory, &fault), 0); /* ... which 57 bits move away */
	assert_int_equal(regs.rip, 0x00008000000000f5u);
}

static void resume_flag(void **state)
{
	struct vcpu_regs regs = { .rflags = 0x10202 };
	struct arch_fault fault;

	(void)state;
	assert_int_equal(arch->emulate((const uint8_t *)"\x90", 1, &regs, &memory, &fault), 0);
	assert_int_equal(regs.rflags, 0x202);
}

/* --- the relocator --- */

/* Random bytes that decode: moved, they are the same instruction of the same length, and read the same place. */
static void moved_decode_the_same(void **state)
{
	unsigned moved = 0, relative = 0, refused = 0;

	(void)state;
	for (unsigned i = 0; i < 300000; i++) {
		uint64_t from = 0xffffffff81000000u + next_random() % 0x1000000,
			 to = 0xffffffffc0000000u + next_random() % 0x1000000;
		uint8_t bytes[ARCH_INSN_MAX], out[ARCH_INSN_MAX];
		struct arch_insn a, b;

		for (size_t j = 0; j < sizeof(bytes); j++)
			bytes[j] = (uint8_t)next_random();
		if (i % 4 == 0)
			put(bytes, 0, UINT64_C(0x058b48), 3); /* mov disp32(%rip),%rax */
		ssize_t n = arch->relocate(bytes, sizeof(bytes), from, to, out, sizeof(out));
		if (arch->decode(bytes, sizeof(bytes), from, &a) < 0) {
			assert_int_equal(n, -EILSEQ);
			continue;
		}
		if (n < 0) {
			assert_true(a.flow != ARCH_FLOW_NONE || n == -ERANGE || n == -EOPNOTSUPP);
			refused++;
			continue;
		}
		assert_int_equal(n, a.len);
		assert_int_equal(arch->decode(out, (size_t)n, to, &b), 0);
		assert_true(b.len == a.len && b.flow == ARCH_FLOW_NONE && b.pc_relative_data == a.pc_relative_data);
		moved++;
		relative += a.pc_relative_data;
		if (!a.pc_relative_data)
			assert_memory_equal(bytes, out, a.len);
	}
	assert_true(moved > 50000 && relative > 20000 && refused > 5000);
}

static void moved_run_the_same(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2000; i++) {
		struct vcpu_regs here = { 0 }, there;
		size_t from = 0x1000 + next_random() % 0x800, to = 0x2000 + next_random() % 0x800;
		uint64_t base = (uint64_t)(uintptr_t)code;

		for (size_t j = 0; j < 0x800; j++)
			code[j] = (uint8_t)next_random();
		put(code, from, 0x058b48, 3); /* mov disp32(%rip),%rax */
		put(code, from + 3, next_random() % 0x700 - (from + 7), 4);
		assert_int_equal(arch->relocate(code + from, 7, base + from, base + to, code + to, 15), 7);
		random_regs(&here, base + from);
		there = here;
		there.rip = base + to;
		assert_int_equal(cpu_step(&here), SIGTRAP);
		assert_int_equal(cpu_step(&there), SIGTRAP);
		assert_int_equal(here.gpr[VCPU_RAX], there.gpr[VCPU_RAX]);
		assert_int_equal(there.rip, base + to + 7);
	}
}

static void not_moved(void **state)
{
	static const struct {
		const char *hex;
		int error;
	} rows[] = {
		{ "e8 00 00 00 00", -EOPNOTSUPP },
		{ "74 05", -EOPNOTSUPP },
		{ "c3", -EOPNOTSUPP },
		{ "ff d0", -EOPNOTSUPP },
		{ "ff 25 00 00 00 00", -EOPNOTSUPP },
		{ "f4", -EOPNOTSUPP },
		{ "0f 05", -EOPNOTSUPP },
		{ "cc", -EOPNOTSUPP },
		{ "67 48 8b 05 00 00 00 00", -EOPNOTSUPP },
		{ "48 8b 05 ff ff ff 7f", -ERANGE },
		{ "06", -EILSEQ },
	};
	uint8_t bytes[ARCH_INSN_MAX], out[ARCH_INSN_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		ssize_t n = hex_decode(rows[i].hex, bytes, sizeof(bytes));
		assert_int_equal(arch->relocate(bytes, (size_t)n, 0x1000, 0x800, out, sizeof(out)), rows[i].error);
	}
	memcpy(bytes, "\x48\x8b\x05\x00\x00\x00\x00", 7);
	assert_int_equal(arch->relocate(bytes, 7, 0, UINT64_C(1) << 40, out, sizeof(out)), -ERANGE);
	assert_int_equal(arch->relocate(bytes, 7, 0, UINT64_C(1) << 63, out, sizeof(out)), -ERANGE);
	assert_int_equal(arch->relocate(bytes, 7, 0, 64, out, 6), -ENOSPC);
}

/* As copies, while other vCPUs run. */
static void stepped(void **state)
{
	static const struct {
		const char *hex;
		bool yes;
	} rows[] = {
		{ "48 8b 05 00 10 00 00", true },    /* mov 0x1000(%rip), %rax */
		{ "65 48 8b 05 00 10 00 00", true }, /* the same, per CPU */
		{ "55", true },			     /* push %rbp */
		{ "48 89 e5", true },		     /* mov %rsp, %rbp */
		{ "48 83 ec 10", true },	     /* sub $16, %rsp */
		{ "48 8d 47 08", true },	     /* lea 8(%rdi), %rax: no access */
		{ "c9", true },			     /* leave */
		{ "48 8b 47 08", false },	     /* mov 8(%rdi), %rax: may fault, and be expected to */
		{ "48 8b 04 25 00 10 00 00", false }, /* an absolute address */
		{ "8f 07", false },		     /* pop (%rdi) */
		{ "48 f7 f1", false },		     /* div %rcx */
		{ "9c", false },		     /* pushf: shows TF */
		{ "9d", false },		     /* popf */
		{ "fb", false },		     /* sti */
		{ "8e d0", false },		     /* mov %eax, %ss */
		{ "8c d8", false },		     /* mov %ds, %eax */
		{ "0f a1", false },		     /* pop %fs */
		{ "0f 22 d8", false },		     /* mov %rax, %cr3 */
		{ "0f 21 f8", false },		     /* mov %dr7, %rax */
		{ "0f 30", false },		     /* wrmsr */
		{ "0f 0b", false },		     /* ud2 */
		{ "f4", false },		     /* hlt */
		{ "ec", false },		     /* in */
		{ "f3 a4", false },		     /* rep movsb */
		{ "e8 00 00 00 00", false },
		{ "74 05", false },
		{ "c3", false },
		{ "cc", false },
		{ "06", false },
		{ "48 8b", false },
	};
	uint8_t bytes[ARCH_INSN_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		ssize_t n = hex_decode(rows[i].hex, bytes, sizeof(bytes));
		if (arch->steps(bytes, (size_t)n) != rows[i].yes)
			fail_msg("%s", rows[i].hex);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_the_cpu_does),    cmocka_unit_test(conditions),
		cmocka_unit_test(refusals),	      cmocka_unit_test(five_levels),
		cmocka_unit_test(resume_flag),	      cmocka_unit_test(moved_decode_the_same),
		cmocka_unit_test(moved_run_the_same), cmocka_unit_test(not_moved),
		cmocka_unit_test(stepped),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
