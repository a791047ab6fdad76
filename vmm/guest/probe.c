// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Finds the kernel of a guest and checks that everything found agrees; see
 * guest.h. Must never believe one table alone: page tables, IDT, kallsyms, banner,
 * phys_base and notes have to tell the same story.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/guest/image.h"
#include "vmm/guest/internal.h"

#define EFER_LMA       (1ull << 10)
#define CR4_LA57       (1ull << 12)
#define PTI_USER       0x1000ull /* Linux arch/x86/mm/pti.c: the user half of an 8 KiB top table */
#define CPU_ENTRY_AREA 0xfffffe0000000000ull
#define ATTEMPTS_MAX   16
#define NOTES_MAX      65536
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

static int contradiction(struct err *e, uint64_t addr, const char *sentence)
{
	return err_set_addr(e, ERR_FAILED, EBADMSG, "kernel-contradicts", addr, "%s (0x%llx)", sentence,
			    (unsigned long long)addr);
}

static bool in_long_mode(const struct vcpu_regs *r)
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
	return image_holds(handler) ? handler : 0;
}

static int banner_read(struct guest *g, char *banner, size_t cap, struct err *e)
{
	int r = walk_read(&g->walk, g->banner, banner, cap - 1, e);

	if (r < 0)
		return r;
	banner[cap - 1] = '\0';
	banner[strcspn(banner, "\n")] = '\0';
	for (char *p = banner; *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
	if (strncmp(banner, "Linux version ", 14) != 0)
		return contradiction(e, g->banner, "linux_banner does not begin with \"Linux version\"");
	return 0;
}

static int banner_load(struct guest *g, struct err *e)
{
	int r = banner_read(g, g->facts.banner, sizeof(g->facts.banner), e);

	if (r < 0)
		return r;
	const char *release = g->facts.banner + 14;
	size_t len = strcspn(release, " ");
	if (len == 0 || len >= sizeof(g->facts.release))
		return contradiction(e, g->banner, "linux_banner names no kernel release");
	memcpy(g->facts.release, release, len);
	g->facts.release[len] = '\0';
	return 0;
}

static int buildid_read(struct guest *g, uint8_t ret[static 20], struct err *e)
{
	uint64_t len = g->notes_end - g->notes;
	_cleanup_free_ uint8_t *notes = NULL;

	if (g->notes_end <= g->notes || len > NOTES_MAX)
		return contradiction(e, g->notes, "the kernel's notes have no sensible length");
	notes = malloc((size_t)len);
	if (!notes)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	int r = walk_read(&g->walk, g->notes, notes, (size_t)len, e);
	if (r < 0)
		return r;
	if (buildid_parse(notes, (size_t)len, ret) < 0)
		return contradiction(e, g->notes, "the kernel's notes hold no well-formed build-id");
	return 0;
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
		return contradiction(e, want->addr, "phys_base and the page tables disagree on where the kernel lies");
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
		return contradiction(e, pgd, "init_top_pgt does not map the kernel where the vCPU's page tables do");
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
	struct guest_facts *f = &g->facts;

	for (size_t i = 0; i < W_COUNT; i++)
		if (i != W_FAULT && (!want[i].found || !image_holds(want[i].addr)))
			return err_set(e, ERR_FAILED, EBADMSG, "kernel-contradicts",
				       "the kernel's symbol table has no usable %s", want[i].name);
	f->text_start = want[W_STEXT].addr;
	f->text_end = want[W_ETEXT].addr;
	f->inittext_start = want[W_SINIT].addr;
	f->inittext_end = want[W_EINIT].addr;
	if (f->text_start < f->base || f->text_end <= f->text_start || f->inittext_end < f->inittext_start)
		return contradiction(e, f->text_start, "the bounds of kernel text are out of order");
	if (handler >= f->inittext_start && handler < f->inittext_end)
		return err_set_addr(e, ERR_FAILED, ENOENT, "booting", handler,
				    "the kernel is still booting: its page-fault handler is the early one");
	if (handler && want[W_FAULT].found && want[W_FAULT].addr != handler)
		return contradiction(e, handler, "IDT gate 14 does not lead to asm_exc_page_fault");
	return 0;
}

/* Everything that follows from the symbol table. */
static int facts_load(struct guest *g, const struct vcpu_regs *regs, uint64_t handler, struct err *e)
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

	symbols_resolve(&g->syms, want, W_COUNT);
	g->facts.symbols = g->syms.n;
	g->facts.kallsyms_layout = g->syms.layout;
	g->facts.kaslr_offset = g->facts.base - KASLR_NONE;
	g->banner = want[W_BANNER].addr;
	g->notes = want[W_NOTES].addr;
	g->notes_end = want[W_NOTES_END].addr;
	int r = symbols_check(g, want, handler, e);
	if (r < 0 || (r = phys_base_check(g, &want[W_PHYS_BASE], e)) < 0)
		return r;
	if ((r = root_settle(g, want[W_PGD].addr, e)) < 0 || (r = banner_load(g, e)) < 0)
		return r;
	if ((r = buildid_read(g, g->facts.build_id, e)) < 0)
		return r;
	hex_encode(g->facts.build_id, sizeof(g->facts.build_id), g->facts.build_id_hex);
	kpti_detect(g, regs);
	return 0;
}

static int attempt(struct guest_memory *mem, const struct vcpu_regs *regs, uint64_t cr3, struct guest **ret,
		   struct err *e)
{
	_cleanup_free_ struct image *image = calloc(1, sizeof(*image));
	_cleanup_(guest_free) struct guest *g = calloc(1, sizeof(*g));
	struct walk_page page;

	if (!image || !g || walk_init(&g->walk, mem, cr3, levels_of(regs)) < 0)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	uint64_t handler = fault_handler(&g->walk, regs), hint = handler;
	if (!hint && regs->has_lstar && image_holds(regs->lstar))
		hint = regs->lstar;
	int r = image_find(image, &g->walk, hint, e);
	if (r < 0 || (r = kallsyms_find(&g->syms, &g->walk, image, e)) < 0)
		return r;
	g->facts.base = image->base;
	g->facts.paging_levels = g->walk.levels;
	if ((r = walk_translate(&g->walk, image->base, &page, e)) < 0)
		return r;
	g->base_gpa = page.gpa;
	if ((r = facts_load(g, regs, handler, e)) < 0)
		return r;
	walk_flush(&g->walk);
	*ret = TAKE_PTR(g);
	return 0;
}

/*
 * Top tables worth trying, most promising first. With KPTI on, a vCPU in user
 * mode has the upper half of an 8 KiB pair in CR3, which maps entry code only; a
 * kernel built without KPTI may have that bit set by chance, hence the second try.
 */
static size_t roots_collect(const struct vcpu_regs *regs, size_t n_regs,
			    const struct vcpu_regs *who[static ATTEMPTS_MAX], uint64_t root[static ATTEMPTS_MAX])
{
	size_t n = 0;

	for (int as_is = 0; as_is < 2; as_is++)
		for (size_t i = 0; i < n_regs && n < ATTEMPTS_MAX; i++) {
			uint64_t cr3 = as_is ? regs[i].cr3 : regs[i].cr3 & ~PTI_USER;
			size_t j = 0;
			while (j < n && (root[j] ^ cr3) >> 12 != 0)
				j++;
			if (j < n || !in_long_mode(&regs[i]))
				continue;
			who[n] = &regs[i];
			root[n++] = cr3;
		}
	return n;
}

int guest_probe(struct guest_memory *mem, const struct vcpu_regs *regs, size_t n_regs, struct guest **ret,
		struct err *e)
{
	const struct vcpu_regs *who[ATTEMPTS_MAX];
	uint64_t root[ATTEMPTS_MAX];
	struct err failure = { 0 }, last = { 0 };
	size_t n = roots_collect(regs, n_regs, who, root);
	int r = -ENOENT;

	if (n == 0)
		return err_set(e, ERR_FAILED, ENOENT, "no-kernel",
			       "no vCPU runs in 64-bit mode: the guest is still in its firmware or boot loader");
	for (size_t i = 0; i < n; i++) {
		r = attempt(mem, who[i], root[i], ret, &last);
		if (r == 0)
			return 0;
		/* A contradiction says more than "nothing there". */
		if (failure.error == 0 || (failure.error == ENOENT && last.error != ENOENT))
			failure = last;
	}
	if (e)
		*e = failure;
	return -failure.error;
}

/* Does some vCPU still run on page tables that put this kernel where we found it? */
static bool still_mapped(struct guest *g, const struct vcpu_regs *regs, size_t n_regs)
{
	bool found = false;

	for (size_t i = 0; i < n_regs && !found; i++) {
		struct walk_page page;
		if (!in_long_mode(&regs[i]) || levels_of(&regs[i]) != g->walk.levels)
			continue;
		for (int half = 0; half < 2 && !found; half++) {
			walk_root(&g->walk, half ? regs[i].cr3 : regs[i].cr3 & ~PTI_USER);
			found = walk_translate(&g->walk, g->facts.base, &page, NULL) == 0 && page.gpa == g->base_gpa;
		}
	}
	walk_root(&g->walk, g->facts.kernel_cr3);
	return found;
}

/* 0: says what it said when it was probed. -ESTALE: does not. Others: memory cannot be read at all. */
static int still_itself(struct guest *g, struct err *e)
{
	char banner[sizeof(g->facts.banner)];
	uint8_t build_id[20];
	int r = banner_read(g, banner, sizeof(banner), e);

	if (r == 0)
		r = buildid_read(g, build_id, e);
	if (r == -EFAULT || r == -EBADMSG)
		return -ESTALE;
	if (r < 0)
		return r;
	return strcmp(banner, g->facts.banner) == 0 && memcmp(build_id, g->facts.build_id, sizeof(build_id)) == 0
		       ? 0
		       : -ESTALE;
}

int guest_revalidate(struct guest *g, const struct vcpu_regs *regs, size_t n_regs, struct err *e)
{
	int r = still_mapped(g, regs, n_regs) ? still_itself(g, e) : -ESTALE;

	if (r != -ESTALE)
		return r;
	return err_set_addr(e, ERR_FAILED, ESTALE, "rebooted", g->facts.base,
			    "the kernel at 0x%llx is no longer the one that was probed",
			    (unsigned long long)g->facts.base);
}

void guest_free(struct guest *g)
{
	if (!g)
		return;
	walk_done(&g->walk);
	kallsyms_done(&g->syms);
	names_index_drop(&g->names);
	free(g);
}

const struct guest_facts *guest_facts(const struct guest *g)
{
	return &g->facts;
}

int guest_translate(struct guest *g, uint64_t gva, uint64_t *ret_gpa, uint64_t *ret_len, struct err *e)
{
	struct walk_page page;

	walk_flush(&g->walk); /* the guest runs and may have changed its tables */
	int r = walk_translate(&g->walk, gva, &page, e);
	if (r < 0)
		return r;
	*ret_gpa = page.gpa;
	if (ret_len)
		*ret_len = page.left;
	return 0;
}

int guest_read(struct guest *g, uint64_t gva, void *buf, size_t len, struct err *e)
{
	walk_flush(&g->walk);
	return walk_read(&g->walk, gva, buf, len, e);
}
