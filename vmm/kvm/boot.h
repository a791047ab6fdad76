/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loaders: each checks whether the file is of its kind, loads it and says where to enter. */
#ifndef VMPOKE_VMM_KVM_BOOT_H
#define VMPOKE_VMM_KVM_BOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/kvm/machine.h"

struct memory;

/* A file in memory; trusted no more than a guest. */
struct boot_image {
	const uint8_t *bytes;
	size_t len;
};

struct boot_entry {
	uint64_t rip, rdi, rsi;
	bool linux_kernel;
};

/* boot_elf.c: segments to their physical addresses. 1: done, 0: not an ELF64 for x86-64. *ret_linux: linked for the kernel half. */
int boot_elf_load(struct memory *mem, const struct boot_image *image, uint64_t *ret_entry, bool *ret_linux,
		  struct err *e);

/* boot_linux.c: 1: done, 0: not a bzImage. */
int boot_bzimage_load(struct memory *mem, const struct boot_image *image, uint64_t *ret_entry, struct err *e);

/* Zero page, command line, initrd. header: the bzImage, or NULL for a vmlinux. */
int boot_linux_params(struct memory *mem, const struct machine_config *config, const struct boot_image *header,
		      struct err *e);

/* acpi.c: tables for so many vCPUs and virtio devices (vmm/kvm/devices.h). */
int acpi_write(struct memory *mem, unsigned vcpus, unsigned devices, struct err *e);

#endif
