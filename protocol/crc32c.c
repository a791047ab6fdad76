// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * CRC-32C, four bits at a time: frames are small and few, and a table of 64
 * bytes does not need to be filled at start. Must stay freestanding, the guest's
 * agent links it.
 */
#include "protocol/crc32c.h"

/* The reflected polynomial 0x82f63b78, applied to each value of four bits. */
static const uint32_t table[16] = {
	0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
	0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

uint32_t crc32c_more(uint32_t crc, const void *bytes, size_t len)
{
	const uint8_t *b = bytes;

	crc = ~crc;
	for (size_t i = 0; i < len; i++) {
		crc ^= b[i];
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return ~crc;
}

uint32_t crc32c(const void *bytes, size_t len)
{
	return crc32c_more(0, bytes, len);
}
