// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Encodes frames and finds them in a stream. A virtio-serial port has no
 * connections: either end may begin in the middle of what the last one left, so
 * nothing is believed before its CRC holds, and after damage the search goes on
 * one byte further, inside what was taken for a frame. Must stay freestanding.
 */
#include "protocol/agent.h"

#include <string.h>

#include "protocol/blake2s.h"
#include "protocol/crc32c.h"

/* No ASCII or UTF-8 text has these. */
static const uint8_t magic[4] = { 0xf5, 'v', 'p', 0xa6 };

/* Offsets in the header. */
enum {
	OFF_VERSION = 4,
	OFF_OP = 5,
	OFF_FLAGS = 6,
	OFF_LENGTH = 8,
	OFF_SEQ = 12,
	OFF_SESSION = 16,
	OFF_ERROR = 24,
	OFF_ZERO = 26,
	OFF_PAYLOAD_CRC = 28,
	OFF_HEADER_CRC = 32,
};

static void put(uint8_t *p, uint64_t value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		p[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t get(const uint8_t *p, size_t bytes)
{
	uint64_t value = 0;

	for (size_t i = bytes; i-- > 0;)
		value = value << 8 | p[i];
	return value;
}

static void mac(uint8_t out[AGENT_MAC_LEN], const uint8_t *key, const uint8_t *raw, size_t len)
{
	struct blake2s s;

	blake2s_init(&s, AGENT_MAC_LEN, key, AGENT_KEY_LEN);
	blake2s_more(&s, raw, len);
	blake2s_done(&s, out);
}

size_t agent_frame_encode(uint8_t *out, size_t cap, const struct agent_frame *f, const uint8_t *key)
{
	size_t body = AGENT_HEADER_LEN + f->length, total = body + (key ? AGENT_MAC_LEN : 0);
	unsigned flags = (f->flags & (unsigned)~AGENT_F_AUTH) | (key ? AGENT_F_AUTH : 0);

	if (f->length > AGENT_PAYLOAD_MAX || total > cap)
		return 0;
	if (f->length && f->payload != out + AGENT_HEADER_LEN)
		memmove(out + AGENT_HEADER_LEN, f->payload, f->length);
	memcpy(out, magic, sizeof(magic));
	out[OFF_VERSION] = f->version ? f->version : AGENT_VERSION;
	out[OFF_OP] = f->op;
	put(out + OFF_FLAGS, flags, 2);
	put(out + OFF_LENGTH, f->length, 4);
	put(out + OFF_SEQ, f->seq, 4);
	put(out + OFF_SESSION, f->session, 8);
	put(out + OFF_ERROR, f->error, 2);
	put(out + OFF_ZERO, 0, 2);
	put(out + OFF_PAYLOAD_CRC, crc32c(out + AGENT_HEADER_LEN, f->length), 4);
	put(out + OFF_HEADER_CRC, crc32c(out, OFF_HEADER_CRC), 4);
	if (key)
		mac(out + body, key, out, body);
	return total;
}

bool agent_frame_verify(const struct agent_frame *f, const uint8_t key[AGENT_KEY_LEN])
{
	uint8_t want[AGENT_MAC_LEN];
	size_t body = AGENT_HEADER_LEN + f->length;

	if (!(f->flags & AGENT_F_AUTH))
		return false;
	mac(want, key, f->raw, body);
	return blake2s_equal(want, f->raw + body, sizeof(want));
}

void agent_session_key(uint8_t out[AGENT_KEY_LEN], const uint8_t key[AGENT_KEY_LEN],
		       const uint8_t host_nonce[AGENT_NONCE_LEN], const uint8_t agent_nonce[AGENT_NONCE_LEN],
		       uint64_t session)
{
	static const char label[16] = "vmpoke-agent 1";
	uint8_t number[8];
	struct blake2s s;

	put(number, session, sizeof(number));
	blake2s_init(&s, AGENT_KEY_LEN, key, AGENT_KEY_LEN);
	blake2s_more(&s, label, sizeof(label));
	blake2s_more(&s, host_nonce, AGENT_NONCE_LEN);
	blake2s_more(&s, agent_nonce, AGENT_NONCE_LEN);
	blake2s_more(&s, number, sizeof(number));
	blake2s_done(&s, out);
}

void agent_decoder_init(struct agent_decoder *d)
{
	d->start = d->len = 0;
	d->frames = d->skipped = d->damaged = 0;
}

size_t agent_decoder_space(struct agent_decoder *d, uint8_t **ret)
{
	if (d->start) {
		memmove(d->buf, d->buf + d->start, d->len);
		d->start = 0;
	}
	*ret = d->buf + d->len;
	return sizeof(d->buf) - d->len;
}

void agent_decoder_fed(struct agent_decoder *d, size_t n)
{
	d->len += n;
}

static void drop(struct agent_decoder *d, size_t n)
{
	d->start += n;
	d->len -= n;
}

static void skip(struct agent_decoder *d, size_t n)
{
	d->skipped += n;
	drop(d, n);
}

/* To the next place where a magic is, or may begin at the very end. */
static void scan(struct agent_decoder *d)
{
	const uint8_t *p = d->buf + d->start;
	size_t i = 0;

	while (i < d->len && memcmp(p + i, magic, d->len - i < sizeof(magic) ? d->len - i : sizeof(magic)))
		i++;
	skip(d, i);
}

/* Length of the frame whose whole header is at p, or 0: that is none. */
static size_t frame_length(const uint8_t *p)
{
	uint64_t flags = get(p + OFF_FLAGS, 2), length = get(p + OFF_LENGTH, 4);

	if (get(p + OFF_HEADER_CRC, 4) != crc32c(p, OFF_HEADER_CRC))
		return 0;
	if (length > AGENT_PAYLOAD_MAX || flags & ~(uint64_t)AGENT_F_ALL || get(p + OFF_ZERO, 2))
		return 0;
	return AGENT_HEADER_LEN + (size_t)length + (flags & AGENT_F_AUTH ? AGENT_MAC_LEN : 0);
}

static void frame_fill(struct agent_frame *f, const uint8_t *p)
{
	f->version = p[OFF_VERSION];
	f->op = p[OFF_OP];
	f->flags = (uint16_t)get(p + OFF_FLAGS, 2);
	f->error = (uint16_t)get(p + OFF_ERROR, 2);
	f->seq = (uint32_t)get(p + OFF_SEQ, 4);
	f->session = get(p + OFF_SESSION, 8);
	f->payload = p + AGENT_HEADER_LEN;
	f->length = (size_t)get(p + OFF_LENGTH, 4);
	f->raw = p;
}

static void damaged(struct agent_decoder *d)
{
	d->damaged++;
	skip(d, 1);
}

int agent_decoder_next(struct agent_decoder *d, struct agent_frame *ret)
{
	for (;;) {
		scan(d);
		const uint8_t *p = d->buf + d->start;
		if (d->len < AGENT_HEADER_LEN)
			return 0;
		size_t total = frame_length(p);
		if (!total) {
			damaged(d);
			continue;
		}
		if (d->len < total)
			return 0;
		frame_fill(ret, p);
		if (get(p + OFF_PAYLOAD_CRC, 4) != crc32c(ret->payload, ret->length)) {
			damaged(d);
			continue;
		}
		d->frames++;
		drop(d, total);
		return 1;
	}
}

bool agent_decoder_partial(const struct agent_decoder *d)
{
	return d->len > 0;
}

void agent_decoder_expire(struct agent_decoder *d)
{
	if (d->len)
		damaged(d);
}
