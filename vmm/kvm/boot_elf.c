// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Loads an ELF64 image at its physical addresses. Every offset comes from the file
 * and is checked against it before use; a segment may go anywhere in RAM but the
 * first 64 KiB, where the boot tables are.
 */
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "vmm/kvm/boot.h"
#include "vmm/kvm/layout.h"
#include "vmm/kvm/memory.h"

#define SEGMENTS_MAX 64
#define LINUX_KERNEL_HALF 0xffffffff80000000ull

static int bad(const char *what, struct err *e)
{
	return err_set(e, ERR_FAILED, ENOEXEC, "", "the kernel image is damaged: %s", what);
}

static int load_segment(struct memory *mem, const struct boot_image *image, const Elf64_Phdr *p, struct err *e)
{
	static const uint8_t zero[PAGE_SIZE];
	uint64_t left = p->p_memsz - p->p_filesz, at = p->p_paddr + p->p_filesz;

	if (p->p_paddr < LAYOUT_IMAGE_MIN)
		return bad("a segment lies in the first 64 KiB", e);
	int r = memory_write(mem, p->p_paddr, image->bytes + p->p_offset, (size_t)p->p_filesz);
	/* Fresh RAM is zero, but another segment may have been there: images are written in their own order. */
	while (r == 0 && left) {
		size_t run = left < sizeof(zero) ? (size_t)left : sizeof(zero);
		r = memory_write(mem, at, zero, run);
		at += run;
		left -= run;
	}
	return r < 0 ? err_set(e, ERR_FAILED, ENOMEM, "", "the kernel image does not fit: 0x%llx bytes at 0x%llx",
			       (unsigned long long)p->p_memsz, (unsigned long long)p->p_paddr) : 0;
}

int boot_elf_load(struct memory *mem, const struct boot_image *image, uint64_t *ret_entry, bool *ret_linux,
		  struct err *e)
{
	Elf64_Ehdr h;

	if (image->len < sizeof(h) || memcmp(image->bytes, ELFMAG, SELFMAG))
		return 0;
	memcpy(&h, image->bytes, sizeof(h));
	if (h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_machine != EM_X86_64 || h.e_phentsize != sizeof(Elf64_Phdr))
		return bad("not ELF64 for x86-64", e);
	if (h.e_phnum > SEGMENTS_MAX || h.e_phoff > image->len || (image->len - h.e_phoff) / sizeof(Elf64_Phdr) < h.e_phnum)
		return bad("program headers", e);
	*ret_entry = h.e_entry;
	*ret_linux = false;
	for (unsigned i = 0; i < h.e_phnum; i++) {
		Elf64_Phdr p;
		memcpy(&p, image->bytes + h.e_phoff + i * sizeof(p), sizeof(p));
		if (p.p_type != PT_LOAD || !p.p_memsz)
			continue;
		if (p.p_offset > image->len || p.p_filesz > image->len - p.p_offset || p.p_filesz > p.p_memsz)
			return bad("a segment lies outside the file", e);
		if (p.p_vaddr >= LINUX_KERNEL_HALF)
			*ret_linux = true;
		else if (h.e_entry >= p.p_vaddr && h.e_entry - p.p_vaddr < p.p_memsz)
			*ret_entry = h.e_entry - p.p_vaddr + p.p_paddr;
		int r = load_segment(mem, image, &p, e);
		if (r < 0)
			return r;
	}
	return 1;
}
