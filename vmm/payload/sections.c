// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which sections of the object go into the guest, and where. Begins with those of the
 * wanted functions and follows relocations. A table of the kernel's that names a place in
 * text that is kept asks for work of the module loader: those tables without which the
 * text would still do the same (tracing, unwinding, cheaper return sites) are left
 * out, all others refused. Must never take writable data: what is put there is read-only.
 */
#include <errno.h>
#include <string.h>

#include "vmm/payload/private.h"

static const struct {
	const char *name, *why;
} refused_tables[] = {
	{ "__ex_table", "it may fault on user memory, and the kernel would not find its fixups" },
	{ "__bug_table", "it has a WARN or BUG, which the kernel would not recognise and die of" },
	{ ".altinstructions", "it has alternatives, which only the module loader chooses" },
	{ "__jump_table", "it has static branches, which only the module loader sets" },
};

static const char *const constructors[] = { ".init_array", ".preinit_array", ".fini_array", ".ctors", ".dtors" };

static bool begins(const char *name, const char *with)
{
	return strncmp(name, with, strlen(with)) == 0;
}

static int refuse(const struct payload *p, const struct payload_section *s, const char *why, struct err *e)
{
	return err_set(e, ERR_REFUSED, EOPNOTSUPP, "payload-section", "%s: section %.64s: %s", p->filename, s->name, why);
}

/* Constants with addresses in them: a linker makes them read-only once it has filled them in. */
static bool becomes_constant(const struct payload_section *s)
{
	return begins(s->name, ".data.rel.ro");
}

static int section_check(const struct payload *p, const struct payload_section *s, struct err *e)
{
	if (!(s->flags & SHF_ALLOC))
		return payload_malformed(p, "its code refers to a section that is never loaded", e);
	if (s->flags & SHF_TLS)
		return refuse(p, s, "thread-local storage is not to be had in a kernel", e);
	if (s->flags & SHF_COMPRESSED || (s->type != SHT_PROGBITS && s->type != SHT_NOBITS))
		return refuse(p, s, "sections of this type cannot be loaded", e);
	if ((s->flags & SHF_WRITE) && !becomes_constant(s))
		return refuse(p, s, "there is no memory for variables of a payload: it is read-only; use constants", e);
	if ((s->flags & SHF_WRITE) && payload_is_code(s))
		return refuse(p, s, "writable code is never loaded", e);
	if (s->align > PAYLOAD_PAGE || s->align & (s->align - 1))
		return refuse(p, s, "its alignment cannot be kept", e);
	if (s->size > PAYLOAD_IMAGE_MAX)
		return err_set(e, ERR_REFUSED, EFBIG, "payload-size", "%s: section %.64s has more than %u KiB",
			       p->filename, s->name, PAYLOAD_IMAGE_MAX >> 10);
	return 0;
}

static int keep(struct payload *p, struct payload_section *s, bool *ret_more, struct err *e)
{
	if (s->kept)
		return 0;
	int r = section_check(p, s, e);
	if (r == 0 && payload_is_code(s))
		r = payload_check_code(p, s, e);
	s->kept = r == 0;
	*ret_more |= s->kept;
	return r;
}

static int keep_targets(struct payload *p, const struct payload_relocations *t, bool *ret_more, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < t->n && r == 0; i++) {
		const Elf64_Sym *sym = NULL;

		r = payload_relocation_symbol(p, &t->list[i], &sym, e);
		struct payload_section *s = r == 0 ? payload_symbol_section(p, sym) : NULL;
		if (s && ELF64_R_TYPE(t->list[i].r_info) != R_X86_64_NONE)
			r = keep(p, s, ret_more, e);
	}
	return r;
}

/* Each round keeps at least one section more, or is the last. */
static int keep_reached(struct payload *p, struct err *e)
{
	bool more = false;
	int r = 0;

	for (size_t i = 0; i < p->n_wanted && r == 0; i++)
		r = keep(p, payload_symbol_section(p, p->wanted[i]), &more, e);
	while (more && r == 0) {
		more = false;
		for (size_t i = 0; i < p->n_tables && r == 0; i++)
			if (p->sections[p->tables[i].section].kept)
				r = keep_targets(p, &p->tables[i], &more, e);
	}
	return r;
}

static bool is_about_kept(const struct payload *p, const struct payload_relocations *t)
{
	for (size_t i = 0; i < t->n; i++) {
		const Elf64_Sym *sym;

		if (payload_relocation_symbol(p, &t->list[i], &sym, NULL) < 0)
			continue;
		const struct payload_section *s = payload_symbol_section(p, sym);
		if (s && s->kept)
			return true;
	}
	return false;
}

static int refuse_tables(const struct payload *p, struct err *e)
{
	for (size_t i = 0; i < p->n_tables; i++) {
		const struct payload_section *s = &p->sections[p->tables[i].section];

		for (size_t j = 0; j < ARRAY_SIZE(refused_tables); j++)
			if (strcmp(s->name, refused_tables[j].name) == 0 && is_about_kept(p, &p->tables[i]))
				return refuse(p, s, refused_tables[j].why, e);
	}
	return 0;
}

static int refuse_constructors(const struct payload *p, struct err *e)
{
	for (size_t i = 1; i < p->n_sections; i++)
		for (size_t j = 0; j < ARRAY_SIZE(constructors); j++)
			if (p->sections[i].size && begins(p->sections[i].name, constructors[j]))
				return refuse(p, &p->sections[i], "nobody would run its constructors", e);
	return 0;
}

static size_t align_up(size_t n, uint64_t align)
{
	return (n + align - 1) & ~(size_t)(align - 1);
}

/* From offset on; the new end, or 0 when it is too large. */
static size_t place(struct payload *p, bool code, size_t offset)
{
	for (size_t i = 1; i < p->n_sections && offset <= PAYLOAD_IMAGE_MAX; i++) {
		struct payload_section *s = &p->sections[i];

		if (!s->kept || payload_is_code(s) != code)
			continue;
		s->offset = align_up(offset, s->align);
		offset = s->offset + s->size;
	}
	return align_up(offset, PAYLOAD_PAGE);
}

static int layout(struct payload *p, struct err *e)
{
	p->text_size = place(p, true, PAYLOAD_LEAD);
	p->size = place(p, false, p->text_size);
	if (p->size <= PAYLOAD_IMAGE_MAX)
		return 0;
	return err_set(e, ERR_REFUSED, EFBIG, "payload-size", "%s needs more than %u KiB in the guest", p->filename,
		       PAYLOAD_IMAGE_MAX >> 10);
}

int payload_select(struct payload *p, struct err *e)
{
	int r = refuse_constructors(p, e);

	if (r == 0)
		r = keep_reached(p, e);
	if (r == 0)
		r = refuse_tables(p, e);
	return r < 0 ? r : layout(p, e);
}
