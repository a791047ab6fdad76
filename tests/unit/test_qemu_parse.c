// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The readers of QEMU's monitor text and register block: text as QEMU 7.2 and
 * 10.0 print it, and text that no QEMU prints. Must never accept half of something.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/backend/qemu_parse.h"

static const char mtree[] =
	"FlatView #0\r\n AS \"i440FX\", root: bus master container\r\n Root memory region: (none)\r\n"
	"  No rendered FlatView\r\n\r\n"
	"FlatView #1\r\n AS \"cpu-smm-0\", root: memory\r\n Root memory region: memory\r\n"
	"  0000000000000000-00000000000fffff (prio 0, ram): smram\r\n\r\n"
	"FlatView #2\r\n AS \"memory\", root: system\r\n AS \"cpu-memory-0\", root: system\r\n"
	" Root memory region: system\r\n"
	"  0000000000000000-00000000000c2fff (prio 0, ram): pc.ram KVM\r\n"
	"  00000000000c3000-00000000000e7fff (prio 0, rom): pc.ram @00000000000c3000 KVM\r\n"
	"  00000000000e8000-00000000000effff (prio 0, ram): pc.ram @00000000000e8000 KVM\r\n"
	"  00000000000f0000-00000000000fffff (prio -1, ram): pc.ram @00000000000f0000\r\n"
	"  00000000fec00000-00000000fec00fff (prio 0, i/o): ioapic\r\n"
	"  00000000fee00000-00000000feefffff (prio 4096, i/o): apic-msi\r\n"
	"  00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios\r\n"
	"  0000000100000000-000000013fffffff (prio 0, ram): pc.ram @00000000c0000000\r\n\r\n"
	"FlatView #3\r\n AS \"I/O\", root: io\r\n  0000000000000000-0000000000000007 (prio 0, ram): evil\r\n";

static void test_mtree(void **state)
{
	struct qemu_range r[8];

	(void)state;
	assert_int_equal(qemu_parse_mtree(mtree, r, ARRAY_SIZE(r)), 5);
	assert_int_equal(r[0].gpa, 0);
	assert_int_equal(r[0].len, 0xc3000);
	assert_true(r[0].writable);
	assert_int_equal(r[1].gpa, 0xc3000);
	assert_false(r[1].writable);
	assert_int_equal(r[2].gpa, 0xe8000); /* two neighbours in one */
	assert_int_equal(r[2].len, 0x18000);
	assert_int_equal(r[4].gpa, 0x100000000);
	assert_int_equal(r[4].len, 0x40000000);
	assert_int_equal(r[4].hva, 0);
	assert_int_equal(qemu_parse_mtree(mtree, r, 4), -E2BIG);
}

static void test_mtree_bad(void **state)
{
	static const char *const bad[] = {
		"", "FlatView #0\n", "unknown command: 'info'\n", " AS \"memory\", root: system\n",
		/* overlap, backwards, wrap-around */
		" AS \"memory\", root: s\n  fffffffffffff000-ffffffffffffffff (prio 0, ram): a\n  0-fff (prio 0, ram): b\n",
		" AS \"memory\", root: s\n  0000-1fff (prio 0, ram): a\n  1000-2fff (prio 0, ram): b\n",
		" AS \"memory\", root: s\n  2000-1fff (prio 0, ram): a\n",
		" AS \"memory\", root: s\n  0000000000000000-ffffffffffffffff (prio 0, ram): a\n",
		/* numbers too long, types that are not RAM */
		" AS \"memory\", root: s\n  00000000000000000-1fff (prio 0, ram): a\n",
		" AS \"memory\", root: s\n  0000-1fff (prio 0, ramd): a\n  3000-3fff (prio 0, romd): b\n",
		" AS \"memory2\", root: s\n  0000-1fff (prio 0, ram): a\n",
	};
	struct qemu_range r[8];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(qemu_parse_mtree(bad[i], r, ARRAY_SIZE(r)), -EBADMSG);
}

static void test_hva(void **state)
{
	uint64_t hva = 0;

	(void)state;
	assert_int_equal(qemu_parse_hva("Host virtual address for 0x1000 (pc.ram) is 0x7f3a27e01000\r\n", 0x1000, &hva), 0);
	assert_int_equal(hva, 0x7f3a27e01000);
	assert_int_equal(qemu_parse_hva("Host virtual address for 0x0 (a) is 0x1) is 0x7f00\n", 0, &hva), 0);
	assert_int_equal(hva, 0x7f00);
	assert_int_equal(qemu_parse_hva("Memory at address 0xfee00000 is not RAM\r\n", 0xfee00000, &hva), -ENOENT);
	assert_int_equal(qemu_parse_hva("No memory is mapped at address 0x20000000\r\n", 0x20000000, &hva), -ENOENT);
	assert_int_equal(qemu_parse_hva("Host virtual address for 0x2000 (pc.ram) is 0x7f00\n", 0x1000, &hva), -EBADMSG);
	assert_int_equal(qemu_parse_hva("Host virtual address for 0x0 (pc.ram) is 0x0\n", 0, &hva), -EBADMSG);
	assert_int_equal(qemu_parse_hva("Host virtual address for 0x0 (pc.ram) is \n", 0, &hva), -EBADMSG);
	assert_int_equal(qemu_parse_hva("", 0, &hva), -EBADMSG);
}

static void test_xp(void **state)
{
	static const char good[] = "0000000000001000: 0x0000000000000001 0x00000000000000ff\r\n"
				   "0000000000001010: 0xffffffffffffffff\r\n";
	uint64_t w[4];

	(void)state;
	assert_int_equal(qemu_parse_xp(good, 0x1000, w, 3), 0);
	assert_int_equal(w[1], 0xff);
	assert_true(w[2] == UINT64_MAX);
	assert_int_equal(qemu_parse_xp(good, 0x1000, w, 4), -EBADMSG); /* shorter than asked */
	assert_int_equal(qemu_parse_xp(good, 0x2000, w, 3), -EBADMSG);
	assert_int_equal(qemu_parse_xp("0000000000001000: Cannot access memory\r\n", 0x1000, w, 1), -EBADMSG);
	assert_int_equal(qemu_parse_xp("0000000000001000:\n", 0x1000, w, 1), -EBADMSG);
	assert_int_equal(qemu_parse_xp("1000: 0x1 0x2 0x3\n", 0x1000, w, 1), -EBADMSG); /* longer than asked */
}

#define BLOCK_64(rip)                                                                                   \
	"RAX=000000000001ad40 RBX=0000000000000002 RCX=0000000000000003 RDX=4000000000000000\r\n"       \
	"RSI=0000000000000083 RDI=0000000000001f3c RBP=ffffffffa5c1aa40 RSP=ffffffffa5c03e98\r\n"       \
	"R8 =0000000000000008 R9 =00000000314dd6fb R10=0000000000000010 R11=0000000000000011\r\n"       \
	"R12=0000000000000012 R13=0000000000000013 R14=0000000000000014 R15=0000000000014790\r\n"       \
	"RIP=" rip " RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\r\n"                           \
	"CS =0010 0000000000000000 ffffffff 00af9b00 DPL=0 CS64 [-RA]\r\n"                              \
	"SS =0018 0000000000000000 ffffffff 00cf9300 DPL=0 DS   [-WA]\r\n"                              \
	"FS =0000 0000000001234000 00000000 00000000\r\n"                                               \
	"GS =0000 ff432697df200000 00000000 00000000\r\n"                                               \
	"GDT=     fffffe0000001000 0000007f\r\n"                                                        \
	"IDT=     fffffe0000000000 00000fff\r\n"                                                        \
	"CR0=80050033 CR2=00000000005794a9 CR3=0000000011e06000 CR4=00751eb0\r\n"                       \
	"DR6=00000000ffff0ff0 DR7=0000000000000400\r\n"                                                 \
	"EFER=0000000000000d01\r\n"                                                                     \
	"FCW=037f FSW=0000 [ST=0] FTW=00 MXCSR=00001f80\r\n"                                            \
	"YMM00=0000000000000000 0000000000000000 0000000000000000 0000000000000000\r\n\r\n"

static void test_registers(void **state)
{
	static const char text[] = "\r\nCPU#0\r\n" BLOCK_64("ffffffffa4c17a0b") "CPU#7\r\n" BLOCK_64("ffffffffa4c17a0c");
	struct qemu_cpu_regs c[2];

	(void)state;
	assert_int_equal(qemu_parse_registers(text, c, 2), 2);
	assert_int_equal(c[0].index, 0);
	assert_int_equal(c[1].index, 7);
	const struct vcpu_regs *r = &c[1].regs;
	assert_true(r->rip == 0xffffffffa4c17a0c && r->rflags == 0x246 && r->halted);
	assert_true(r->gpr[VCPU_RAX] == 0x1ad40 && r->gpr[VCPU_RCX] == 3 && r->gpr[VCPU_RSP] == 0xffffffffa5c03e98);
	assert_true(r->gpr[VCPU_R8] == 8 && r->gpr[VCPU_R9] == 0x314dd6fb && r->gpr[VCPU_R15] == 0x14790);
	assert_true(r->cs == 0x10 && r->ss == 0x18 && r->fs_base == 0x1234000 && r->gs_base == 0xff432697df200000);
	assert_true(r->has_idt && r->idt_base == 0xfffffe0000000000 && !r->has_lstar);
	assert_true(r->cr0 == 0x80050033 && r->cr3 == 0x11e06000 && r->cr4 == 0x751eb0 && r->efer == 0xd01);
	assert_int_equal(qemu_parse_registers(text, c, 1), -E2BIG);
	assert_int_equal(qemu_parse_registers(BLOCK_64("1"), c, 1), 1);
	assert_int_equal(c[0].index, -1);
}

static void test_registers_32bit(void **state)
{
	static const char text[] = "CPU#1\nEAX=00000001 EBX=00000002 ECX=00000003 EDX=00000663\n"
				   "ESI=0 EDI=0 EBP=0 ESP=0000ffd8\nEIP=000fd0a1 EFL=00000002 HLT=0\n"
				   "CS =0023 00000000 ffffffff 00cf9a00\nCR0=00000011 CR2=0 CR3=00000000 CR4=00000000\n";
	struct qemu_cpu_regs c[1];

	(void)state;
	assert_int_equal(qemu_parse_registers(text, c, 1), 1);
	assert_true(c[0].regs.rip == 0xfd0a1 && c[0].regs.gpr[VCPU_RSP] == 0xffd8 && c[0].regs.gpr[VCPU_RDX] == 0x663);
	assert_true(c[0].regs.cs == 0x23 && !c[0].regs.halted && !c[0].regs.has_idt);
}

static void test_registers_bad(void **state)
{
	static const char *const bad[] = {
		"", "CPU#0\n", "unknown command\n", "CPU#0\nRIP=\n", "CPU#0\nRIP=12345678901234567\n",
		"CPU#0\nRIP=zz\n", "=1\n", "CPU#0\nGS =0000\n",
		/* one block is complete, the next is cut */
		"CPU#0\n" BLOCK_64("1") "CPU#1\nRAX=1 RSP=2 RIP=3\n",
		"CPU#0\nRIP=1 RSP=2\nCPU#1\n" BLOCK_64("1"),
		/* a name that only ends like a register */
		"CPU#0\nXRIP=1 RSP=1 CR0=1 CR3=1 CR4=1\nCS =10\n",
	};
	struct qemu_cpu_regs c[4];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(qemu_parse_registers(bad[i], c, ARRAY_SIZE(c)), -EBADMSG);
}

static void test_g(void **state)
{
	uint8_t block[QEMU_G_SIZE] = { 0 }, again[QEMU_G_WRITE_SIZE] = { 0 };
	struct vcpu_regs regs;

	(void)state;
	for (size_t i = 0; i < 16; i++)
		block[8 * i] = (uint8_t)(i + 1);
	memcpy(block + 128, "\x0b\x7a\xc1\xa4\xff\xff\xff\xff\x46\x02\0\0\x10\0\0\0\x18", 17);
	block[164] = 0xf5;
	block[172] = 0x65;
	block[180] = 0x95;
	memcpy(block + 188, "\x33\0\x05\x80", 4);
	memcpy(block + 204, "\0\x60\xe0\x11", 4);
	memcpy(block + 212, "\xb0\x1e\x75", 3);
	memcpy(block + 228, "\x01\x0d", 2);
	assert_int_equal(qemu_parse_g(block, sizeof(block), &regs), 0);
	assert_true(regs.gpr[VCPU_RAX] == 1 && regs.gpr[VCPU_RBX] == 2 && regs.gpr[VCPU_RCX] == 3);
	assert_true(regs.gpr[VCPU_RDX] == 4 && regs.gpr[VCPU_RSI] == 5 && regs.gpr[VCPU_RSP] == 8);
	assert_true(regs.rip == 0xffffffffa4c17a0b && regs.rflags == 0x246 && regs.cs == 0x10 && regs.ss == 0x18);
	assert_true(regs.fs_base == 0xf5 && regs.gs_base == 0x65 && regs.kernel_gs_base == 0x95);
	assert_true(regs.cr0 == 0x80050033 && regs.cr3 == 0x11e06000 && regs.cr4 == 0x751eb0 && regs.efer == 0xd01);
	qemu_format_g(&regs, again);
	assert_memory_equal(again, block, sizeof(again));
	assert_int_equal(qemu_parse_g(block, QEMU_G_SIZE - 1, &regs), -EBADMSG);
}

static void test_g_arm64(void **state)
{
	uint8_t block[QEMU_G_ARM64_SIZE] = { 0 };
	struct vcpu_regs regs;

	(void)state;
	for (size_t i = 0; i < 31; i++)
		block[8 * i] = (uint8_t)(i + 1);
	memcpy(block + 31 * 8, "\x10\x3e\0\x08\0\x80\xff\xff\x8c\x87\xbb\x16\x52\xc5\xff\xff\xc5\0\x40\0", 20);
	assert_int_equal(qemu_parse_g_arm64(block, sizeof(block), &regs), 0);
	assert_int_equal(regs.arch, VCPU_ARM64);
	assert_true(regs.arm64.x[0] == 1 && regs.arm64.x[30] == 31);
	assert_true(regs.arm64.sp == 0xffff800008003e10 && regs.rip == 0xffffc55216bb878c);
	assert_true(regs.arm64.pstate == 0x4000c5 && vcpu_cpl(&regs) == 0);
	block[33 * 8] = 0xc0;
	assert_int_equal(qemu_parse_g_arm64(block, sizeof(block), &regs), 0);
	assert_int_equal(vcpu_cpl(&regs), 3);
	assert_int_equal(qemu_parse_g_arm64(block, sizeof(block) - 1, &regs), -EBADMSG);
}

static void test_regnum(void **state)
{
	static const char xml[] = "<?xml version=\"1.0\"?><feature name=\"org.qemu.gdb.arm.sys.regs\">"
				  "<reg name=\"TTBR1_EL12\" bitsize=\"64\" regnum=\"9\" group=\"cp_regs\"/>"
				  "<reg name=\"TTBR1_EL1\" bitsize=\"64\" regnum=\"175\" group=\"cp_regs\"/>"
				  "<reg name=\"A\" bitsize=\"64\"/><reg name=\"B\" regnum=\"1234567\"/>"
				  "<reg name=\"C\" regnum=\"\"/><reg name=\"D\" regnum=\"12";
	static const char *const bad[] = { "A", "B", "C", "D" };
	unsigned n = 7;

	(void)state;
	assert_int_equal(qemu_parse_regnum(xml, "TTBR1_EL1", &n), 0);
	assert_int_equal(n, 175);
	assert_int_equal(qemu_parse_regnum(xml, "TTBR1", &n), -ENOENT);
	assert_int_equal(qemu_parse_regnum("", "TTBR1_EL1", &n), -ENOENT);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(qemu_parse_regnum(xml, bad[i], &n), -EBADMSG);
	assert_int_equal(n, 175);
}

static void test_run_state(void **state)
{
	(void)state;
	assert_true(qemu_parse_run_state("running").state == BACKEND_RUNNING);
	assert_true(qemu_parse_run_state("running").holdable);
	assert_true(qemu_parse_run_state("debug").state == BACKEND_PAUSED);
	assert_false(qemu_parse_run_state("inmigrate").holdable);
	assert_false(qemu_parse_run_state("suspended").holdable);
	assert_true(qemu_parse_run_state("guest-panicked").state == BACKEND_BROKEN);
	assert_false(qemu_parse_run_state("shutdown").holdable);
	assert_false(qemu_parse_run_state("").holdable);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mtree), cmocka_unit_test(test_mtree_bad), cmocka_unit_test(test_hva),
		cmocka_unit_test(test_xp), cmocka_unit_test(test_registers), cmocka_unit_test(test_registers_32bit),
		cmocka_unit_test(test_registers_bad), cmocka_unit_test(test_g), cmocka_unit_test(test_run_state),
		cmocka_unit_test(test_g_arm64), cmocka_unit_test(test_regnum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
