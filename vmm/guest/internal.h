/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of struct guest, shared by the files of vmm/guest and nobody else. */
#ifndef VMPOKE_VMM_GUEST_INTERNAL_H
#define VMPOKE_VMM_GUEST_INTERNAL_H

#include "vmm/guest/guest.h"
#include "vmm/guest/image.h"
#include "vmm/guest/kallsyms.h"
#include "vmm/guest/layout.h"
#include "vmm/guest/names_index.h"
#include "vmm/guest/walk.h"

/* Several names looked up in one pass over the table. */
struct symbol_want {
	const char *name;
	uint64_t addr; /* of the first symbol of that name */
	bool found;
};

#define GUEST_DERIVED_TABLES 2

struct guest_arch;

struct guest {
	const struct guest_arch *arch;
	struct image_window window;
	struct guest_facts facts;
	struct walk walk;
	struct kallsyms syms;
	struct names_index names;
	uint64_t banner, notes, notes_end; /* addresses */
	uint64_t base_gpa;
	struct symbol_want derived[2 * GUEST_DERIVED_TABLES + 1]; /* data that the symbol table does not name */
	size_t n_derived;
	uint64_t cpu_base[VCPU_MAX]; /* per-cpu bases that vCPUs had when last seen (arm64) */
	size_t n_cpu_bases;
	struct module_layout modules;
	struct fentry_layout fentry;
	struct kprobe_layout kprobes;
	struct layout layout; /* of task_struct and friends; see guest_stacks_prepare() */
};

void symbols_resolve(const struct kallsyms *k, struct symbol_want *wants, size_t n);

/*
 * The GNU build-id in a block of ELF notes (elf(5), Nhdr). -ENOENT when there is none,
 * -EBADMSG when the block is malformed.
 */
int buildid_parse(const uint8_t *notes, size_t len, uint8_t ret[static 20]);

#endif
