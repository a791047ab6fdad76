// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The object file taken apart through libelf: sections, the one symbol table, the
 * relocation tables. Nothing of it is believed: what points outside is an error here,
 * so that the other files may index freely. Must never write to the object.
 */
#include "vmm/payload/payload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/payload/private.h"

void payload_free(struct payload *p)
{
	if (!p)
		return;
	elf_end(p->elf);
	free(p->object);
	free(p->sections);
	free(p->tables);
	free(p);
}

int payload_malformed(const struct payload *p, const char *what, struct err *e)
{
	return err_set(e, ERR_USAGE, EBADMSG, "payload-object", "%s: %s", p->filename, what);
}

const char *payload_symbol_name(const struct payload *p, const Elf64_Sym *sym)
{
	const char *name = elf_strptr(p->elf, p->strings, sym->st_name);

	return name ? name : "";
}

struct payload_section *payload_symbol_section(const struct payload *p, const Elf64_Sym *sym)
{
	return sym->st_shndx == SHN_UNDEF || sym->st_shndx >= p->n_sections ? NULL : &p->sections[sym->st_shndx];
}

int payload_relocation_symbol(const struct payload *p, const Elf64_Rela *rela, const Elf64_Sym **ret, struct err *e)
{
	size_t i = ELF64_R_SYM(rela->r_info);

	if (i >= p->n_symbols)
		return payload_malformed(p, "a relocation names a symbol that is not there", e);
	*ret = &p->symbols[i];
	return 0;
}

static int header_check(const struct payload *p, size_t len, struct err *e)
{
	const Elf64_Ehdr *h = len >= sizeof(*h) && elf_kind(p->elf) == ELF_K_ELF ? elf64_getehdr(p->elf) : NULL;

	if (!h || h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB)
		return payload_malformed(p, "not a 64-bit object file", e);
	if (h->e_shoff % _Alignof(Elf64_Shdr)) /* libelf hands out pointers into the file as they are */
		return payload_malformed(p, "its sections make no sense", e);
	if (h->e_type != ET_REL)
		return payload_malformed(p, "not a relocatable object; compile with `gcc -c` and do not link", e);
	if (h->e_machine != EM_X86_64)
		return payload_malformed(p, "not for x86-64", e);
	return 0;
}

static int section_load(struct payload *p, size_t i, size_t names, struct err *e)
{
	Elf_Scn *scn = elf_getscn(p->elf, i);
	const Elf64_Shdr *h = scn ? elf64_getshdr(scn) : NULL;
	const char *name = h ? elf_strptr(p->elf, names, h->sh_name) : NULL;

	if (!name)
		return payload_malformed(p, "its sections make no sense", e);
	struct payload_section *s = &p->sections[i];
	*s = (struct payload_section){ .name = name, .type = h->sh_type, .flags = h->sh_flags,
				       .align = h->sh_addralign ? h->sh_addralign : 1, .size = h->sh_size };
	if (s->type == SHT_NOBITS || s->type == SHT_NULL || !s->size)
		return 0;
	const Elf_Data *data = elf_getdata(scn, NULL);
	if (!data || !data->d_buf || data->d_size != s->size)
		return payload_malformed(p, "a section lies outside of the file", e);
	s->bytes = data->d_buf;
	return 0;
}

/* libelf unpacks a packed table of names, to whatever size it says. */
static bool packs_names(const struct payload *p)
{
	for (size_t i = 1; i < p->n_sections; i++) {
		Elf_Scn *scn = elf_getscn(p->elf, i);
		const Elf64_Shdr *h = scn ? elf64_getshdr(scn) : NULL;

		if (!h || (h->sh_type == SHT_STRTAB && (h->sh_flags & SHF_COMPRESSED)))
			return true;
	}
	return false;
}

static int sections_load(struct payload *p, struct err *e)
{
	size_t names;

	if (elf_getshdrnum(p->elf, &p->n_sections) < 0 || elf_getshdrstrndx(p->elf, &names) < 0 || p->n_sections < 2)
		return payload_malformed(p, "it has no sections", e);
	if (p->n_sections > PAYLOAD_SECTIONS_MAX)
		return payload_malformed(p, "it has too many sections", e);
	if (packs_names(p))
		return payload_malformed(p, "its sections make no sense", e);
	p->sections = calloc(p->n_sections, sizeof(*p->sections));
	p->tables = calloc(p->n_sections, sizeof(*p->tables));
	if (!p->sections || !p->tables)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	for (size_t i = 1; i < p->n_sections; i++) {
		int r = section_load(p, i, names, e);

		if (r < 0)
			return r;
	}
	return 0;
}

/* Entries of that size, which may be looked at where they are. */
static bool is_table(const struct payload_section *s, size_t entry)
{
	return s->size % entry == 0 && (uintptr_t)s->bytes % 8 == 0;
}

/* sh_link of a symbol table is where its names are (gABI). */
static int symbols_load(struct payload *p, struct err *e)
{
	for (size_t i = 1; i < p->n_sections; i++) {
		const struct payload_section *s = &p->sections[i];

		if (s->type != SHT_SYMTAB || !s->bytes)
			continue;
		if (p->symbols || !is_table(s, sizeof(Elf64_Sym)))
			return payload_malformed(p, "its symbol table makes no sense", e);
		p->symbols = (const Elf64_Sym *)(const void *)s->bytes;
		p->n_symbols = s->size / sizeof(Elf64_Sym);
		p->strings = elf64_getshdr(elf_getscn(p->elf, i))->sh_link;
	}
	return p->symbols ? 0 : payload_malformed(p, "it has no symbols (was it stripped?)", e);
}

static int tables_load(struct payload *p, struct err *e)
{
	size_t total = 0;

	for (size_t i = 1; i < p->n_sections; i++) {
		const struct payload_section *s = &p->sections[i];
		size_t target = elf64_getshdr(elf_getscn(p->elf, i))->sh_info;

		if (s->type == SHT_REL)
			return payload_malformed(p, "relocations without addends are not of x86-64", e);
		if (s->type != SHT_RELA || !s->bytes)
			continue;
		if (!is_table(s, sizeof(Elf64_Rela)) || !target || target >= p->n_sections)
			return payload_malformed(p, "its relocations make no sense", e);
		p->tables[p->n_tables++] =
			(struct payload_relocations){ .section = target,
						      .list = (const Elf64_Rela *)(const void *)s->bytes,
						      .n = s->size / sizeof(Elf64_Rela) };
		total += s->size / sizeof(Elf64_Rela);
	}
	return total <= PAYLOAD_RELOCATIONS_MAX ? 0 : payload_malformed(p, "it has too many relocations", e);
}

static int wanted_find(struct payload *p, const char *name, struct err *e)
{
	const Elf64_Sym *found = NULL;

	for (size_t i = 1; i < p->n_symbols; i++) {
		const Elf64_Sym *sym = &p->symbols[i];
		const struct payload_section *s = payload_symbol_section(p, sym);

		if (ELF64_ST_TYPE(sym->st_info) != STT_FUNC || !s || !payload_is_code(s) ||
		    strcmp(payload_symbol_name(p, sym), name) != 0)
			continue;
		if (found)
			return err_set(e, ERR_REFUSED, ENOTUNIQ, "payload-function", "%s defines several functions '%s'",
				       p->filename, name);
		if (sym->st_value >= s->size)
			return payload_malformed(p, "a function lies outside of its section", e);
		found = sym;
	}
	if (!found)
		return err_set(e, ERR_REFUSED, ENOENT, "payload-function", "%s defines no function '%s'", p->filename,
			       name);
	p->wanted[p->n_wanted++] = found;
	return 0;
}

static int parse(struct payload *p, size_t len, struct err *e)
{
	if (elf_version(EV_CURRENT) == EV_NONE)
		return err_set(e, ERR_FAILED, EOPNOTSUPP, "", "libelf: %s", elf_errmsg(-1));
	p->elf = elf_memory(p->object, len);
	if (!p->elf)
		return payload_malformed(p, "not an object file", e);
	int r = header_check(p, len, e);
	if (r == 0)
		r = sections_load(p, e);
	if (r == 0)
		r = symbols_load(p, e);
	return r < 0 ? r : tables_load(p, e);
}

int payload_open(const void *object, size_t len, const char *filename, const char *const *wanted, size_t n,
		 struct payload **ret, struct err *e)
{
	_cleanup_(payload_free) struct payload *p = calloc(1, sizeof(*p));

	if (!p || !(p->object = malloc(len ? len : 1)))
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	memcpy(p->object, object, len);
	snprintf(p->filename, sizeof(p->filename), "%s", filename);
	int r = parse(p, len, e);
	if (r == 0 && (!n || n > PAYLOAD_FUNCTIONS_MAX))
		r = err_set(e, ERR_REFUSED, E2BIG, "payload-function", "%zu functions wanted of %s; 1 to %d can be", n,
			    p->filename, PAYLOAD_FUNCTIONS_MAX);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = wanted_find(p, wanted[i], e);
	if (r == 0)
		r = payload_select(p, e);
	if (r == 0)
		*ret = TAKE_PTR(p);
	return r;
}

size_t payload_size(const struct payload *p)
{
	return p->size;
}

size_t payload_text_size(const struct payload *p)
{
	return p->text_size;
}

bool payload_shows_code(const struct payload *p)
{
	return p->shows_code;
}

int payload_function(const struct payload *p, const char *name, size_t *ret_offset)
{
	for (size_t i = 0; i < p->n_wanted; i++) {
		const Elf64_Sym *sym = p->wanted[i];

		if (strcmp(payload_symbol_name(p, sym), name) != 0)
			continue;
		*ret_offset = p->sections[sym->st_shndx].offset + sym->st_value;
		return 0;
	}
	return -ENOENT;
}
