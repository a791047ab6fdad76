/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * BLAKE2s (RFC 7693) with a key: the message authentication code of the agent's
 * frames. Not a library's because the agent is a static program that may hold
 * nothing else, and both ends must agree. Freestanding.
 */
#ifndef VMPOKE_PROTOCOL_BLAKE2S_H
#define VMPOKE_PROTOCOL_BLAKE2S_H

#include <stddef.h>
#include <stdint.h>

#define BLAKE2S_KEY_MAX 32
#define BLAKE2S_OUT_MAX 32

struct blake2s {
	uint32_t h[8];
	uint64_t total;	/* bytes so far, without those in block[] */
	size_t used;	/* of block[] */
	size_t out_len;
	uint8_t block[64];
};

/* out_len: 1..BLAKE2S_OUT_MAX. key_len: 0 (none) to BLAKE2S_KEY_MAX. */
void blake2s_init(struct blake2s *s, size_t out_len, const void *key, size_t key_len);
void blake2s_more(struct blake2s *s, const void *bytes, size_t len);
/* Writes out_len bytes and wipes *s. */
void blake2s_done(struct blake2s *s, uint8_t *out);

/* Whether len bytes are equal, in a time that does not tell where they differ. 1 or 0. */
int blake2s_equal(const void *a, const void *b, size_t len);

#endif
