/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A kernel's file of a few hundred bytes: sections as a vmlinux has them, packed as a boot image is. */
#ifndef VMPOKE_TESTS_KERNEL_FILE_H
#define VMPOKE_TESTS_KERNEL_FILE_H

#include <stddef.h>
#include <stdint.h>

#define KERNEL_FILE_MAX	 16384
#define KERNEL_TEXT_SIZE 128
#define KERNEL_REPLACEMENT_SIZE 64
#define KERNEL_ENTRIES	 6

struct kernel_file_alternative {
	uint32_t at, replacement; /* offsets in .text and .altinstr_replacement */
	uint16_t feature, flags;
	uint8_t len, replacement_len;
};

struct kernel_file {
	uint8_t build_id[20];
	uint8_t text[KERNEL_TEXT_SIZE];		       /* at 0xffffffff81000000 */
	uint8_t replacement[KERNEL_REPLACEMENT_SIZE]; /* at 0xffffffff82000000 */
	struct kernel_file_alternative alternative[KERNEL_ENTRIES];
	size_t n_alternatives;
	size_t entry_size; /* 12 or 14 */
	struct {
		uint32_t at;
		uint8_t type, len;
	} pv_call[KERNEL_ENTRIES];
	size_t n_pv_calls;
};

/* The vmlinux; returns its length. */
size_t kernel_file_elf(const struct kernel_file *k, uint8_t ret[KERNEL_FILE_MAX]);

enum kernel_packing { KERNEL_LZ4, KERNEL_ZSTD, KERNEL_XZ, KERNEL_GZIP, KERNEL_PACKINGS };
/* The boot image that holds len bytes of elf. */
size_t kernel_file_pack(const uint8_t *elf, size_t len, enum kernel_packing how, uint8_t ret[KERNEL_FILE_MAX]);

#endif
