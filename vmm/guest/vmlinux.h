/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file a guest's kernel came from: what it frees after boot is still in there. A
 * vmlinux, or the boot image (vmlinuz) that holds one. It is an operator's file and may
 * be anything; it is believed only when its build-id is the guest's.
 */
#ifndef VMPOKE_VMM_GUEST_VMLINUX_H
#define VMPOKE_VMM_GUEST_VMLINUX_H

#include <stddef.h>
#include <stdint.h>

#include "protocol/err.h"
#include "protocol/util.h"

#define VMLINUX_FILE_MAX (256u << 20) /* packed or not */
#define VMLINUX_MAX	 (512u << 20) /* unpacked */
#define VMLINUX_LINK_BASE UINT64_C(0xffffffff81000000) /* where its _text is linked (CONFIG_PHYSICAL_START 16 MiB) */

struct vmlinux;

/*
 * Reads from fd (borrowed) or memory, unpacks, looks for the sections. Kind ERR_FAILED, rule
 * "kernel-image": -ENOEXEC (no kernel of x86-64), -EBADMSG (damaged), -EFBIG, -EOPNOTSUPP (packed
 * with something unknown); -ENOMEM.
 */
int vmlinux_open(int fd, struct vmlinux **ret, struct err *e);
int vmlinux_from_memory(const uint8_t *file, size_t len, struct vmlinux **ret, struct err *e);
void vmlinux_free(struct vmlinux *v); /* NULL allowed */
DEFINE_CLEANUP(struct vmlinux, vmlinux_free)

/* -ESTALE (ERR_REFUSED, "build-id") unless the image's is this one. */
int vmlinux_check_build_id(const struct vmlinux *v, const uint8_t *id, size_t len, struct err *e);

struct vmlinux_section {
	uint64_t addr; /* as linked */
	const uint8_t *bytes; /* the image's own */
	size_t len;
};

/* -ENOENT when there is none of that name with bytes in the file. */
int vmlinux_section(const struct vmlinux *v, const char *name, struct vmlinux_section *ret);

/* len bytes that are linked at addr, in any section; NULL when they are not all in the file. */
const uint8_t *vmlinux_at(const struct vmlinux *v, uint64_t addr, size_t len);

#endif
