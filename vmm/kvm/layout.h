/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where we put things in the first MiB of guest memory, so that they do not collide. */
#ifndef VMPOKE_VMM_KVM_LAYOUT_H
#define VMPOKE_VMM_KVM_LAYOUT_H

#define LAYOUT_GDT	   0x500ull
#define LAYOUT_BOOT_PARAMS 0x7000ull
#define LAYOUT_PML4	   0x9000ull
#define LAYOUT_PDPT	   0xa000ull
#define LAYOUT_PD	   0xb000ull /* four pages */
#define LAYOUT_CMDLINE	   0x20000ull
#define LAYOUT_CMDLINE_MAX 0x1000u
#define LAYOUT_LOW_END	   0x9fc00ull /* conventional memory ends */
#define LAYOUT_ACPI	   0xe0000ull
#define LAYOUT_ACPI_END	   0x100000ull
#define LAYOUT_KERNEL	   0x1000000ull
#define LAYOUT_IMAGE_MIN   0x10000ull /* what a bare image may not overlap */

#endif
