/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Header of a segment between worker and agent (PROTOCOL.md, "Agent over Ethernet"); of interest to dgram*.c only. */
#ifndef VMPOKE_PROTOCOL_DGRAM_WIRE_H
#define VMPOKE_PROTOCOL_DGRAM_WIRE_H

#include "protocol/dgram.h"

#define DGRAM_VERSION 1

enum dgram_type {
	DGRAM_HELLO = 1,   /* to == 0 */
	DGRAM_WELCOME = 2,
	DGRAM_DATA = 3,	   /* 1 byte or more */
	DGRAM_ACK = 4,
	DGRAM_PING = 5,	   /* asks for an ACK */
	DGRAM_RESET = 6,   /* there is no such session; never answered */
};

struct dgram_header {
	const uint8_t *dst, *src; /* MAC addresses, in the frame */
	enum dgram_type type;
	uint16_t len;	     /* of the data */
	uint16_t room;	     /* segments from ack on that the sender has room for */
	uint32_t from, to;   /* session numbers of sender and receiver */
	uint32_t seq;	     /* number of this segment (DATA) or of the next (others) */
	uint32_t ack;	     /* every segment below this came */
	uint16_t sack;	     /* bit i: so did segment ack + 1 + i */
	const uint8_t *data; /* in the frame */
};

/* Fills *ret, which points into frame. -EPROTO: not a well-formed frame of ours. */
int dgram_wire_parse(const uint8_t *frame, size_t len, struct dgram_header *ret);

/* Writes Ethernet and own header, not the data, which goes to frame + the returned length. */
size_t dgram_wire_format(const struct dgram_header *h, uint8_t frame[DGRAM_ETH_LEN + DGRAM_HEADER_LEN]);

/* a - b of numbers that wrap: negative when a is before b. */
static inline int32_t dgram_diff(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b);
}

#endif
