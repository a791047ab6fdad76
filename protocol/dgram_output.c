// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What is due to go out, and when. Must never send on its own account: no session,
 * no frame, except answers to who asked.
 */
#include <errno.h>
#include <string.h>

#include "protocol/dgram_private.h"

#define NEVER UINT64_MAX

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* base doubled n times, at most DGRAM_RTO_MAX_US. */
static uint64_t backed_off(uint64_t base_us, unsigned int n)
{
	return earlier(base_us << (n < 10 ? n : 10), DGRAM_RTO_MAX_US);
}

/* Everything that came, as the header tells it. */
static void tell_received(struct dgram *d, struct dgram_header *h)
{
	h->ack = d->next;
	h->room = (uint16_t)(d->first + DGRAM_WINDOW - d->next);
	for (uint32_t i = 0; i + 1 < h->room; i++)
		if (dgram_slot(d, d->next + 1 + i)->len)
			h->sack = (uint16_t)(h->sack | 1u << i);
	d->told_edge = d->first + DGRAM_WINDOW;
	d->ack_owed = false;
	d->unacked = 0;
}

static size_t send_to(struct dgram *d, const struct dgram_peer *p, struct dgram_header *h, uint8_t *frame)
{
	size_t len;

	h->dst = p->mac;
	h->src = d->config.mac;
	h->from = p->mine;
	h->to = h->type == DGRAM_HELLO ? 0 : p->theirs;
	len = dgram_wire_format(h, frame);
	if (h->len)
		memcpy(frame + len, h->data, h->len);
	d->counters.tx_frames++;
	return len + h->len;
}

static size_t send_stranger(struct dgram *d, uint8_t *frame)
{
	struct dgram_header h = { .type = DGRAM_RESET };
	size_t len = send_to(d, &d->stranger, &h, frame);

	d->stranger.mine = 0;
	return len;
}

/* Five times, backing off, then whoever called has gone. */
static size_t send_welcome(struct dgram *d, uint8_t *frame, uint64_t now_us)
{
	struct dgram_header h = { .type = DGRAM_WELCOME, .room = DGRAM_WINDOW };
	size_t len;

	if (d->welcomes == 5) {
		d->knocking.mine = 0;
		return 0;
	}
	len = send_to(d, &d->knocking, &h, frame);
	d->welcome_due_us = now_us + backed_off(DGRAM_RTO_FIRST_US, d->welcomes++);
	return len;
}

static size_t send_hello(struct dgram *d, uint8_t *frame, uint64_t now_us)
{
	struct dgram_header h = { .type = DGRAM_HELLO, .room = DGRAM_WINDOW };

	d->hello_due_us = now_us + backed_off(DGRAM_RTO_FIRST_US, d->hellos++);
	return send_to(d, &d->session, &h, frame);
}

/* ACK or PING. */
static size_t send_empty(struct dgram *d, enum dgram_type type, uint8_t *frame, uint64_t now_us)
{
	struct dgram_header h = { .type = type, .seq = d->sent };

	if (type == DGRAM_PING)
		d->pinged_us = now_us;
	tell_received(d, &h);
	return send_to(d, &d->session, &h, frame);
}

static size_t send_segment(struct dgram *d, uint32_t seq, uint8_t *frame, uint64_t now_us)
{
	struct dgram_segment *s = dgram_segment(d, seq);
	struct dgram_header h = { .type = DGRAM_DATA, .seq = seq, .len = s->len, .data = s->data };

	if (s->tries)
		d->counters.retransmits++;
	else
		d->sent = seq + 1;
	s->sent_us = now_us;
	s->due_us = now_us + backed_off(d->rto_us, s->tries);
	if (s->tries < UINT16_MAX)
		s->tries++;
	tell_received(d, &h);
	return send_to(d, &d->session, &h, frame);
}

/*
 * When segment seq is due: one that never went out waits for room, not for time.
 * Of those under way only the oldest is sent again when its time is over: if the
 * far end was just slow, one is enough to hear so, and if more are lost its
 * acknowledgement tells which. Each in turn becomes the oldest.
 */
static uint64_t segment_due(const struct dgram *d, uint32_t seq)
{
	const struct dgram_segment *s = &d->segments[seq % DGRAM_WINDOW];

	if (s->tries)
		return !s->sacked && (seq == d->una || s->hurried) ? s->due_us : NEVER;
	return dgram_diff(seq, d->edge) < 0 ? 0 : NEVER;
}

/* The first segment that is due at now_us, or d->end. */
static uint32_t segment_first_due(const struct dgram *d, uint64_t now_us)
{
	uint32_t seq = d->una;

	while (seq != d->end && segment_due(d, seq) > now_us)
		seq++;
	return seq;
}

static uint64_t ping_due(const struct dgram *d)
{
	bool blocked = d->una == d->sent && d->sent != d->end && dgram_diff(d->sent, d->edge) >= 0;
	uint64_t idle = d->heard_us + DGRAM_IDLE_US, again = d->pinged_us + DGRAM_PING_US;

	if (blocked)
		return d->pinged_us + DGRAM_BLOCKED_US;
	if (d->config.role == DGRAM_LISTENER)
		return NEVER;
	return idle > again ? idle : again;
}

/* When the session, or the call, is given up. */
static uint64_t deadline(const struct dgram *d)
{
	if (d->state == DGRAM_OPEN)
		return d->heard_us + DGRAM_SILENT_US;
	return d->state == DGRAM_CALLING ? d->called_us + DGRAM_CALL_US : NEVER;
}

static size_t output_session(struct dgram *d, uint8_t *frame, uint64_t now_us)
{
	uint32_t seq = segment_first_due(d, now_us);

	if (seq != d->end)
		return send_segment(d, seq, frame, now_us);
	if (ping_due(d) <= now_us)
		return send_empty(d, DGRAM_PING, frame, now_us);
	if (d->ack_owed && d->ack_due_us <= now_us)
		return send_empty(d, DGRAM_ACK, frame, now_us);
	return 0;
}

size_t dgram_output(struct dgram *d, uint8_t *frame, size_t cap, uint64_t now_us)
{
	size_t len = 0;

	if (cap < DGRAM_FRAME_MAX)
		return 0;
	if (deadline(d) <= now_us)
		dgram_fail(d, -ETIMEDOUT);
	if (d->stranger.mine)
		return send_stranger(d, frame);
	if (d->knocking.mine && d->welcome_due_us <= now_us)
		len = send_welcome(d, frame, now_us);
	if (len)
		return len;
	if (d->state == DGRAM_CALLING && d->hello_due_us <= now_us)
		return send_hello(d, frame, now_us);
	return d->state == DGRAM_OPEN ? output_session(d, frame, now_us) : 0;
}

static uint64_t session_due(const struct dgram *d)
{
	uint64_t due = ping_due(d);

	for (uint32_t seq = d->una; seq != d->end; seq++)
		due = earlier(due, segment_due(d, seq));
	return d->ack_owed ? earlier(due, d->ack_due_us) : due;
}

int64_t dgram_timeout_us(const struct dgram *d, uint64_t now_us)
{
	uint64_t due = deadline(d);

	if (d->stranger.mine)
		return 0;
	if (d->knocking.mine)
		due = earlier(due, d->welcome_due_us);
	if (d->state == DGRAM_CALLING)
		due = earlier(due, d->hello_due_us);
	if (d->state == DGRAM_OPEN)
		due = earlier(due, session_due(d));
	if (due == NEVER)
		return -1;
	return due > now_us ? (int64_t)(due - now_us) : 0;
}
