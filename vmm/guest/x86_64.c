// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What an x86-64 Linux guest tells of itself; see guest_arch.h. Page tables by CR3 (KPTI
 * included), the IDT's page-fault gate and phys_base have to agree with the symbol table.
 */
#include <errno.h>

#include "vmm/guest/guest_arch.h"
#include "vmm/guest/stacks.h"

#define EFER_LMA       (1ull << 10)
#define CR4_LA57       (1ull << 12)
#define PTI_USER       0x1000ull /* Linux arch/x86/mm/pti.c: the user half of an 8 KiB top table */
#define CPU_ENTRY_AREA 0xfffffe0000000000ull
#define KASLR_NONE     0xffffffff81000000ull

enum {
	W_TEXT,
	W_STEXT,
	W_ETEXT,
	W_SINIT,
	W_EINIT,
	W_BANNER,
	W_NOTES,
	W_NOTES_END,
	W_PHYS_BASE,
	W_PGD,
	W_FAULT,
	W_COUNT
};

static const struct image_window window = { IMAGE_MAP, IMAGE_MAP_END };

static bool x86_counts(const struct vcpu_regs *r)
{
	return r->efer & EFER_LMA;
}

static unsigned levels_of(const struct vcpu_regs *r)
{
	return r->cr4 & CR4_LA57 ? 5 : 4;
}

/* Intel SDM vol. 3, 6.14.1: a 16-byte gate, offset in three pieces. 0 when it leads elsewhere. */
static uint64_t fault_handler(struct walk *w, const struct vcpu_regs *r)
{
	uint64_t gate[2];

	if (!r->has_idt || walk_read(w, r->idt_base + 14 * sizeof(gate), gate, sizeof(gate), NULL) < 0)
		return 0;
	uint64_t handler = (gate[0] & 0xffff) | (gate[0] >> 32 & 0xffff0000) | gate[1] << 32;
	return image_holds(&window, handler) ? handler : 0;
}

static int x86_walk(struct walk *w, struct guest_memory *mem, const struct guest_root *root, struct err *e)
{
	if (walk_init(w, mem, root->root, levels_of(root->regs)) < 0)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	return 0;
}

static int x86_image(struct image *image, struct walk *w, const struct vcpu_regs *regs, struct err *e)
{
	uint64_t hint = fault_handler(w, regs);

	if (!hint && regs->has_lstar && image_holds(&window, regs->lstar))
		hint = regs->lstar;
	return image_find(image, w, hint, e);
}

/* phys_base is what the kernel itself uses for PA = VA - map + phys_base. */
static int phys_base_check(struct guest *g, const struct symbol_want *want, struct err *e)
{
	uint64_t stored;
	int r = walk_read_u64(&g->walk, want->addr, &stored, e);

	if (r < 0)
		return r;
	g->facts.phys_base = (int64_t)(g->base_gpa - (g->facts.base - IMAGE_MAP));
	if (stored != (uint64_t)g->facts.phys_base)
		return probe_contradiction(e, want->addr,
					   "phys_base and the page tables disagree on where the kernel lies");
	return 0;
}

/*
 * A process's top table may be freed and reused once the process ends; the
 * kernel's own one stays for good. It must map the kernel to the same place.
 */
static int root_settle(struct guest *g, uint64_t pgd, struct err *e)
{
	struct walk_page page;
	int r = walk_translate(&g->walk, pgd, &page, e);

	if (r < 0)
		return r;
	g->facts.kernel_cr3 = page.gpa;
	walk_root(&g->walk, page.gpa);
	r = walk_translate(&g->walk, g->facts.base, &page, e);
	if (r < 0 || page.gpa != g->base_gpa)
		return probe_contradiction(e, pgd,
					   "init_top_pgt does not map the kernel where the vCPU's page tables do");
	return 0;
}

/* With KPTI the user half maps the CPU entry area to the same place as the kernel half. */
static void kpti_detect(struct guest *g, const struct vcpu_regs *regs)
{
	uint64_t area = regs->has_idt ? regs->idt_base : CPU_ENTRY_AREA;
	struct walk_page kernel, user;

	if (g->facts.kernel_cr3 & PTI_USER || walk_translate(&g->walk, area, &kernel, NULL) < 0)
		return;
	walk_root(&g->walk, g->facts.kernel_cr3 | PTI_USER);
	g->facts.kpti = walk_translate(&g->walk, area, &user, NULL) == 0 && user.gpa == kernel.gpa;
	walk_root(&g->walk, g->facts.kernel_cr3);
}

static int symbols_check(struct guest *g, const struct symbol_want *want, uint64_t handler, struct err *e)
{
	for (size_t i = 0; i < W_COUNT; i++)
		if (i != W_FAULT && (!want[i].found || !image_holds(&window, want[i].addr)))
			return err_set(e, ERR_FAILED, EBADMSG, "kernel-contradicts",
				       "the kernel's symbol table has no usable %s", want[i].name);
	int r = probe_bounds_set(g, want[W_STEXT].addr, want[W_ETEXT].addr, want[W_SINIT].addr, want[W_EINIT].addr, e);
	if (r < 0)
		return r;
	if (handler >= g->facts.inittext_start && handler < g->facts.inittext_end)
		return err_set_addr(e, ERR_FAILED, ENOENT, "booting", handler,
				    "the kernel is still booting: its page-fault handler is the early one");
	if (handler && want[W_FAULT].found && want[W_FAULT].addr != handler)
		return probe_contradiction(e, handler, "IDT gate 14 does not lead to asm_exc_page_fault");
	return 0;
}

static int x86_facts(struct guest *g, const struct image *image, const struct vcpu_regs *regs, struct err *e)
{
	struct symbol_want want[W_COUNT] = {
		[W_TEXT] = { .name = "_text" },
		[W_STEXT] = { .name = "_stext" },
		[W_ETEXT] = { .name = "_etext" },
		[W_SINIT] = { .name = "_sinittext" },
		[W_EINIT] = { .name = "_einittext" },
		[W_BANNER] = { .name = "linux_banner" },
		[W_NOTES] = { .name = "__start_notes" },
		[W_NOTES_END] = { .name = "__stop_notes" },
		[W_PHYS_BASE] = { .name = "phys_base" },
		[W_PGD] = { .name = "init_top_pgt" },
		[W_FAULT] = { .name = "asm_exc_page_fault" },
	};
	uint64_t handler = fault_handler(&g->walk, regs);

	(void)image;
	symbols_resolve(&g->syms, want, W_COUNT);
	g->facts.kaslr_offset = g->facts.base - KASLR_NONE;
	g->banner = want[W_BANNER].addr;
	g->notes = want[W_NOTES].addr;
	g->notes_end = want[W_NOTES_END].addr;
	int r = symbols_check(g, want, handler, e);
	if (r < 0 || (r = phys_base_check(g, &want[W_PHYS_BASE], e)) < 0)
		return r;
	if ((r = root_settle(g, want[W_PGD].addr, e)) < 0 || (r = probe_texts_load(g, e)) < 0)
		return r;
	kpti_detect(g, regs);
	return 0;
}

/*
 * With KPTI on, a vCPU in user mode has the upper half of an 8 KiB pair in CR3, which
 * maps entry code only; a kernel built without KPTI may have that bit set by chance,
 * hence the second try.
 */
static size_t x86_roots(const struct vcpu_regs *regs, size_t n_regs, struct guest_root *ret, size_t cap)
{
	size_t n = 0;

	for (int as_is = 0; as_is < 2; as_is++)
		for (size_t i = 0; i < n_regs && n < cap; i++) {
			uint64_t cr3 = as_is ? regs[i].cr3 : regs[i].cr3 & ~PTI_USER;
			size_t j = 0;
			while (j < n && (ret[j].root ^ cr3) >> 12 != 0)
				j++;
			if (j == n && x86_counts(&regs[i]))
				ret[n++] = (struct guest_root){ &regs[i], cr3 };
		}
	return n;
}

static bool x86_maps(struct guest *g, const struct vcpu_regs *regs)
{
	struct walk_page page;
	bool found = false;

	if (levels_of(regs) != g->walk.levels)
		return false;
	for (int half = 0; half < 2 && !found; half++) {
		walk_root(&g->walk, half ? regs->cr3 : regs->cr3 & ~PTI_USER);
		found = walk_translate(&g->walk, g->facts.base, &page, NULL) == 0 && page.gpa == g->base_gpa;
	}
	return found;
}

const struct guest_arch guest_x86_64 = {
	.roots = x86_roots,
	.walk = x86_walk,
	.image = x86_image,
	.facts = x86_facts,
	.maps = x86_maps,
	.layout = layout_load,
	.counts = x86_counts,
	.vcpu_scan = x86_vcpu_scan,
	.vcpu_place = x86_vcpu_place,
};
