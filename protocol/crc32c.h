/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CRC-32C (Castagnoli, RFC 3720 appendix B.4): finds damage on the way, not forgery. Freestanding. */
#ifndef VMPOKE_PROTOCOL_CRC32C_H
#define VMPOKE_PROTOCOL_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Of len bytes; of the empty string it is 0. */
uint32_t crc32c(const void *bytes, size_t len);

/* Of two strings one after the other: crc is what the first gave (0 to begin). */
uint32_t crc32c_more(uint32_t crc, const void *bytes, size_t len);

#endif
