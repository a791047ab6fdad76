// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a frame that came in changes. Must never trust one: numbers outside of
 * what we sent or have room for change nothing.
 */
#include <errno.h>
#include <string.h>

#include "protocol/dgram_private.h"

static bool mac_equal(const uint8_t *a, const uint8_t *b)
{
	return !memcmp(a, b, DGRAM_MAC_LEN);
}

static bool is_from(const struct dgram_peer *p, const struct dgram_header *h)
{
	return p->mine && h->to == p->mine && h->from == p->theirs && mac_equal(h->src, p->mac);
}

/* RFC 6298, with the bounds of a path that is one wire long. */
static void round_trip(struct dgram *d, uint64_t us)
{
	uint64_t off = us > d->srtt_us ? us - d->srtt_us : d->srtt_us - us;

	d->rttvar_us = d->srtt_us ? (3 * d->rttvar_us + off) / 4 : us / 2;
	d->srtt_us = d->srtt_us ? (7 * d->srtt_us + us) / 8 : us + 1;
	d->rto_us = d->srtt_us + 4 * d->rttvar_us;
	if (d->rto_us < DGRAM_RTO_MIN_US)
		d->rto_us = DGRAM_RTO_MIN_US;
	if (d->rto_us > DGRAM_RTO_MAX_US)
		d->rto_us = DGRAM_RTO_MAX_US;
}

/* One that was sent twice says nothing of the round trip: which of the two came? (Karn) */
static void segment_came(struct dgram *d, struct dgram_segment *s, uint64_t now_us)
{
	if (!s->sacked && s->tries == 1 && now_us >= s->sent_us)
		round_trip(d, now_us - s->sent_us);
	s->sacked = true;
}

/* Three later ones came: this one is lost, not late. */
static void hurry_lost(struct dgram *d, uint64_t now_us)
{
	unsigned int later = 0;

	for (uint32_t seq = d->sent; seq != d->una; seq--) {
		struct dgram_segment *s = dgram_segment(d, seq - 1);

		if (s->sacked) {
			later++;
		} else if (later >= 3 && !s->hurried) {
			s->hurried = true;
			s->due_us = now_us;
		}
	}
}

static bool take_ack(struct dgram *d, const struct dgram_header *h, uint64_t now_us)
{
	if (dgram_diff(h->ack, d->sent) > 0)
		return false;
	if (dgram_diff(h->ack + h->room, d->edge) > 0)
		d->edge = h->ack + h->room;
	if (dgram_diff(h->ack, d->una) < 0) /* overtaken by a newer one */
		return true;
	for (; d->una != h->ack; d->una++)
		segment_came(d, dgram_segment(d, d->una), now_us);
	for (uint32_t i = 0; i < DGRAM_WINDOW; i++)
		if (h->sack >> i & 1 && dgram_diff(h->ack + 1 + i, d->sent) < 0)
			segment_came(d, dgram_segment(d, h->ack + 1 + i), now_us);
	hurry_lost(d, now_us);
	return true;
}

static void take_data(struct dgram *d, const struct dgram_header *h, uint64_t now_us)
{
	struct dgram_slot *slot = dgram_slot(d, h->seq);
	bool in_order = h->seq == d->next;

	if (dgram_diff(h->seq, d->next) < 0 || dgram_diff(h->seq, d->first + DGRAM_WINDOW) >= 0 || slot->len) {
		d->counters.duplicates++;
		dgram_owe_ack(d, now_us);
		return;
	}
	memcpy(slot->data, h->data, h->len);
	slot->len = h->len;
	while (d->next - d->first < DGRAM_WINDOW && dgram_slot(d, d->next)->len)
		d->next++;
	/* A gap, or the end of one, is news that the far end waits for. */
	d->unacked++;
	dgram_owe_ack(d, in_order && d->next == h->seq + 1 && d->unacked < 2 ? now_us + DGRAM_ACK_DELAY_US : now_us);
}

static void hear_session(struct dgram *d, const struct dgram_header *h, uint64_t now_us)
{
	if (h->type == DGRAM_RESET) {
		dgram_fail(d, -ECONNRESET);
		return;
	}
	if (!take_ack(d, h, now_us)) {
		d->counters.dropped++;
		return;
	}
	d->heard_us = now_us;
	if (h->type == DGRAM_DATA)
		take_data(d, h, now_us);
	else if (h->type == DGRAM_PING)
		dgram_owe_ack(d, now_us);
}

/*
 * Calling costs the caller nothing, and an old HELLO may come late: the session
 * that is open ends only when the new caller shows that it got our WELCOME.
 */
static void hear_hello(struct dgram *d, const struct dgram_header *h, uint64_t now_us)
{
	struct dgram_peer *k = &d->knocking;

	if (d->state == DGRAM_OPEN && h->from == d->session.theirs && mac_equal(h->src, d->session.mac)) {
		d->counters.duplicates++;
		return;
	}
	if (!k->mine || h->from != k->theirs || !mac_equal(h->src, k->mac)) {
		k->mine = dgram_new_id(d);
		k->theirs = h->from;
		memcpy(k->mac, h->src, DGRAM_MAC_LEN);
		d->welcomes = 0;
	}
	d->welcome_due_us = now_us;
}

static void hear_welcome(struct dgram *d, const struct dgram_header *h, uint64_t now_us)
{
	if (d->state == DGRAM_CALLING) {
		d->session.theirs = h->from;
		d->state = DGRAM_OPEN;
		d->edge = h->room;
	} else {
		d->counters.duplicates++;
	}
	d->heard_us = now_us;
	dgram_owe_ack(d, now_us);
}

/* A session of before one of us was started anew: its other end should know. */
static void hear_stranger(struct dgram *d, const struct dgram_header *h)
{
	d->counters.dropped++;
	if (h->type == DGRAM_RESET || d->stranger.mine)
		return;
	d->stranger.mine = h->to;
	d->stranger.theirs = h->from;
	memcpy(d->stranger.mac, h->src, DGRAM_MAC_LEN);
}

static void hear_known(struct dgram *d, const struct dgram_header *h, uint64_t now_us)
{
	if (d->state == DGRAM_OPEN && is_from(&d->session, h)) {
		if (h->type == DGRAM_WELCOME)
			hear_welcome(d, h, now_us);
		else
			hear_session(d, h, now_us);
	} else if (d->state == DGRAM_CALLING && h->type == DGRAM_WELCOME && h->to == d->session.mine) {
		hear_welcome(d, h, now_us);
	} else if (is_from(&d->knocking, h) && h->type != DGRAM_WELCOME && h->type != DGRAM_RESET) {
		dgram_begin(d, &d->knocking);
		d->knocking.mine = 0;
		hear_session(d, h, now_us);
	} else {
		hear_stranger(d, h);
	}
}

void dgram_input(struct dgram *d, const uint8_t *frame, size_t len, uint64_t now_us)
{
	struct dgram_header h;
	bool caller = d->config.role == DGRAM_CALLER;

	d->counters.rx_frames++;
	if (dgram_wire_parse(frame, len, &h) || !mac_equal(h.dst, d->config.mac) || h.src[0] & 1 ||
	    (caller && (h.type == DGRAM_HELLO || !mac_equal(h.src, d->config.peer)))) {
		d->counters.dropped++;
		return;
	}
	if (h.type == DGRAM_HELLO)
		hear_hello(d, &h, now_us);
	else
		hear_known(d, &h, now_us);
}
