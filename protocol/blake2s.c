// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * BLAKE2s, written after RFC 7693 (section numbers below) and tested with its
 * vectors and with those of another implementation. Must stay freestanding.
 */
#include "protocol/blake2s.h"

#include <string.h>

/* Section 2.6: the initialisation vector. */
static const uint32_t iv[8] = {
	0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

/* Section 2.7: the message word schedule. */
static const uint8_t sigma[10][16] = {
	{ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 },
	{ 14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3 },
	{ 11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4 },
	{ 7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8 },
	{ 9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13 },
	{ 2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9 },
	{ 12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11 },
	{ 13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10 },
	{ 6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5 },
	{ 10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0 },
};

static uint32_t rotate(uint32_t x, unsigned n)
{
	return x >> n | x << (32 - n);
}

static uint32_t load32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Section 3.1. */
static void mix(uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d, uint32_t x, uint32_t y)
{
	*a = *a + *b + x;
	*d = rotate(*d ^ *a, 16);
	*c += *d;
	*b = rotate(*b ^ *c, 12);
	*a = *a + *b + y;
	*d = rotate(*d ^ *a, 8);
	*c += *d;
	*b = rotate(*b ^ *c, 7);
}

/* Section 3.2. */
static void compress(struct blake2s *s, int last)
{
	uint32_t v[16], m[16];

	for (size_t i = 0; i < 16; i++)
		m[i] = load32(s->block + 4 * i);
	for (size_t i = 0; i < 8; i++) {
		v[i] = s->h[i];
		v[i + 8] = iv[i];
	}
	v[12] ^= (uint32_t)s->total;
	v[13] ^= (uint32_t)(s->total >> 32);
	if (last)
		v[14] = ~v[14];
	for (size_t r = 0; r < 10; r++) {
		const uint8_t *g = sigma[r];
		for (size_t i = 0; i < 4; i++)
			mix(&v[i], &v[i + 4], &v[i + 8], &v[i + 12], m[g[2 * i]], m[g[2 * i + 1]]);
		for (size_t i = 0; i < 4; i++)
			mix(&v[i], &v[4 + (i + 1) % 4], &v[8 + (i + 2) % 4], &v[12 + (i + 3) % 4], m[g[8 + 2 * i]],
			    m[g[9 + 2 * i]]);
	}
	for (size_t i = 0; i < 8; i++)
		s->h[i] ^= v[i] ^ v[i + 8];
}

void blake2s_init(struct blake2s *s, size_t out_len, const void *key, size_t key_len)
{
	memset(s, 0, sizeof(*s));
	memcpy(s->h, iv, sizeof(iv));
	s->h[0] ^= 0x01010000u ^ (uint32_t)key_len << 8 ^ (uint32_t)out_len;
	s->out_len = out_len;
	if (key_len) { /* section 3.3: the key, padded, is the first block */
		memcpy(s->block, key, key_len);
		s->used = sizeof(s->block);
	}
}

void blake2s_more(struct blake2s *s, const void *bytes, size_t len)
{
	const uint8_t *b = bytes;

	while (len) {
		if (s->used == sizeof(s->block)) { /* more follows: this block is not the last */
			s->total += s->used;
			compress(s, 0);
			s->used = 0;
		}
		size_t n = sizeof(s->block) - s->used;
		if (n > len)
			n = len;
		memcpy(s->block + s->used, b, n);
		s->used += n;
		b += n;
		len -= n;
	}
}

void blake2s_done(struct blake2s *s, uint8_t *out)
{
	s->total += s->used;
	memset(s->block + s->used, 0, sizeof(s->block) - s->used);
	compress(s, 1);
	for (size_t i = 0; i < s->out_len; i++)
		out[i] = (uint8_t)(s->h[i / 4] >> 8 * (i % 4));
	memset(s, 0, sizeof(*s));
	__asm__ volatile("" : : "r"(s) : "memory"); /* or the compiler drops the memset */
}

int blake2s_equal(const void *a, const void *b, size_t len)
{
	const uint8_t *x = a, *y = b;
	unsigned differ = 0;

	for (size_t i = 0; i < len; i++)
		differ |= (unsigned)(x[i] ^ y[i]);
	return differ == 0;
}
