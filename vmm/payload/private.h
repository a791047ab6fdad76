/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of struct payload, shared by the files of vmm/payload and nobody else. */
#ifndef VMPOKE_VMM_PAYLOAD_PRIVATE_H
#define VMPOKE_VMM_PAYLOAD_PRIVATE_H

#include <elf.h>
#include <libelf.h>

#include "vmm/payload/payload.h"

#define PAYLOAD_SHN_LIVEPATCH 0xff20 /* include/uapi/linux/elf.h */

struct payload_section {
	const char *name;
	uint32_t type;
	uint64_t flags, align;
	const uint8_t *bytes; /* NULL: zeroes (SHT_NOBITS), or nothing that is looked at */
	size_t size;
	bool kept;
	size_t offset; /* in the image, when kept */
};

/* A table of relocations and the section that it is about. */
struct payload_relocations {
	size_t section;
	const Elf64_Rela *list;
	size_t n;
};

struct payload {
	char filename[128];
	char *object; /* libelf points into it */
	Elf *elf;
	size_t n_sections;
	struct payload_section *sections;
	size_t n_tables;
	struct payload_relocations *tables;
	size_t n_symbols;
	const Elf64_Sym *symbols;
	size_t strings; /* section with the symbols' names */
	size_t n_wanted;
	const Elf64_Sym *wanted[PAYLOAD_FUNCTIONS_MAX];
	size_t text_size, size;
	bool shows_code;
};

static inline bool payload_is_code(const struct payload_section *s)
{
	return s->flags & SHF_EXECINSTR;
}

/* Never NULL; "" when it has none. */
const char *payload_symbol_name(const struct payload *p, const Elf64_Sym *sym);

/* The section a symbol is defined in, or NULL: elsewhere. */
struct payload_section *payload_symbol_section(const struct payload *p, const Elf64_Sym *sym);

/* The symbol of a relocation. -EBADMSG (ERR_USAGE). */
int payload_relocation_symbol(const struct payload *p, const Elf64_Rela *rela, const Elf64_Sym **ret, struct err *e);

/* The object contradicts itself. */
int payload_malformed(const struct payload *p, const char *what, struct err *e);

/* sections.c: what the wanted functions reach is kept and gets its place, what cannot be taken is refused. */
int payload_select(struct payload *p, struct err *e);

/* code.c: may this text run in a kernel? */
int payload_check_code(const struct payload *p, const struct payload_section *s, struct err *e);
/* Does linked text of len bytes take an address inside [0, len) of itself (LEA)? */
bool payload_code_shows(const uint8_t *text, size_t len);

#endif
