// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The image as it reads at its address: sections copied, relocations applied, as the x86-64
 * psABI defines them. Loads through a GOT, which code compiled as position-independent
 * makes, become what the ABI's own relaxation makes of them (psABI, "Optimize
 * GOTPCRELX Relocations"). Must never write outside of a section, and never cut an address.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/payload/private.h"

#define KLP_PREFIX ".klp.sym." /* ".klp.sym.OBJECT.NAME,POSITION" */

struct linker {
	struct payload *p;
	uint64_t base;
	struct payload_names *names;
	uint8_t *image;
	struct err *e;
};

static int symbol_refuse(const struct linker *l, int error, const char *name, const char *why)
{
	return err_set(l->e, ERR_REFUSED, error, "payload-symbol", "%s: symbol '%.128s' %s", l->p->filename, name, why);
}

/* In place: what is left is the plain name. */
static int klp_parse(const struct linker *l, char *name, const char **ret_name, unsigned long *ret_pos)
{
	char *at = name + strlen(KLP_PREFIX), *comma = strrchr(name, ',');
	const char *object = "vmlinux.";

	if (!comma || comma[1] < '0' || comma[1] > '9')
		return symbol_refuse(l, EBADMSG, name, "is not OBJECT.NAME,POSITION");
	if (strncmp(at, object, strlen(object)) != 0)
		return symbol_refuse(l, EOPNOTSUPP, name, "is of a module; only those of the kernel proper are known here");
	*ret_pos = strtoul(comma + 1, NULL, 10);
	*comma = '\0';
	*ret_name = at + strlen(object);
	return 0;
}

static int find_outside(const struct linker *l, const char *symbol, uint64_t *ret)
{
	_cleanup_free_ char *copy = strdup(symbol);
	const char *name = copy;
	unsigned long pos = 0;
	int r = 0;

	if (!copy)
		return err_set(l->e, ERR_FAILED, ENOMEM, "", "out of memory");
	if (strncmp(copy, KLP_PREFIX, strlen(KLP_PREFIX)) == 0)
		r = klp_parse(l, copy, &name, &pos);
	if (r < 0)
		return r;
	r = l->names->find(l->names, name, pos, ret);
	if (r == -ENOENT)
		return symbol_refuse(l, ENOENT, name, "is not in the guest's kernel");
	if (r == -ENOTUNIQ)
		return symbol_refuse(l, ENOTUNIQ, name, "stands for several addresses in the guest's kernel");
	return r < 0 ? symbol_refuse(l, -r, name, "cannot be looked up") : 0;
}

static int symbol_value(const struct linker *l, const Elf64_Sym *sym, uint64_t *ret)
{
	const struct payload_section *s = payload_symbol_section(l->p, sym);
	const char *name = payload_symbol_name(l->p, sym);

	if (ELF64_ST_TYPE(sym->st_info) == STT_GNU_IFUNC || ELF64_ST_TYPE(sym->st_info) == STT_TLS)
		return symbol_refuse(l, EOPNOTSUPP, name, "is chosen by a loader at run time (IFUNC, TLS)");
	if (s && (!s->kept || sym->st_value > s->size))
		return payload_malformed(l->p, "a symbol lies outside of its section", l->e);
	if (s) {
		*ret = l->base + s->offset + sym->st_value;
		return 0;
	}
	if ((sym->st_shndx == SHN_UNDEF || sym->st_shndx == PAYLOAD_SHN_LIVEPATCH) && name[0])
		return find_outside(l, name, ret);
	return symbol_refuse(l, EOPNOTSUPP, name, "is common or absolute, which cannot be loaded");
}

static int refuse(const struct linker *l, int error, const struct payload_section *s, const Elf64_Rela *rela,
		  const char *why)
{
	return err_set(l->e, ERR_REFUSED, error, "payload-relocation", "%s: relocation of type %u at %.64s+0x%" PRIx64 ": %s",
		       l->p->filename, (unsigned)ELF64_R_TYPE(rela->r_info), s->name, (uint64_t)rela->r_offset, why);
}

/* 0 for a type that is not known. */
static size_t width_of(unsigned type)
{
	switch (type) {
	case R_X86_64_64:
	case R_X86_64_PC64:
		return 8;
	case R_X86_64_PC32:
	case R_X86_64_PLT32:
	case R_X86_64_32:
	case R_X86_64_32S:
	case R_X86_64_GOTPCRELX:
	case R_X86_64_REX_GOTPCRELX:
		return 4;
	default:
		return 0;
	}
}

/*
 * The instruction around the displacement at `at` no longer goes through the GOT: a load becomes LEA, an indirect
 * call or jump a direct one. *ret_at: where the displacement is then.
 */
static int relax(uint8_t *section, size_t at, size_t *ret_at)
{
	uint8_t *opcode = section + at - 2;

	if (at < 2)
		return -EOPNOTSUPP;
	*ret_at = at;
	if (opcode[0] == 0x8b && (opcode[1] & 0xc7) == 0x05) { /* mov disp(%rip), %reg */
		opcode[0] = 0x8d;
	} else if (opcode[0] == 0xff && opcode[1] == 0x15) { /* call *disp(%rip): addr32 call */
		opcode[0] = 0x67;
		opcode[1] = 0xe8;
	} else if (opcode[0] == 0xff && opcode[1] == 0x25) { /* jmp *disp(%rip): jmp; nop */
		opcode[0] = 0xe9;
		section[at + 3] = 0x90;
		*ret_at = at - 1;
	} else {
		return -EOPNOTSUPP;
	}
	return 0;
}

/* A branch or a load relative to its own place: does the value fit? */
static bool fits(unsigned type, int64_t value)
{
	if (type == R_X86_64_32)
		return value >= 0 && value <= UINT32_MAX;
	return value >= INT32_MIN && value <= INT32_MAX;
}

/* Addresses of own code that are data, or an operand, and not the target of a branch. */
static bool shows_code(const struct linker *l, const struct payload_section *in, unsigned type, uint64_t target)
{
	bool branch = (type == R_X86_64_PC32 || type == R_X86_64_PLT32 || type == R_X86_64_GOTPCRELX) &&
		      payload_is_code(in);

	return !branch && target - l->base < l->p->text_size;
}

static int apply(struct linker *l, const struct payload_section *s, const Elf64_Rela *rela)
{
	unsigned type = ELF64_R_TYPE(rela->r_info);
	size_t width = width_of(type), at = rela->r_offset;
	uint8_t *bytes = l->image + s->offset;
	const Elf64_Sym *sym;
	uint64_t symbol = 0;

	if (type == R_X86_64_NONE)
		return 0;
	if (!width)
		return refuse(l, EOPNOTSUPP, s, rela, "not supported; compile with -fno-pic -mcmodel=kernel");
	if (s->size < width || rela->r_offset > s->size - width)
		return payload_malformed(l->p, "a relocation lies outside of its section", l->e);
	int r = payload_relocation_symbol(l->p, rela, &sym, l->e);
	if (r == 0)
		r = symbol_value(l, sym, &symbol);
	if (r < 0)
		return r;
	if ((type == R_X86_64_GOTPCRELX || type == R_X86_64_REX_GOTPCRELX) &&
	    (!payload_is_code(s) || relax(bytes, at, &at) < 0))
		return refuse(l, EOPNOTSUPP, s, rela, "needs a GOT; compile with -fno-pic -mcmodel=kernel");
	uint64_t value = symbol + (uint64_t)rela->r_addend;
	l->p->shows_code |= shows_code(l, s, type, value);
	if (type != R_X86_64_64 && type != R_X86_64_32 && type != R_X86_64_32S)
		value -= l->base + s->offset + at;
	if (width == 4 && !fits(type, (int64_t)value))
		return refuse(l, ERANGE, s, rela,
			      "the target is out of reach; compile with -fno-pic -mcmodel=kernel");
	memcpy(bytes + at, &value, width);
	return 0;
}

static int section_link(struct linker *l, const struct payload_relocations *t)
{
	int r = 0;

	for (size_t i = 0; i < t->n && r == 0; i++)
		r = apply(l, &l->p->sections[t->section], &t->list[i]);
	return r;
}

/* What nobody should come to is a breakpoint. */
static void sections_copy(struct linker *l)
{
	memset(l->image, 0xcc, l->p->text_size);
	memset(l->image + l->p->text_size, 0, l->p->size - l->p->text_size);
	for (size_t i = 1; i < l->p->n_sections; i++) {
		const struct payload_section *s = &l->p->sections[i];

		if (s->kept && s->bytes)
			memcpy(l->image + s->offset, s->bytes, s->size);
	}
}

int payload_link(struct payload *p, uint64_t base, struct payload_names *names, uint8_t *image, struct err *e)
{
	struct linker l = { .p = p, .base = base, .names = names, .image = image, .e = e };
	int r = 0;

	if (base & (PAYLOAD_PAGE - 1) || base > UINT64_MAX - p->size)
		return err_set_addr(e, ERR_FAILED, EINVAL, "", base, "a payload begins on a page");
	p->shows_code = false;
	sections_copy(&l);
	for (size_t i = 0; i < p->n_tables && r == 0; i++)
		if (p->sections[p->tables[i].section].kept)
			r = section_link(&l, &p->tables[i]);
	if (r == 0)
		p->shows_code |= payload_code_shows(image, p->text_size);
	return r;
}
