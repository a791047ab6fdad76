// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Page walk; see walk.h. Table entries are the guest's word: nothing here may
 * follow more than five of them, and an address is only ever handed to
 * guest_memory->read, which knows what is RAM.
 */
#include "vmm/guest/walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/guest/guest.h"

#define WALK_NO_TABLE UINT64_MAX
#define ENTRY_PRESENT (1ull << 0)
#define ENTRY_WRITE   (1ull << 1)
#define ENTRY_HUGE    (1ull << 7)
#define ENTRY_NX      (1ull << 63)
#define ENTRY_ADDR    0x000ffffffffff000ull /* Intel SDM vol. 3, 4.5: bits 51:12 */

static struct walk_entry x86_entry(uint64_t raw, unsigned level)
{
	return (struct walk_entry){
		.addr = raw & ENTRY_ADDR,
		.present = raw & ENTRY_PRESENT,
		.leaf = level == 1 || raw & ENTRY_HUGE,
		.exec = !(raw & ENTRY_NX),
		.write = raw & ENTRY_WRITE,
	};
}

const struct walk_format walk_x86_64 = { .root_mask = ENTRY_ADDR, .entry = x86_entry };

static int tables_make(struct walk *w)
{
	w->tables = malloc(WALK_TABLES * sizeof(*w->tables));
	if (!w->tables)
		return -ENOMEM;
	walk_flush(w);
	return 0;
}

int walk_init_as(struct walk *w, const struct walk_format *format, struct guest_memory *mem, uint64_t root,
		 unsigned levels)
{
	*w = (struct walk){ .format = format, .mem = mem, .levels = levels };
	walk_root(w, root);
	return tables_make(w);
}

int walk_init(struct walk *w, struct guest_memory *mem, uint64_t cr3, unsigned levels)
{
	return walk_init_as(w, &walk_x86_64, mem, cr3, levels);
}

void walk_done(struct walk *w)
{
	free(w->tables);
	w->tables = NULL;
}

void walk_root(struct walk *w, uint64_t root)
{
	w->root = root & w->format->root_mask;
	walk_flush(w);
}

void walk_flush(struct walk *w)
{
	for (size_t i = 0; w->tables && i < WALK_TABLES; i++)
		w->tables[i].gpa = WALK_NO_TABLE;
}

/* Slots by level, so that the many bottom tables do not push out the few above them. */
static struct walk_table *slot(struct walk *w, unsigned level, uint64_t gpa)
{
	uint64_t page = gpa >> 12;

	return &w->tables[level == 1 ? 8 + page % (WALK_TABLES - 8) : 2 * (5 - level) + page % 2];
}

static int table_get(struct walk *w, unsigned level, uint64_t gpa, const uint64_t **ret, struct err *e)
{
	if (!w->tables && tables_make(w) < 0) {
		err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
		return -ENOMEM;
	}
	struct walk_table *t = slot(w, level, gpa);

	if (t->gpa != gpa) {
		t->gpa = WALK_NO_TABLE;
		int r = w->mem->read(w->mem, gpa, t->entry, sizeof(t->entry), e);
		if (r < 0)
			return r;
		t->gpa = gpa;
	}
	*ret = t->entry;
	return 0;
}

static bool canonical(const struct walk *w, uint64_t gva)
{
	unsigned unused = 64 - (12 + 9 * w->levels);

	if (w->format->upper_half) /* the bit below is one of the address */
		return gva >> (64 - unused) == UINT64_MAX >> (64 - unused);
	return (uint64_t)((int64_t)(gva << unused) >> unused) == gva;
}

static int not_mapped(struct walk_page *ret, uint64_t gva, uint64_t size, struct err *e)
{
	*ret = (struct walk_page){ .left = size - (gva & (size - 1)) };
	return err_set_addr(e, ERR_FAILED, EFAULT, "not-mapped", gva, "guest address 0x%llx is not mapped",
			    (unsigned long long)gva);
}

int walk_translate(struct walk *w, uint64_t gva, struct walk_page *ret, struct err *e)
{
	struct walk_page page = { .exec = true, .write = true };
	uint64_t table = w->root;

	if (!canonical(w, gva))
		return not_mapped(ret, gva, 4096, e);
	for (unsigned level = w->levels; level >= 1; level--) {
		unsigned shift = 12 + 9 * (level - 1);
		uint64_t size = 1ull << shift;
		const uint64_t *entries;
		int r = table_get(w, level, table, &entries, e);
		if (r == -EFAULT) /* a table outside RAM maps nothing */
			return not_mapped(ret, gva, size, e);
		if (r < 0)
			return r;
		struct walk_entry entry = w->format->entry(entries[gva >> shift & 511], level);
		if (!entry.present || (entry.leaf && level > 3))
			return not_mapped(ret, gva, size, e);
		page.exec &= entry.exec;
		page.write &= entry.write;
		table = entry.addr;
		if (entry.leaf) {
			page.guarded = entry.guarded;
			page.gpa = (table & ~(size - 1)) | (gva & (size - 1));
			page.left = size - (gva & (size - 1));
			*ret = page;
			return 0;
		}
	}
	return not_mapped(ret, gva, 4096, e);
}

int walk_read(struct walk *w, uint64_t gva, void *buf, size_t len, struct err *e)
{
	uint8_t *out = buf;

	while (len) {
		struct walk_page page;
		uint64_t gpa = 0;
		size_t run = 0;
		/* Collect pages for as long as they follow each other in memory. */
		while (run < len) {
			int r = walk_translate(w, gva + run, &page, e);
			if (r < 0 && run == 0)
				return r;
			if (r < 0 || (run && page.gpa != gpa + run))
				break;
			if (!run)
				gpa = page.gpa;
			run += page.left < len - run ? (size_t)page.left : len - run;
		}
		int r = w->mem->read(w->mem, gpa, out, run, e);
		if (r < 0)
			return r;
		out += run;
		gva += run;
		len -= run;
	}
	return 0;
}

int walk_read_u64(struct walk *w, uint64_t gva, uint64_t *ret, struct err *e)
{
	return walk_read(w, gva, ret, sizeof(*ret), e);
}

int walk_read_u32(struct walk *w, uint64_t gva, uint32_t *ret, struct err *e)
{
	return walk_read(w, gva, ret, sizeof(*ret), e);
}
