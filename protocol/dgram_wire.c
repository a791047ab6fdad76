// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Frames of "Agent over Ethernet" to structs and back. Must never believe a
 * length that the frame does not have, and must build without libc.
 */
#include <errno.h>
#include <string.h>

#include "protocol/dgram_wire.h"

/* 0x88b5 is anybody's for experiments: frames of others must not look like ours. */
static const uint8_t magic[2] = { 'v', 'p' };

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t get32(const uint8_t *p)
{
	return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, (uint16_t)v);
	put16(p + 2, (uint16_t)(v >> 16));
}

/* Only DATA carries any, only HELLO has nobody to name. */
static bool header_makes_sense(const struct dgram_header *h)
{
	if (h->type < DGRAM_HELLO || h->type > DGRAM_RESET || h->len > DGRAM_PAYLOAD_MAX)
		return false;
	return (h->type == DGRAM_DATA) == (h->len > 0) && (h->type == DGRAM_HELLO) == (h->to == 0) && h->from != 0;
}

int dgram_wire_parse(const uint8_t *frame, size_t len, struct dgram_header *ret)
{
	const uint8_t *p = frame + DGRAM_ETH_LEN;
	struct dgram_header h;

	if (len < DGRAM_ETH_LEN + DGRAM_HEADER_LEN)
		return -EPROTO;
	if (frame[12] != DGRAM_ETHERTYPE >> 8 || frame[13] != (DGRAM_ETHERTYPE & 0xff))
		return -EPROTO;
	if (memcmp(p, magic, sizeof(magic)) || p[2] != DGRAM_VERSION)
		return -EPROTO;
	h = (struct dgram_header){
		.dst = frame,
		.src = frame + DGRAM_MAC_LEN,
		.type = p[3],
		.len = get16(p + 4),
		.room = get16(p + 6),
		.from = get32(p + 8),
		.to = get32(p + 12),
		.seq = get32(p + 16),
		.ack = get32(p + 20),
		.sack = get16(p + 24),
		.data = p + DGRAM_HEADER_LEN,
	};
	/* The frame may be longer: Ethernet fills up to 60 bytes. */
	if (!header_makes_sense(&h) || h.len > len - DGRAM_ETH_LEN - DGRAM_HEADER_LEN)
		return -EPROTO;
	*ret = h;
	return 0;
}

size_t dgram_wire_format(const struct dgram_header *h, uint8_t frame[DGRAM_ETH_LEN + DGRAM_HEADER_LEN])
{
	uint8_t *p = frame + DGRAM_ETH_LEN;

	memcpy(frame, h->dst, DGRAM_MAC_LEN);
	memcpy(frame + DGRAM_MAC_LEN, h->src, DGRAM_MAC_LEN);
	frame[12] = DGRAM_ETHERTYPE >> 8;
	frame[13] = DGRAM_ETHERTYPE & 0xff;
	memcpy(p, magic, sizeof(magic));
	p[2] = DGRAM_VERSION;
	p[3] = (uint8_t)h->type;
	put16(p + 4, h->len);
	put16(p + 6, h->room);
	put32(p + 8, h->from);
	put32(p + 12, h->to);
	put32(p + 16, h->seq);
	put32(p + 20, h->ack);
	put16(p + 24, h->sack);
	put16(p + 26, 0);
	return DGRAM_ETH_LEN + DGRAM_HEADER_LEN;
}
