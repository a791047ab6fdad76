/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The formats a kernel is compressed with inside its boot image. Input is a file of an
 * operator's, which may be anything: the size of the result is known beforehand and
 * nothing is ever written behind it.
 */
#ifndef VMPOKE_VMM_GUEST_UNPACK_H
#define VMPOKE_VMM_GUEST_UNPACK_H

#include <stddef.h>
#include <stdint.h>

#include "protocol/err.h"

/*
 * Unpacks exactly out_len bytes. lz4 (the legacy format the kernel uses), zstd, xz, gzip, told apart by
 * their first bytes. -EOPNOTSUPP: none of these; -EBADMSG: damaged, or of another size; -ENOMEM.
 */
int unpack(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len, struct err *e);

#endif
