/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Page walk over guest-physical memory, tables of 512 entries: x86-64 with 4 and 5 levels,
 * arm64's upper half with a granule of 4 KiB; pages of 4 KiB, 2 MiB and 1 GiB. Tables are cached
 * whole until walk_flush(), because one read of a table costs as much as one read of an entry.
 */
#ifndef VMPOKE_VMM_GUEST_WALK_H
#define VMPOKE_VMM_GUEST_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/err.h"

#define WALK_TABLES 24 /* cached tables, 4 KiB each */

struct guest_memory;

struct walk_table {
	uint64_t gpa; /* of the table; WALK_NO_TABLE when the slot is empty */
	uint64_t entry[512];
};

/* What an entry says. Level 1 is the bottom one. */
struct walk_entry {
	uint64_t addr; /* of the next table, or of the page */
	bool present, leaf, exec, write;
	bool guarded; /* arm64: indirect branches must land on a BTI */
};

/* How an architecture writes its tables. */
struct walk_format {
	uint64_t root_mask; /* the address in the register of the top table */
	bool upper_half;    /* maps addresses whose unused bits are all set, and no others */
	struct walk_entry (*entry)(uint64_t raw, unsigned level);
};

extern const struct walk_format walk_x86_64, walk_arm64;

struct walk {
	const struct walk_format *format;
	struct guest_memory *mem;
	uint64_t root;	 /* guest-physical address of the top table */
	unsigned levels; /* 4 or 5; arm64: 4 */
	struct walk_table *tables;
};

/* Where an address leads, or, when it is not mapped, how far the hole reaches. */
struct walk_page {
	uint64_t gpa;
	uint64_t left; /* bytes to the end of the page, or of the hole */
	bool exec, write, guarded;
};

/* root: what the register of the top table holds. -ENOMEM. */
int walk_init_as(struct walk *w, const struct walk_format *format, struct guest_memory *mem, uint64_t root,
		 unsigned levels);
/* x86-64. */
int walk_init(struct walk *w, struct guest_memory *mem, uint64_t cr3, unsigned levels);
/* Zeroed objects allowed. A walk that is used again makes its cache anew. */
void walk_done(struct walk *w);

/* Another top table; forgets what was cached. */
void walk_root(struct walk *w, uint64_t root);
void walk_flush(struct walk *w);

/* -EFAULT when not mapped (ret->left is set then as well); other errors come from memory. */
int walk_translate(struct walk *w, uint64_t gva, struct walk_page *ret, struct err *e);

/* Exactly len bytes at gva. Physically contiguous pages are read at once. */
int walk_read(struct walk *w, uint64_t gva, void *buf, size_t len, struct err *e);

/* Shorthands for one value. */
int walk_read_u64(struct walk *w, uint64_t gva, uint64_t *ret, struct err *e);
int walk_read_u32(struct walk *w, uint64_t gva, uint32_t *ret, struct err *e);

#endif
