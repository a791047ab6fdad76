// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One row per compression format, each a call of its library; see unpack.h. Must never
 * trust a length in the input further than the two buffers reach.
 */
#include "vmm/guest/unpack.h"

#include <errno.h>
#include <limits.h>
#include <lz4.h>
#include <lzma.h>
#include <stdbool.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "protocol/util.h"

#define LZ4_BLOCK_MAX (8u << 20) /* of the legacy format, unpacked (lz4_Frame_format.md) */
#define XZ_MEMORY_MAX (256u << 20)

static uint32_t le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Magic, then blocks: u32 length, data; the last one may be short. No checksum, no end mark. */
static bool unpack_lz4(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
	size_t done = 0, at = 4;

	while (done < out_len && in_len - at >= 4) {
		uint32_t len = le32(in + at);
		size_t room = out_len - done < LZ4_BLOCK_MAX ? out_len - done : LZ4_BLOCK_MAX;

		at += 4;
		if (len > in_len - at || len > INT_MAX)
			return false;
		int n = LZ4_decompress_safe((const char *)in + at, (char *)out + done, (int)len, (int)room);
		if (n <= 0)
			return false;
		at += len;
		done += (size_t)n;
	}
	return done == out_len;
}

static bool unpack_zstd(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
	size_t frame = ZSTD_findFrameCompressedSize(in, in_len);

	return !ZSTD_isError(frame) && ZSTD_decompress(out, out_len, in, frame) == out_len;
}

static bool unpack_xz(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
	uint64_t memory = XZ_MEMORY_MAX;
	size_t in_at = 0, out_at = 0;

	return lzma_stream_buffer_decode(&memory, 0, NULL, in, &in_at, in_len, out, &out_at, out_len) == LZMA_OK &&
	       out_at == out_len;
}

static bool unpack_gzip(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)in, .avail_in = (uInt)in_len, .next_out = out, .avail_out = (uInt)out_len };

	if (in_len > UINT_MAX || out_len > UINT_MAX || inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
		return false;
	bool good = inflate(&z, Z_FINISH) == Z_STREAM_END && z.total_out == out_len;
	inflateEnd(&z);
	return good;
}

static const struct {
	const char *name;
	uint8_t magic[6];
	size_t magic_len;
	bool (*unpack)(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len);
} formats[] = {
	{ "lz4", { 0x02, 0x21, 0x4c, 0x18 }, 4, unpack_lz4 },
	{ "zstd", { 0x28, 0xb5, 0x2f, 0xfd }, 4, unpack_zstd },
	{ "xz", { 0xfd, '7', 'z', 'X', 'Z', 0 }, 6, unpack_xz },
	{ "gzip", { 0x1f, 0x8b, 0x08 }, 3, unpack_gzip },
};

int unpack(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		if (in_len < formats[i].magic_len || memcmp(in, formats[i].magic, formats[i].magic_len) != 0)
			continue;
		if (formats[i].unpack(in, in_len, out, out_len))
			return 0;
		return err_set(e, ERR_FAILED, EBADMSG, "kernel-image", "the kernel in the image is damaged (%s)",
			       formats[i].name);
	}
	return err_set(e, ERR_FAILED, EOPNOTSUPP, "kernel-image",
		       "the kernel in the image is packed with none of lz4, zstd, xz and gzip");
}
