// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Registers: as "info registers" prints them (target/i386/cpu-dump.c), and as the
 * gdb stub packs them. Must never take a partial set for a whole one.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/backend/qemu_parse.h"
#include "vmm/backend/qemu_scan.h"

enum shape {
	SHAPE_VALUE,	/* RAX=0123 */
	SHAPE_SELECTOR, /* CS =0010 base limit flags */
	SHAPE_BASE,	/* GS =0000 base limit flags */
	SHAPE_HALT,	/* HLT=1 */
};

/* Without them a block is not believed. */
enum { HAVE_RIP = 1, HAVE_RSP = 2, HAVE_CS = 4, HAVE_CR0 = 8, HAVE_CR3 = 16, HAVE_CR4 = 32, HAVE_ALL = 63 };

#define FIELD(name, shape, member, have) { name, shape, offsetof(struct vcpu_regs, member), have }
#define GPR(name, n) { name, SHAPE_VALUE, offsetof(struct vcpu_regs, gpr) + 8 * (n), 0 }

/* A vCPU in 32-bit code is printed with the E names, and without R8 to R15. */
static const struct field {
	const char *name;
	enum shape shape;
	size_t offset;
	unsigned have;
} fields[] = {
	GPR("RAX", VCPU_RAX), GPR("RBX", VCPU_RBX), GPR("RCX", VCPU_RCX), GPR("RDX", VCPU_RDX),
	GPR("RSI", VCPU_RSI), GPR("RDI", VCPU_RDI), GPR("RBP", VCPU_RBP),
	GPR("EAX", VCPU_RAX), GPR("EBX", VCPU_RBX), GPR("ECX", VCPU_RCX), GPR("EDX", VCPU_RDX),
	GPR("ESI", VCPU_RSI), GPR("EDI", VCPU_RDI), GPR("EBP", VCPU_RBP),
	GPR("R8", VCPU_R8), GPR("R9", VCPU_R9), GPR("R10", VCPU_R10), GPR("R11", VCPU_R11),
	GPR("R12", VCPU_R12), GPR("R13", VCPU_R13), GPR("R14", VCPU_R14), GPR("R15", VCPU_R15),
	FIELD("RSP", SHAPE_VALUE, gpr[VCPU_RSP], HAVE_RSP),
	FIELD("ESP", SHAPE_VALUE, gpr[VCPU_RSP], HAVE_RSP),
	FIELD("RIP", SHAPE_VALUE, rip, HAVE_RIP),
	FIELD("EIP", SHAPE_VALUE, rip, HAVE_RIP),
	FIELD("RFL", SHAPE_VALUE, rflags, 0),
	FIELD("EFL", SHAPE_VALUE, rflags, 0),
	FIELD("HLT", SHAPE_HALT, halted, 0),
	FIELD("CS", SHAPE_SELECTOR, cs, HAVE_CS),
	FIELD("SS", SHAPE_SELECTOR, ss, 0),
	FIELD("FS", SHAPE_BASE, fs_base, 0),
	FIELD("GS", SHAPE_BASE, gs_base, 0),
	FIELD("IDT", SHAPE_VALUE, idt_base, 0),
	FIELD("CR0", SHAPE_VALUE, cr0, HAVE_CR0),
	FIELD("CR3", SHAPE_VALUE, cr3, HAVE_CR3),
	FIELD("CR4", SHAPE_VALUE, cr4, HAVE_CR4),
	FIELD("EFER", SHAPE_VALUE, efer, 0),
};

static const struct field *field_find(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (strlen(fields[i].name) == len && !memcmp(fields[i].name, name, len))
			return &fields[i];
	return NULL;
}

/* s stands behind the '='. */
static int store(const struct field *f, struct qemu_scan *s, struct vcpu_regs *regs, unsigned *have)
{
	char *at = (char *)regs + f->offset;
	uint64_t v, selector;

	qemu_scan_blanks(s);
	if (!qemu_scan_hex(s, &v))
		return -EBADMSG;
	if (f->shape == SHAPE_SELECTOR) {
		selector = v & 0xffff;
		*(uint16_t *)(void *)at = (uint16_t)selector;
	} else if (f->shape == SHAPE_HALT) {
		*(bool *)(void *)at = v != 0;
	} else {
		if (f->shape == SHAPE_BASE) {
			qemu_scan_blanks(s);
			if (!qemu_scan_hex(s, &v))
				return -EBADMSG;
		}
		*(uint64_t *)(void *)at = v;
	}
	if (f->offset == offsetof(struct vcpu_regs, idt_base))
		regs->has_idt = true;
	*have |= f->have;
	return 0;
}

static bool is_name(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* All "NAME=value" of one line. */
static int parse_line(const char *line, size_t len, struct vcpu_regs *regs, unsigned *have)
{
	for (size_t i = 0; i < len; i++) {
		if (line[i] != '=')
			continue;
		size_t end = i, start;
		while (end && line[end - 1] == ' ')
			end--;
		for (start = end; start && is_name(line[start - 1]); start--)
			;
		if (start && line[start - 1] != ' ')
			continue;
		const struct field *f = field_find(line + start, end - start);
		struct qemu_scan s = { line + i + 1, line + len };
		int r = f ? store(f, &s, regs, have) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

/* "CPU#12" -> true. */
static bool parse_header(const char *line, size_t len, int *ret)
{
	int index = 0;

	if (len < 5 || len > 9 || memcmp(line, "CPU#", 4))
		return false;
	for (size_t i = 4; i < len && line[i] != '\r'; i++) {
		if (line[i] < '0' || line[i] > '9')
			return false;
		index = index * 10 + (line[i] - '0');
	}
	*ret = index;
	return true;
}

int qemu_parse_registers(const char *text, struct qemu_cpu_regs *cpus, size_t cap)
{
	struct qemu_cpu_regs *cur = NULL;
	unsigned have = 0;
	size_t n = 0;
	int index = -1;

	for (const char *line = text; *line;) {
		size_t len = strcspn(line, "\n");
		bool header = parse_header(line, len, &index);

		if (header && cur && have != HAVE_ALL)
			return -EBADMSG;
		if (header || (!cur && memchr(line, '=', len))) {
			if (n == cap)
				return -E2BIG;
			cur = &cpus[n++];
			*cur = (struct qemu_cpu_regs){ .index = index };
			have = 0;
		}
		int r = cur && !header ? parse_line(line, len, &cur->regs, &have) : 0;
		if (r < 0)
			return r;
		line += len + (line[len] != '\0');
	}
	return n && have == HAVE_ALL ? (int)n : -EBADMSG;
}

/* Where each of gdb's general registers goes: rax rbx rcx rdx rsi rdi rbp rsp r8 .. r15. */
static const uint8_t g_order[VCPU_GPR_COUNT] = {
	VCPU_RAX, VCPU_RBX, VCPU_RCX, VCPU_RDX, VCPU_RSI, VCPU_RDI, VCPU_RBP, VCPU_RSP,
	VCPU_R8, VCPU_R9, VCPU_R10, VCPU_R11, VCPU_R12, VCPU_R13, VCPU_R14, VCPU_R15,
};

/*
 * Offsets in the block: rip, eflags, cs ss ds es fs gs (32 bits each), fs gs kernel-gs
 * base, cr0 2 3 4 8, efer. The ss, ds and es bases in QEMU's XML are commented out there.
 */
enum {
	G_RIP = 128, G_EFLAGS = 136, G_CS = 140, G_SS = 144, G_FS_BASE = 164, G_GS_BASE = 172,
	G_KERNEL_GS_BASE = 180, G_CR0 = 188, G_CR3 = 204, G_CR4 = 212, G_EFER = 228,
};

static uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

int qemu_parse_g(const uint8_t *block, size_t len, struct vcpu_regs *ret)
{
	struct vcpu_regs regs = { 0 };

	if (len < QEMU_G_SIZE)
		return -EBADMSG;
	for (size_t i = 0; i < VCPU_GPR_COUNT; i++)
		regs.gpr[g_order[i]] = get64(block + 8 * i);
	regs.rip = get64(block + G_RIP);
	regs.rflags = get32(block + G_EFLAGS);
	regs.cs = (uint16_t)get32(block + G_CS);
	regs.ss = (uint16_t)get32(block + G_SS);
	regs.fs_base = get64(block + G_FS_BASE);
	regs.gs_base = get64(block + G_GS_BASE);
	regs.kernel_gs_base = get64(block + G_KERNEL_GS_BASE);
	regs.cr0 = get64(block + G_CR0);
	regs.cr3 = get64(block + G_CR3);
	regs.cr4 = get64(block + G_CR4);
	regs.efer = get64(block + G_EFER);
	*ret = regs;
	return 0;
}

void qemu_format_g(const struct vcpu_regs *regs, uint8_t block[static QEMU_G_WRITE_SIZE])
{
	uint64_t v;

	for (size_t i = 0; i < VCPU_GPR_COUNT; i++) {
		v = htole64(regs->gpr[g_order[i]]);
		memcpy(block + 8 * i, &v, 8);
	}
	v = htole64(regs->rip);
	memcpy(block + G_RIP, &v, 8);
	uint32_t flags = htole32((uint32_t)regs->rflags);
	memcpy(block + G_EFLAGS, &flags, 4);
}

int qemu_parse_g_arm64(const uint8_t *block, size_t len, struct vcpu_regs *ret)
{
	struct vcpu_regs regs = { .arch = VCPU_ARM64 };
	size_t n = ARRAY_SIZE(regs.arm64.x);

	if (len < QEMU_G_ARM64_SIZE)
		return -EBADMSG;
	for (size_t i = 0; i < n; i++)
		regs.arm64.x[i] = get64(block + 8 * i);
	regs.arm64.sp = get64(block + 8 * n);
	regs.rip = get64(block + 8 * (n + 1));
	regs.arm64.pstate = get32(block + 8 * (n + 2));
	*ret = regs;
	return 0;
}

/* <reg name="TTBR1_EL1" bitsize="64" regnum="175" group="cp_regs"/> */
int qemu_parse_regnum(const char *xml, const char *name, unsigned *ret)
{
	static const char number[] = " regnum=\"";
	char tag[64];
	int n = snprintf(tag, sizeof(tag), "<reg name=\"%s\"", name);
	const char *at = n > 0 && (size_t)n < sizeof(tag) ? strstr(xml, tag) : NULL;

	if (!at)
		return -ENOENT;
	size_t len = strcspn(at, ">");
	at = memmem(at, len, number, sizeof(number) - 1);
	if (!at)
		return -EBADMSG;
	at += sizeof(number) - 1;
	unsigned value = 0;
	size_t digits = strspn(at, "0123456789");
	if (digits < 1 || digits > 6 || at[digits] != '"')
		return -EBADMSG;
	for (size_t i = 0; i < digits; i++)
		value = value * 10 + (unsigned)(at[i] - '0');
	*ret = value;
	return 0;
}
