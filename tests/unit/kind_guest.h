/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A small made-up kernel for the tests of patch kinds: a vmm/guest of its own (two pages of text that are not neighbours in
 * physical memory, a symbol table, the guest's own tables), so that every byte is under control.
 */
#ifndef VMPOKE_TESTS_UNIT_KIND_GUEST_H
#define VMPOKE_TESTS_UNIT_KIND_GUEST_H

#include "vmm/kind/kind.h"

#define TEXT	    0xffffffff81000000u
#define TEXT_SIZE   0x12000u
#define DATA	    (TEXT + 0x200000u)
#define SYMBOLS_MAX 64
#define PAD "0f1f440000" /* the tracer's */

struct guest {
	struct guest_facts facts;
	uint8_t text[TEXT_SIZE];
	uint8_t data[0x1000];
	struct guest_symbol symbols[SYMBOLS_MAX]; /* sorted by address */
	size_t n_symbols;
	bool fail_reads;
};

extern struct guest g;
extern struct kind_context context;

/* The kernel as it is at first; a cmocka setup. */
int kind_guest_setup(void **state);

/* A table of the guest at an offset of its data, between two symbols; and one entry, an address relative to itself. */
void table(const char *start, const char *stop, size_t offset, size_t size);
void table_entry(size_t offset, uint64_t target);

struct patchfile_site site_of(enum patch_kind kind, const char *at); /* SYMBOL[+OFFSET] or 0xADDRESS */

/* Exactly one want, as the kinds of one place have it. */
int expand_one(const struct kind_context *ctx, const struct patchfile_site *s, struct plan_want *ret, struct err *e);
/* Becomes these bytes, or the test fails. */
struct plan_want expands(const struct patchfile_site *s, uint64_t gva, size_t len, const char *new_hex);
/* And goes through plan_build(); the caller frees it. */
struct poke_plan *plans(const struct plan_want *w);
/* Is refused with that errno, rule and part of the sentence, or the test fails. */
void refuses(const struct patchfile_site *s, int error, const char *rule, const char *sentence);

#endif
