/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames between host and agent: PROTOCOL.md section 4. This header and the
 * files behind it are linked by both ends and are freestanding: no allocation, no
 * I/O, no libc beyond mem*(). What a frame says is protocol/agent_msg.h's part.
 */
#ifndef VMPOKE_PROTOCOL_AGENT_H
#define VMPOKE_PROTOCOL_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AGENT_VERSION	  1
#define AGENT_HEADER_LEN  36
#define AGENT_PAYLOAD_MAX 16384
#define AGENT_MAC_LEN	  16
#define AGENT_FRAME_MAX	  (AGENT_HEADER_LEN + AGENT_PAYLOAD_MAX + AGENT_MAC_LEN)
#define AGENT_KEY_LEN	  32
#define AGENT_NONCE_LEN	  16

/* A frame that has not come to its end after this long was cut off: see agent_decoder_expire(). */
#define AGENT_FRAME_TIMEOUT_MS 200

/* Where the agent is found. */
#define AGENT_PORT_NAME	 "org.vmpoke.agent.0" /* virtio-serial */
#define AGENT_VSOCK_PORT 805 /* below 1024: in the guest only root can listen there */

enum agent_op {
	AGENT_HELLO = 1,
	AGENT_PING = 2,
	AGENT_SYMBOLS = 3,
	AGENT_CONFLICTS = 4,
	AGENT_SELFCHECK = 5,
	AGENT_QUIESCE = 6,
	AGENT_PARK = 7,
	AGENT_UNPARK = 8,
	AGENT_STATE = 9,
	AGENT_STATS = 10,
	AGENT_OP_COUNT,
};

#define AGENT_F_REPLY 0x0001u
#define AGENT_F_ERROR 0x0002u /* with AGENT_F_REPLY: header.error says why */
#define AGENT_F_AUTH  0x0004u /* a MAC follows the payload */
#define AGENT_F_ALL   0x0007u

/* Why a request was refused (header.error). */
enum agent_error {
	AGENT_E_NONE = 0,
	AGENT_E_VERSION = 1,	 /* no common version */
	AGENT_E_SESSION = 2,	 /* not this agent's session: it was started anew, say hello */
	AGENT_E_AUTH = 3,	 /* MAC missing, wrong, or of an old frame */
	AGENT_E_UNKNOWN_OP = 4,
	AGENT_E_STATE = 5,	 /* not now */
	AGENT_E_MALFORMED = 6,	 /* payload too short, too long, or nonsense */
	AGENT_E_UNAVAILABLE = 7, /* this guest does not offer it */
	AGENT_E_LIMIT = 8,	 /* beyond a named limit */
	AGENT_E_FAILED = 9,	 /* tried, and the guest's kernel said no */
	AGENT_E_COUNT,
};

struct agent_frame {
	uint8_t version; /* encode: 0 means AGENT_VERSION */
	uint8_t op;
	uint16_t flags;
	uint16_t error;
	uint32_t seq;
	uint64_t session;
	const uint8_t *payload; /* decode: in the decoder's buffer, until agent_decoder_space() */
	size_t length;
	const uint8_t *raw; /* decode: the whole frame, for agent_frame_verify() */
};

/*
 * Writes a frame to out and returns its length; 0 when it does not fit cap or a
 * limit. The payload may already be in place, at out + AGENT_HEADER_LEN. With a key
 * (a session key) AGENT_F_AUTH is set and the MAC appended; without, it is cleared.
 */
size_t agent_frame_encode(uint8_t *out, size_t cap, const struct agent_frame *f, const uint8_t *key);

/* Whether the frame carries a MAC made with this session key. */
bool agent_frame_verify(const struct agent_frame *f, const uint8_t key[AGENT_KEY_LEN]);

/* The key of one session, from the VM's key and what both said in their hello. */
void agent_session_key(uint8_t out[AGENT_KEY_LEN], const uint8_t key[AGENT_KEY_LEN],
		       const uint8_t host_nonce[AGENT_NONCE_LEN], const uint8_t agent_nonce[AGENT_NONCE_LEN],
		       uint64_t session);

/* Finds frames in a stream of bytes that may begin, end or break anywhere. */
struct agent_decoder {
	size_t start, len; /* of what is in buf */
	uint64_t frames, skipped, damaged; /* frames found, bytes that were in none, headers or payloads with a bad CRC */
	uint8_t buf[AGENT_FRAME_MAX];
};

void agent_decoder_init(struct agent_decoder *d);

/* Where the next bytes go, and at most how many (never 0 after agent_decoder_next() said 0). Then tell how many came. */
size_t agent_decoder_space(struct agent_decoder *d, uint8_t **ret);
void agent_decoder_fed(struct agent_decoder *d, size_t n);

/* 1 and *ret, or 0: no further whole frame. Frames of any version come out; the caller looks. */
int agent_decoder_next(struct agent_decoder *d, struct agent_frame *ret);

/* After agent_decoder_next() said 0: whether the beginning of a frame waits for its end. */
bool agent_decoder_partial(const struct agent_decoder *d);

/* AGENT_FRAME_TIMEOUT_MS went by: that beginning is none, what follows it is looked at again. Call next() after. */
void agent_decoder_expire(struct agent_decoder *d);

#endif
