/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Relocatable objects made by hand, section by section, also such as no compiler makes. */
#ifndef VMPOKE_TESTS_FAKE_ELF_OBJECT_H
#define VMPOKE_TESTS_FAKE_ELF_OBJECT_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>

#define ELF_OBJECT_SECTIONS 24
#define ELF_OBJECT_SYMBOLS  24
#define ELF_OBJECT_RELAS    24

struct elf_object {
	size_t n_sections, n_symbols, names_len, strings_len, contents_len;
	Elf64_Shdr section[ELF_OBJECT_SECTIONS];
	Elf64_Sym symbol[ELF_OBJECT_SYMBOLS];
	char names[1024], strings[1024];
	uint8_t contents[16384];
	size_t n_relas;
	struct {
		size_t section;
		Elf64_Rela rela;
	} rela[ELF_OBJECT_RELAS];
	/* what elf_object_end() makes of it */
	uint8_t bytes[32768];
	size_t len;
};

void elf_object_begin(struct elf_object *o);
/* Both return the index. bytes NULL: SHT_NOBITS. */
size_t elf_object_section(struct elf_object *o, const char *name, uint64_t flags, const void *bytes, size_t len);
size_t elf_object_symbol(struct elf_object *o, const char *name, unsigned type, size_t section, uint64_t value);
void elf_object_rela(struct elf_object *o, size_t section, uint64_t offset, uint32_t type, size_t symbol, int64_t addend);
void elf_object_end(struct elf_object *o);

#endif
