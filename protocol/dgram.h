/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A reliable, ordered stream of bytes over Ethernet frames that get lost,
 * doubled and out of order: a sliding window of numbered segments, acknowledged
 * one by one. The same code runs in the worker and in the agent, so it needs
 * nothing of libc but mem* and the numbers of errno.h, never allocates, and knows
 * the time only from its caller. PROTOCOL.md, "Agent over Ethernet", is the wire.
 *
 * The far end is hostile. Whatever it sends, memory stays bounded by this struct
 * and the work of one call by the window. Session numbers keep strangers on the
 * same Ethernet out of a session that they cannot see; they are no authentication.
 *
 * How to drive one: hand every frame that comes in to dgram_input(); then send
 * what dgram_output() makes until it makes nothing; wait for a frame, at most
 * dgram_timeout_us(); and again. Only dgram_output() knows of time-outs.
 */
#ifndef VMPOKE_PROTOCOL_DGRAM_H
#define VMPOKE_PROTOCOL_DGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DGRAM_ETHERTYPE	  0x88b5 /* IEEE 802, Local Experimental Ethertype 1 */
#define DGRAM_MAC_LEN	  6
#define DGRAM_ETH_LEN	  14	 /* destination, source, type */
#define DGRAM_HEADER_LEN  28	 /* ours, behind it */
#define DGRAM_MTU_MIN	  128	 /* of the Ethernet payload: our header and data */
#define DGRAM_MTU_MAX	  1500
#define DGRAM_PAYLOAD_MAX (DGRAM_MTU_MAX - DGRAM_HEADER_LEN)
#define DGRAM_FRAME_MAX	  (DGRAM_ETH_LEN + DGRAM_MTU_MAX)
#define DGRAM_WINDOW	  16 /* segments under way, each direction; the header's bit mask is as wide */

#define DGRAM_ACK_DELAY_US 1000	    /* an answer that comes sooner carries the acknowledgement */
#define DGRAM_RTO_FIRST_US 100000   /* until a round trip was measured */
#define DGRAM_RTO_MIN_US   20000
#define DGRAM_RTO_MAX_US   1000000
#define DGRAM_CALL_US	   5000000  /* a call that nobody answers is given up */
#define DGRAM_IDLE_US	   5000000  /* the caller asks for a sign of life after this long without one, */
#define DGRAM_PING_US	   1000000  /* again and again, */
#define DGRAM_BLOCKED_US   200000   /* either end does when it waits for room: the frame that told of it may be lost */
#define DGRAM_SILENT_US	   15000000 /* a session without any is over */

enum dgram_role {
	DGRAM_CALLER,	/* the host: knows whom it wants, speaks first */
	DGRAM_LISTENER, /* the agent: sends nothing until it was called, and answers who called */
};

enum dgram_state {
	DGRAM_LISTENING,
	DGRAM_CALLING,
	DGRAM_OPEN,
	DGRAM_ENDED, /* dgram_read() says why */
};

struct dgram_config {
	enum dgram_role role;
	uint8_t mac[DGRAM_MAC_LEN];  /* our own: only frames to it are looked at */
	uint8_t peer[DGRAM_MAC_LEN]; /* DGRAM_CALLER: whom to call */
	uint16_t mtu;		     /* DGRAM_MTU_MIN .. DGRAM_MTU_MAX, same as the interface's or less */
	uint64_t seed;		     /* random, for session numbers that cannot be guessed */
};

struct dgram_counters {
	uint64_t rx_frames, tx_frames, rx_bytes, tx_bytes, retransmits, duplicates, dropped;
};

/* Private from here on. */

/* The two numbers of a session and where its other end is. */
struct dgram_peer {
	uint32_t mine, theirs;
	uint8_t mac[DGRAM_MAC_LEN];
};

struct dgram_segment {
	uint64_t sent_us, due_us;
	uint16_t len;
	uint16_t tries; /* 0: not sent yet */
	bool sacked, hurried; /* it came, but one before it did not; sent again before its time */
	uint8_t data[DGRAM_PAYLOAD_MAX];
};

struct dgram_slot {
	uint16_t len; /* 0: not here yet */
	uint8_t data[DGRAM_PAYLOAD_MAX];
};

struct dgram {
	struct dgram_config config;
	struct dgram_counters counters;
	enum dgram_state state;
	int failed;		   /* -errno that read and write give until dgram_accept(); 0: none */
	struct dgram_peer session; /* DGRAM_OPEN; mine while DGRAM_CALLING */
	struct dgram_peer knocking; /* listener: somebody called and did not confirm yet; mine == 0: nobody */
	struct dgram_peer stranger; /* gets one RESET; mine == 0: nobody */
	uint64_t called_us, hello_due_us, welcome_due_us, heard_us, pinged_us;
	uint16_t hellos, welcomes;

	/*
	 * Out: numbers [una, end) are in segments[number % DGRAM_WINDOW], those below sent
	 * went out at least once; the far end takes those below edge.
	 */
	uint32_t una, sent, end, edge;
	uint64_t srtt_us, rttvar_us, rto_us;
	struct dgram_segment segments[DGRAM_WINDOW];

	/* In: below next all came; [first, next) waits to be read, first_off bytes of its first were. We told that we take those below told_edge. */
	uint32_t first, next, told_edge;
	uint16_t first_off, unacked;
	bool ack_owed;
	uint64_t ack_due_us;
	struct dgram_slot slots[DGRAM_WINDOW];
};

/* -EINVAL: mtu or role out of range, or a MAC that is not one station's. now_us: any monotonic clock. */
int dgram_init(struct dgram *d, const struct dgram_config *config, uint64_t now_us);

/* One Ethernet frame (len bytes without the checksum). What is not ours, or damaged, is counted and dropped. */
void dgram_input(struct dgram *d, const uint8_t *frame, size_t len, uint64_t now_us);

/* The next frame that is due, into frame[cap], cap at least DGRAM_FRAME_MAX. Its length; 0: nothing is due. */
size_t dgram_output(struct dgram *d, uint8_t *frame, size_t cap, uint64_t now_us);

/* Until dgram_output() has something; 0: now; -1: never, unless a frame comes in. */
int64_t dgram_timeout_us(const struct dgram *d, uint64_t now_us);

/*
 * 1..cap bytes of the stream; -EAGAIN: none now; -ECONNRESET: the session ended, or another one took its place
 * (a listener's caller began anew); -ETIMEDOUT: the far end is silent. A failure is
 * told until dgram_accept(); what of the old session was not read by then is gone.
 */
long dgram_read(struct dgram *d, void *buf, size_t cap);

/* 1..len bytes taken; -EAGAIN: none now, or nobody called yet; else as dgram_read(). */
long dgram_write(struct dgram *d, const void *buf, size_t len);

/* Is everything that was written acknowledged? */
bool dgram_drained(const struct dgram *d);

/* Listener, after a failure: the session that took the old one's place, or the wait for one, begins. */
void dgram_accept(struct dgram *d);

/* Ends the session: the next dgram_output() tells the far end, once. What was not acknowledged may be lost. */
void dgram_end(struct dgram *d);

#endif
