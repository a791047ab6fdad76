// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What an arm64 Linux guest tells of itself; see guest_arch.h. KASLR may put the image anywhere in
 * the vmalloc area, so it is looked for in the page tables: no other executable mapping is as large.
 * Must never take a part of a kernel for it: text bounds by the symbol table and by the page tables
 * have to agree.
 */
#include "vmm/guest/arm64.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/guest/stacks.h"

#define TCR_T1SZ(tcr) ((tcr) >> 16 & 0x3f)
#define TCR_TG1(tcr)  ((tcr) >> 30 & 3)
#define TCR_DS	      (1ull << 59)
#define TG1_4K	      2
#define TRAMP_TO_ROOT 0x2000ull /* KPTI: TRAMP_SWAPPER_OFFSET, arch/arm64/include/asm/pgtable.h */

/* arch/arm64/include/asm/memory.h, 48 bits: modules, vmalloc and the image; vmemmap is behind. */
#define VMALLOC_START 0xffff800000000000ull
#define VMALLOC_END   0xfffffc0000000000ull
#define TEXT_MIN      (1ull << 20)
#define TEXT_ALIGN    (64ull << 10)  /* SEGMENT_ALIGN */
#define BEFORE_TEXT   (2ull << 20)   /* the window: the image's header ... */
#define BEHIND_TEXT   (256ull << 20) /* ... and its data, 64 MiB in Debian's kernels */
#define STEPS_MAX     (1u << 20)     /* pages and holes looked at; some thousands in a real guest */

enum { W_TEXT, W_ETEXT, W_SINIT, W_EINIT, W_COUNT };

static bool arm64_counts(const struct vcpu_regs *r)
{
	return r->arch == VCPU_ARM64 && (r->arm64.ttbr1 & walk_arm64.root_mask) && r->arm64.tcr;
}

static size_t arm64_roots(const struct vcpu_regs *regs, size_t n_regs, struct guest_root *ret, size_t cap)
{
	size_t n = 0;

	for (int tramp = 0; tramp < 2; tramp++)
		for (size_t i = 0; i < n_regs && n < cap; i++) {
			uint64_t root = (regs[i].arm64.ttbr1 & walk_arm64.root_mask) + (tramp ? TRAMP_TO_ROOT : 0);
			size_t j = 0;
			while (j < n && ret[j].root != root)
				j++;
			if (j == n && arm64_counts(&regs[i]))
				ret[n++] = (struct guest_root){ &regs[i], root };
		}
	return n;
}

static int arm64_walk(struct walk *w, struct guest_memory *mem, const struct guest_root *root, struct err *e)
{
	uint64_t tcr = root->regs->arm64.tcr;

	if (TCR_TG1(tcr) != TG1_4K || TCR_T1SZ(tcr) != 16 || tcr & TCR_DS)
		return err_set(e, ERR_FAILED, EOPNOTSUPP, "paging",
			       "this arm64 kernel's page tables are not of 4 KiB pages and 48 bits (TCR_EL1 0x%llx), "
			       "and no others are known here",
			       (unsigned long long)tcr);
	if (walk_init_as(w, &walk_arm64, mem, root->root, 4) < 0)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	return 0;
}

/* The largest executable run. */
static int text_find(struct walk *w, struct image_run *ret, struct err *e)
{
	struct image_run run = { 0 };
	unsigned steps = 0;

	*ret = run;
	for (uint64_t gva = VMALLOC_START; gva < VMALLOC_END && steps < STEPS_MAX; steps++) {
		struct walk_page page;
		int r = walk_translate(w, gva, &page, NULL);
		if (r < 0 && r != -EFAULT)
			return walk_translate(w, gva, &page, e);
		if (r == 0 && page.exec) {
			if (run.end != gva)
				run.start = gva;
			run.end = gva + page.left;
			if (run.end - run.start > ret->end - ret->start)
				*ret = run;
		}
		gva += page.left;
	}
	return 0;
}

static int arm64_image(struct image *image, struct walk *w, const struct vcpu_regs *regs, struct err *e)
{
	struct image_run text;
	int r = text_find(w, &text, e);

	(void)regs;
	if (r < 0)
		return r;
	if (text.end - text.start < TEXT_MIN)
		return err_set(e, ERR_FAILED, ENOENT, "no-kernel",
			       "no kernel text is mapped at 0x%llx..0x%llx: the guest is still booting or is not Linux",
			       VMALLOC_START, VMALLOC_END);
	if (text.start % TEXT_ALIGN)
		return err_set_addr(e, ERR_FAILED, EBADMSG, "kernel-base", text.start,
				    "kernel text begins at 0x%llx, which is not 64 KiB-aligned",
				    (unsigned long long)text.start);
	image->window = (struct image_window){ text.start - BEFORE_TEXT, text.start + BEHIND_TEXT };
	image->base = text.start;
	image->base_symbol = "_stext";
	return image_runs_collect(image, w, e);
}

static bool is_banner(struct walk *w, const struct image_run *run, uint64_t gva)
{
	char text[16];

	(void)run;
	return walk_read(w, gva, text, sizeof(text), NULL) == 0 && text[14] >= '1' && text[14] <= '9';
}

/* The vDSOs are ELF files of a few pages inside the image, with build-ids of their own. */
static bool is_kernel_note(struct walk *w, const struct image_run *run, uint64_t gva)
{
	for (uint64_t page = gva & ~4095ull, i = 0; i < 2; i++, page -= 4096) {
		char magic[4];
		if (page >= run->start && walk_read(w, page, magic, sizeof(magic), NULL) == 0 &&
		    memcmp(magic, "\177ELF", 4) == 0)
			return false;
	}
	return true;
}

static int texts_find(struct guest *g, const struct image *image, struct err *e)
{
	static const uint32_t note[] = { 4, 20, 3, 0x00554e47 }; /* elf(5), Nhdr: "GNU", NT_GNU_BUILD_ID */
	struct data_want want[] = {
		{ .bytes = "Linux version ", .len = 14, .accept = is_banner },
		{ .bytes = note, .len = sizeof(note), .accept = is_kernel_note },
	};
	int r = arm64_data_find(&g->walk, image, want, ARRAY_SIZE(want), e);

	if (r < 0)
		return r;
	if (!want[0].found || !want[1].found)
		return err_set_addr(e, ERR_FAILED, EBADMSG, "kernel-contradicts", g->facts.base,
				    "the kernel at 0x%llx has no %s", (unsigned long long)g->facts.base,
				    want[0].found ? "build-id" : "banner");
	g->banner = want[0].found;
	g->notes = want[1].found;
	g->notes_end = g->notes + sizeof(note) + 20;
	return probe_texts_load(g, e);
}

/*
 * Where the linker has put _stext: KIMAGE_VADDR and the 64 KiB before it. 6.7 gave modules
 * 2 GiB instead of 128 MiB in front of it (3e35d303ab7d). 0 for kernels older than those looked at.
 */
static uint64_t link_address(const char *release)
{
	unsigned long major, minor = 0;
	char *end;

	major = strtoul(release, &end, 10);
	if (*end == '.')
		minor = strtoul(end + 1, NULL, 10);
	if (major < 6)
		return 0;
	return (major > 6 || minor >= 7 ? 0xffff800080000000ull : 0xffff800008000000ull) + TEXT_ALIGN;
}

static int symbols_check(struct guest *g, struct err *e)
{
	struct symbol_want want[W_COUNT] = {
		[W_TEXT] = { .name = "_stext" },
		[W_ETEXT] = { .name = "_etext" },
		[W_SINIT] = { .name = "_sinittext" },
		[W_EINIT] = { .name = "_einittext" },
	};

	symbols_resolve(&g->syms, want, W_COUNT);
	for (size_t i = 0; i < W_COUNT; i++)
		if (!want[i].found || !image_holds(&g->window, want[i].addr))
			return err_set(e, ERR_FAILED, EBADMSG, "kernel-contradicts",
				       "the kernel's symbol table has no usable %s", want[i].name);
	return probe_bounds_set(g, want[W_TEXT].addr, want[W_ETEXT].addr, want[W_SINIT].addr, want[W_EINIT].addr, e);
}

/* All of the text, at one place, and not guarded. */
static int text_check(struct guest *g, struct err *e)
{
	const struct guest_facts *f = &g->facts;
	struct walk_page page;
	int r;

	for (uint64_t gva = f->text_start; gva < f->text_end; gva += page.left) {
		r = walk_translate(&g->walk, gva, &page, e);
		if (r < 0)
			return r;
		if (!page.exec || page.gpa - g->base_gpa != gva - f->base)
			return probe_contradiction(e, gva, "the page tables do not map the kernel's text as one piece");
		if (page.guarded)
			return err_set_addr(e, ERR_FAILED, EOPNOTSUPP, "guarded", gva,
					    "this kernel enforces branch target identification in its own text "
					    "(CONFIG_ARM64_BTI_KERNEL), which is not known here");
	}
	return 0;
}

static int arm64_facts(struct guest *g, const struct image *image, const struct vcpu_regs *regs, struct err *e)
{
	struct guest_facts *f = &g->facts;

	f->phys_base = (int64_t)(g->base_gpa - (f->base - IMAGE_MAP));
	f->kernel_cr3 = g->walk.root;
	f->kpti = (regs->arm64.ttbr1 & walk_arm64.root_mask) != g->walk.root;
	int r = symbols_check(g, e);
	if (r == 0)
		r = text_check(g, e);
	if (r == 0)
		r = texts_find(g, image, e);
	if (r < 0)
		return r;
	uint64_t linked = link_address(f->release);
	f->kaslr_offset = linked ? f->base - linked : 0;
	return arm64_derive(g, e);
}

static bool arm64_maps(struct guest *g, const struct vcpu_regs *regs)
{
	struct walk_page page;
	bool found = false;

	for (int tramp = 0; tramp < 2 && !found; tramp++) {
		walk_root(&g->walk, (regs->arm64.ttbr1 & walk_arm64.root_mask) + (tramp ? TRAMP_TO_ROOT : 0));
		found = walk_translate(&g->walk, g->facts.base, &page, NULL) == 0 && page.gpa == g->base_gpa;
	}
	return found;
}

const struct guest_arch guest_arm64 = {
	.roots = arm64_roots,
	.walk = arm64_walk,
	.image = arm64_image,
	.facts = arm64_facts,
	.maps = arm64_maps,
	.note = arm64_bases_note,
	.layout = arm64_layout,
	.counts = arm64_counts,
	.vcpu_scan = arm64_vcpu_scan,
	.vcpu_place = arm64_vcpu_place,
	.word = arm64_word,
};
