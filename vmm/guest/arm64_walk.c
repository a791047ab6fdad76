// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * arm64 table entries, granule of 4 KiB, 48 bits (Arm ARM DDI 0487, D8.3: VMSAv8-64 descriptors).
 * Must never call something mapped that faults: an invalid entry, a reserved one, a block where
 * there can be none.
 */
#include "vmm/guest/walk.h"

#define DESC_VALID     (1ull << 0)
#define DESC_TABLE     (1ull << 1) /* in the bottom level: a page, and nothing else is valid */
#define DESC_READ_ONLY (1ull << 7)
#define DESC_GUARDED   (1ull << 50)
#define DESC_DIRTY     (1ull << 51) /* DBM: hardware may clear the read-only bit */
#define DESC_PXN       (1ull << 53)
#define TABLE_PXN      (1ull << 59)
#define TABLE_NO_WRITE (1ull << 62)
#define DESC_ADDR      0x0000fffffffff000ull

static struct walk_entry table_entry(uint64_t raw)
{
	return (struct walk_entry){
		.addr = raw & DESC_ADDR,
		.present = true,
		.exec = !(raw & TABLE_PXN),
		.write = !(raw & TABLE_NO_WRITE),
	};
}

static struct walk_entry arm64_entry(uint64_t raw, unsigned level)
{
	if (!(raw & DESC_VALID) || (level == 1 && !(raw & DESC_TABLE)))
		return (struct walk_entry){ 0 };
	if (level > 1 && raw & DESC_TABLE)
		return table_entry(raw);
	return (struct walk_entry){
		.addr = raw & DESC_ADDR,
		.present = true,
		.leaf = true,
		.exec = !(raw & DESC_PXN),
		.write = !(raw & DESC_READ_ONLY) || raw & DESC_DIRTY,
		.guarded = raw & DESC_GUARDED,
	};
}

/* TTBR1_EL1: ASID above, CNP in bit 0. */
const struct walk_format walk_arm64 = { .root_mask = DESC_ADDR, .upper_half = true, .entry = arm64_entry };
