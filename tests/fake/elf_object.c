// SPDX-License-Identifier: GPL-2.0-or-later
/* See elf_object.h. One table of relocations for each that was added: legal, and simple. */
#include "tests/fake/elf_object.h"

#include <stdlib.h>
#include <string.h>

static uint32_t text_add(char *table, size_t cap, size_t *len, const char *text)
{
	size_t n = strlen(text) + 1, at = *len;

	if (n > cap - at)
		abort();
	memcpy(table + at, text, n);
	*len += n;
	return (uint32_t)at;
}

void elf_object_begin(struct elf_object *o)
{
	memset(o, 0, sizeof(*o));
	o->n_sections = o->n_symbols = 1;
	o->names_len = o->strings_len = 1;
}

static size_t section_add(struct elf_object *o, const char *name, const Elf64_Shdr *h, const void *bytes)
{
	if (o->n_sections == ELF_OBJECT_SECTIONS || (bytes && h->sh_size > sizeof(o->contents) - o->contents_len))
		abort();
	Elf64_Shdr *to = &o->section[o->n_sections];
	*to = *h;
	to->sh_name = text_add(o->names, sizeof(o->names), &o->names_len, name);
	to->sh_offset = sizeof(Elf64_Ehdr) + o->contents_len;
	if (bytes) {
		memcpy(o->contents + o->contents_len, bytes, h->sh_size);
		o->contents_len += (h->sh_size + 7) & ~(size_t)7;
	}
	return o->n_sections++;
}

size_t elf_object_section(struct elf_object *o, const char *name, uint64_t flags, const void *bytes, size_t len)
{
	Elf64_Shdr h = { .sh_type = bytes ? SHT_PROGBITS : SHT_NOBITS, .sh_flags = flags, .sh_size = len, .sh_addralign = 16 };

	return section_add(o, name, &h, bytes);
}

size_t elf_object_symbol(struct elf_object *o, const char *name, unsigned type, size_t section, uint64_t value)
{
	if (o->n_symbols == ELF_OBJECT_SYMBOLS)
		abort();
	o->symbol[o->n_symbols] = (Elf64_Sym){
		.st_name = text_add(o->strings, sizeof(o->strings), &o->strings_len, name),
		.st_info = (unsigned char)ELF64_ST_INFO(STB_GLOBAL, type),
		.st_shndx = (Elf64_Section)section,
		.st_value = value,
	};
	return o->n_symbols++;
}

void elf_object_rela(struct elf_object *o, size_t section, uint64_t offset, uint32_t type, size_t symbol, int64_t addend)
{
	if (o->n_relas == ELF_OBJECT_RELAS)
		abort();
	o->rela[o->n_relas].section = section;
	o->rela[o->n_relas++].rela = (Elf64_Rela){ offset, ELF64_R_INFO(symbol, type), addend };
}

static void put(struct elf_object *o, const void *bytes, size_t len)
{
	if (len > sizeof(o->bytes) - o->len)
		abort();
	memcpy(o->bytes + o->len, bytes, len);
	o->len += len;
}

void elf_object_end(struct elf_object *o)
{
	size_t symtab = o->n_sections + o->n_relas, strtab = symtab + 1;

	for (size_t i = 0; i < o->n_relas; i++) {
		Elf64_Shdr h = { .sh_type = SHT_RELA, .sh_size = sizeof(Elf64_Rela), .sh_entsize = sizeof(Elf64_Rela),
				 .sh_info = (Elf64_Word)o->rela[i].section, .sh_link = (Elf64_Word)symtab, .sh_addralign = 8 };

		section_add(o, ".rela", &h, &o->rela[i].rela);
	}
	section_add(o, ".symtab",
		    &(Elf64_Shdr){ .sh_type = SHT_SYMTAB, .sh_size = o->n_symbols * sizeof(Elf64_Sym), .sh_info = 1,
				   .sh_link = (Elf64_Word)strtab, .sh_entsize = sizeof(Elf64_Sym), .sh_addralign = 8 },
		    o->symbol);
	section_add(o, ".strtab", &(Elf64_Shdr){ .sh_type = SHT_STRTAB, .sh_size = o->strings_len, .sh_addralign = 1 },
		    o->strings);
	section_add(o, ".shstrtab",
		    &(Elf64_Shdr){ .sh_type = SHT_STRTAB, .sh_size = sizeof(o->names), .sh_addralign = 1 }, o->names);
	/* its own name came after the copy */
	memcpy(o->contents + o->section[o->n_sections - 1].sh_offset - sizeof(Elf64_Ehdr), o->names, sizeof(o->names));
	const Elf64_Ehdr header = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_REL, .e_machine = EM_X86_64, .e_version = EV_CURRENT, .e_ehsize = sizeof(Elf64_Ehdr),
		.e_shoff = sizeof(Elf64_Ehdr) + o->contents_len, .e_shentsize = sizeof(Elf64_Shdr),
		.e_shnum = (Elf64_Half)o->n_sections, .e_shstrndx = (Elf64_Half)(o->n_sections - 1),
	};
	put(o, &header, sizeof(header));
	put(o, o->contents, o->contents_len);
	put(o, o->section, o->n_sections * sizeof(Elf64_Shdr));
}
