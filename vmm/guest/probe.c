// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Finds the kernel of a guest and checks that everything found agrees; see
 * guest.h; what differs by architecture is in guest_arch.h. Must never believe one table
 * alone: page tables, kallsyms, banner, notes and what else an architecture has (IDT, phys_base) have
 * to tell the same story.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/guest/guest_arch.h"

#define ATTEMPTS_MAX 16
#define NOTES_MAX    65536

int probe_contradiction(struct err *e, uint64_t addr, const char *sentence)
{
	return err_set_addr(e, ERR_FAILED, EBADMSG, "kernel-contradicts", addr, "%s (0x%llx)", sentence,
			    (unsigned long long)addr);
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
		return probe_contradiction(e, g->banner, "linux_banner does not begin with \"Linux version\"");
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
		return probe_contradiction(e, g->banner, "linux_banner names no kernel release");
	memcpy(g->facts.release, release, len);
	g->facts.release[len] = '\0';
	return 0;
}

static int buildid_read(struct guest *g, uint8_t ret[static 20], struct err *e)
{
	uint64_t len = g->notes_end - g->notes;
	_cleanup_free_ uint8_t *notes = NULL;

	if (g->notes_end <= g->notes || len > NOTES_MAX)
		return probe_contradiction(e, g->notes, "the kernel's notes have no sensible length");
	notes = malloc((size_t)len);
	if (!notes)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	int r = walk_read(&g->walk, g->notes, notes, (size_t)len, e);
	if (r < 0)
		return r;
	if (buildid_parse(notes, (size_t)len, ret) < 0)
		return probe_contradiction(e, g->notes, "the kernel's notes hold no well-formed build-id");
	return 0;
}

int probe_texts_load(struct guest *g, struct err *e)
{
	int r = banner_load(g, e);

	if (r == 0)
		r = buildid_read(g, g->facts.build_id, e);
	if (r < 0)
		return r;
	hex_encode(g->facts.build_id, sizeof(g->facts.build_id), g->facts.build_id_hex);
	return 0;
}

int probe_bounds_set(struct guest *g, uint64_t text, uint64_t text_end, uint64_t init, uint64_t init_end, struct err *e)
{
	struct guest_facts *f = &g->facts;

	f->text_start = text;
	f->text_end = text_end;
	f->inittext_start = init;
	f->inittext_end = init_end;
	if (text < f->base || text_end <= text || init_end < init)
		return probe_contradiction(e, text, "the bounds of kernel text are out of order");
	return 0;
}

/* What was found before anything is believed of it. */
static int kernel_find(struct guest *g, struct image *image, const struct vcpu_regs *regs, struct err *e)
{
	struct walk_page page;
	int r = g->arch->image(image, &g->walk, regs, e);

	if (r < 0 || (r = kallsyms_find(&g->syms, &g->walk, image, e)) < 0)
		return r;
	g->window = image->window;
	g->facts.base = image->base;
	g->facts.paging_levels = g->walk.levels;
	g->facts.symbols = g->syms.n;
	g->facts.kallsyms_layout = g->syms.layout;
	if ((r = walk_translate(&g->walk, image->base, &page, e)) < 0)
		return r;
	g->base_gpa = page.gpa;
	return 0;
}

static int attempt(const struct guest_arch *arch, struct guest_memory *mem, const struct guest_root *root,
		   struct guest **ret, struct err *e)
{
	_cleanup_free_ struct image *image = calloc(1, sizeof(*image));
	_cleanup_(guest_free) struct guest *g = calloc(1, sizeof(*g));

	if (!image || !g)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	g->arch = arch;
	g->facts.arch = root->regs->arch;
	int r = arch->walk(&g->walk, mem, root, e);
	if (r < 0 || (r = kernel_find(g, image, root->regs, e)) < 0 || (r = arch->facts(g, image, root->regs, e)) < 0)
		return r;
	walk_flush(&g->walk);
	*ret = TAKE_PTR(g);
	return 0;
}

int guest_probe(struct guest_memory *mem, const struct vcpu_regs *regs, size_t n_regs, struct guest **ret,
		struct err *e)
{
	const struct guest_arch *arch = n_regs && regs[0].arch == VCPU_ARM64 ? &guest_arm64 : &guest_x86_64;
	struct guest_root root[ATTEMPTS_MAX];
	struct err failure = { 0 }, last = { 0 };
	size_t n = arch->roots(regs, n_regs, root, ATTEMPTS_MAX);
	int r = -ENOENT;

	if (n == 0)
		return err_set(e, ERR_FAILED, ENOENT, "no-kernel",
			       arch == &guest_arm64 ?
				       "no vCPU has page tables for a kernel at EL1: the guest is still in its firmware or boot loader, or its kernel runs at EL2" :
				       "no vCPU runs in 64-bit mode: the guest is still in its firmware or boot loader");
	for (size_t i = 0; i < n; i++) {
		r = attempt(arch, mem, &root[i], ret, &last);
		if (r == 0 && arch->note)
			arch->note(*ret, regs, n_regs);
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

	for (size_t i = 0; i < n_regs && !found; i++)
		found = g->arch->counts(&regs[i]) && g->arch->maps(g, &regs[i]);
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
	int r = g->syms.names && still_mapped(g, regs, n_regs) ? still_itself(g, e) : -ESTALE;

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

void guest_shrink(struct guest *g)
{
	if (!g)
		return;
	walk_done(&g->walk);
	kallsyms_done(&g->syms);
	names_index_drop(&g->names);
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
