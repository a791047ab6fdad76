// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Looks at a guest that has been written to files: a RAM image (offset = guest-physical
 * address, as pmemsave or a memory-backend-file of less than 3 GiB gives it) and the text of the
 * monitor's "info registers -a". The monitor does not print IA32_KERNEL_GS_BASE: a line
 * "KGS=hex" in a CPU's block gives it. For tests and by hand; never shipped.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "vmm/guest/guest.h"
#include "vmm/guest/padding.h"

struct image_file {
	struct guest_memory mem;
	int fd;
	uint64_t reads;
};

static int file_read(struct guest_memory *m, uint64_t gpa, void *buf, size_t len, struct err *e)
{
	struct image_file *f = container_of(m, struct image_file, mem);

	f->reads++;
	if (gpa > INT64_MAX - len || pread(f->fd, buf, len, (off_t)gpa) != (ssize_t)len)
		return err_set_addr(e, ERR_FAILED, EFAULT, NULL, gpa, "0x%" PRIx64 " is not in the image", gpa);
	return 0;
}

/* Value after "NAME" in text, e.g. "CR3="; segments have "SELECTOR BASE": skip words before it. */
static uint64_t field(const char *text, const char *name, int skip)
{
	const char *p = strstr(text, name);

	if (!p)
		return 0;
	p += strlen(name);
	for (; skip; skip--)
		p += strcspn(p, " \n") + 1;
	return strtoull(p, NULL, 16);
}

static void regs_parse(const char *t, struct vcpu_regs *r)
{
	static const char *const names[VCPU_GPR_COUNT] = {
		"RAX=", "RCX=", "RDX=", "RBX=", "RSP=", "RBP=", "RSI=", "RDI=",
		"R8 =", "R9 =", "R10=", "R11=", "R12=", "R13=", "R14=", "R15=",
	};

	for (int i = 0; i < VCPU_GPR_COUNT; i++)
		r->gpr[i] = field(t, names[i], 0);
	r->rip = field(t, "RIP=", 0);
	r->rflags = field(t, "RFL=", 0);
	r->halted = field(t, "HLT=", 0) != 0;
	r->cs = (uint16_t)field(t, "CS =", 0);
	r->ss = (uint16_t)field(t, "SS =", 0);
	r->fs_base = field(t, "FS =", 1);
	r->gs_base = field(t, "GS =", 1);
	r->kernel_gs_base = field(t, "KGS=", 0);
	r->cr0 = field(t, "CR0=", 0);
	r->cr3 = field(t, "CR3=", 0);
	r->cr4 = field(t, "CR4=", 0);
	r->efer = field(t, "EFER=", 0);
	r->idt_base = field(t, "IDT=", 0);
	r->has_idt = r->idt_base != 0;
}

/* arm64: the monitor has none of the system registers; lines "TTBR1=hex" and so on in a CPU's block give them. */
static void arm64_parse(const char *t, struct vcpu_regs *r)
{
	char name[8];

	r->arch = VCPU_ARM64;
	for (int i = 0; i < 31; i++) {
		snprintf(name, sizeof(name), "X%02d=", i);
		r->arm64.x[i] = field(t, name, 0);
	}
	r->rip = field(t, "PC=", 0);
	r->arm64.sp = field(t, "SP=", 0);
	r->arm64.pstate = field(t, "PSTATE=", 0);
	r->arm64.sp_el0 = field(t, "SP_EL0=", 0);
	r->arm64.sp_el1 = field(t, "SP_EL1=", 0);
	r->arm64.elr = field(t, "ELR=", 0);
	r->arm64.ttbr1 = field(t, "TTBR1=", 0);
	r->arm64.tcr = field(t, "TCR=", 0);
	r->arm64.tpidr = field(t, "TPIDR=", 0);
}

static size_t regs_load(const char *path, struct vcpu_regs *regs)
{
	_cleanup_free_ char *text = NULL;
	size_t len, n = 0;

	if (read_file(path, 16u << 20, &text, &len) < 0)
		return 0;
	for (char *p = strstr(text, "CPU#"); p && n < VCPU_MAX; n++) {
		char *next = strstr(p + 4, "CPU#");
		if (next)
			next[-1] = '\0';
		regs[n] = (struct vcpu_regs){ 0 };
		if (strstr(p, "TTBR1="))
			arm64_parse(p, &regs[n]);
		else
			regs_parse(p, &regs[n]);
		p = next;
	}
	return n;
}

static uint64_t cpu_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

static void print_rss(const char *when)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (read_file("/proc/self/status", 65536, &text, &len) < 0)
		return;
	char *p = strstr(text, "VmRSS:"), *a = strstr(text, "RssAnon:");
	if (p && a)
		printf("rss %s: %.*s, %.*s\n", when, (int)strcspn(p, "\n"), p, (int)strcspn(a, "\n"), a);
}

static void print_facts(const struct guest *g)
{
	const struct guest_facts *f = guest_facts(g);

	printf("release %s\nbanner %s\nbuild-id %s\n", f->release, f->banner, f->build_id_hex);
	printf("base 0x%" PRIx64 "\nkaslr-offset 0x%" PRIx64 "\nphys-base %#" PRIx64 "\n", f->base, f->kaslr_offset,
	       (uint64_t)f->phys_base);
	printf("text 0x%" PRIx64 "..0x%" PRIx64 "\nroot 0x%" PRIx64 "\nlevels %u\nkpti %d\n", f->text_start,
	       f->text_end, f->kernel_cr3, f->paging_levels, f->kpti);
	printf("symbols %zu\nlayout %s\n", f->symbols, f->kallsyms_layout);
}

static void print_symbols(const struct guest *g)
{
	struct guest_symbol_cursor c = { 0 };
	struct guest_symbol s;

	while (guest_symbol_next(g, &c, &s) > 0)
		printf("%016" PRIx64 " %c %s\n", s.addr, s.type, s.name);
}

/* "symbol" (its whole body), or "0xSTART-0xEND". */
static int range_parse(const struct guest *g, const char *text, struct guest_range *ret)
{
	struct guest_symbol s;
	uint64_t size, addr;

	if (sscanf(text, "0x%" SCNx64 "-0x%" SCNx64, &ret->start, &ret->end) == 2)
		return 0;
	int r = guest_symbol_find(g, text, &addr, NULL, NULL);
	if (r < 0 || (r = guest_symbol_at(g, addr, &s, &size)) < 0)
		return r;
	*ret = (struct guest_range){ .start = addr, .end = addr + size };
	return 0;
}

static int scan(struct guest *g, const struct vcpu_regs *regs, size_t n, const char *what, struct image_file *f)
{
	struct guest_blocker b;
	struct guest_range range;
	struct err e = { 0 };
	char where[256];

	if (range_parse(g, what, &range) < 0) {
		fprintf(stderr, "guest-dump: no symbol or range '%s'\n", what);
		return 1;
	}
	if (guest_stacks_prepare(g, &e) < 0) {
		fprintf(stderr, "guest-dump: %s\n", e.text);
		return 1;
	}
	uint64_t reads = f->reads, cpu = cpu_us(), us = now_us();
	int r = guest_stacks_scan(g, regs, n, &range, 1, GUEST_STACKS_ALL, &b, &e);
	us = now_us() - us;
	cpu = cpu_us() - cpu;
	if (r < 0) {
		fprintf(stderr, "guest-dump: %s\n", e.text);
		return 1;
	}
	printf("%s: %s (%" PRIu64 " us, %" PRIu64 " us of CPU, %" PRIu64 " reads)\n", what, r ? "busy" : "clean", us,
	       cpu, f->reads - reads);
	if (r) {
		guest_format_addr(g, b.address, where, sizeof(where));
		printf("  pid %d (%s), %s: %s\n", b.pid, b.comm, b.where, where);
	}
	return r ? 3 : 0;
}

static int print_padding(struct guest *g, const struct image_file *f)
{
	struct padding_run runs[64];
	struct err e = { 0 };
	uint64_t us = now_us(), reads = f->reads;
	char where[256];
	int n = guest_padding_find(g, SIZE_MAX / 2, runs, ARRAY_SIZE(runs), &e);

	us = now_us() - us;
	if (n < 0) {
		fprintf(stderr, "guest-dump: %s\n", e.text);
		return 1;
	}
	for (int i = 0; i < n; i++) {
		guest_format_addr(g, runs[i].start, where, sizeof(where));
		printf("0x%" PRIx64 " %" PRIu64 " %s\n", runs[i].start, runs[i].end - runs[i].start, where);
	}
	printf("all of the text: %" PRIu64 " us, %" PRIu64 " reads\n", us, f->reads - reads);
	us = now_us();
	n = guest_padding_find(g, 512, runs, ARRAY_SIZE(runs), &e);
	printf("for 512 bytes: %" PRIu64 " us, %d run%s\n", now_us() - us, n, n == 1 ? "" : "s");
	return n < 0;
}

int main(int argc, char **argv)
{
	static struct vcpu_regs regs[VCPU_MAX];
	_cleanup_(guest_free) struct guest *g = NULL;
	struct err e = { 0 };

	if (argc < 4) {
		fprintf(stderr, "usage: guest-dump RAM-IMAGE REGISTERS facts|symbols|padding|scan [SYMBOL|0xSTART-0xEND]...\n");
		return 2;
	}
	struct image_file f = { .mem.read = file_read, .fd = open(argv[1], O_RDONLY | O_CLOEXEC) };
	size_t n = regs_load(argv[2], regs);
	if (f.fd < 0 || n == 0) {
		fprintf(stderr, "guest-dump: cannot read %s\n", f.fd < 0 ? argv[1] : argv[2]);
		return 1;
	}
	uint64_t cpu = cpu_us(), us = now_us();
	if (guest_probe(&f.mem, regs, n, &g, &e) < 0 || guest_revalidate(g, regs, n, &e) < 0) {
		fprintf(stderr, "guest-dump: %s\n", e.text);
		return 1;
	}
	us = now_us() - us;
	cpu = cpu_us() - cpu;
	if (strcmp(argv[3], "symbols") == 0) {
		print_symbols(g);
		return 0;
	}
	if (strcmp(argv[3], "padding") == 0)
		return print_padding(g, &f);
	int worst = 0;
	for (int i = 4; i < argc; i++) {
		int r = scan(g, regs, n, argv[i], &f);
		worst = r > worst ? r : worst;
	}
	if (strcmp(argv[3], "facts") == 0) {
		print_facts(g);
		printf("probe: %" PRIu64 " us, %" PRIu64 " us of CPU, %" PRIu64 " reads\n", us, cpu, f.reads);
	}
	print_rss("at the end");
	return worst;
}
