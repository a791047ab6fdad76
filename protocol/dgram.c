// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Life of a session and the stream's two ends. Must build without libc, and must
 * never call back: who owns the struct decides when anything is sent.
 */
#include <errno.h>
#include <string.h>

#include "protocol/dgram_private.h"

/* One station's address: not a group's, not nobody's. */
static bool mac_is_station(const uint8_t mac[DGRAM_MAC_LEN])
{
	static const uint8_t none[DGRAM_MAC_LEN];

	return !(mac[0] & 1) && memcmp(mac, none, sizeof(none));
}

static bool config_is_valid(const struct dgram_config *config)
{
	if (config->mtu < DGRAM_MTU_MIN || config->mtu > DGRAM_MTU_MAX || !mac_is_station(config->mac))
		return false;
	return config->role == DGRAM_LISTENER || (config->role == DGRAM_CALLER && mac_is_station(config->peer));
}

/* splitmix64: the state is 64 random bits nobody else sees. */
uint32_t dgram_new_id(struct dgram *d)
{
	uint64_t z;

	do {
		z = d->config.seed += 0x9e3779b97f4a7c15;
		z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
		z = (z ^ z >> 27) * 0x94d049bb133111eb;
		z ^= z >> 31;
	} while (!(uint32_t)z);
	return (uint32_t)z;
}

static void streams_reset(struct dgram *d)
{
	d->una = d->sent = d->end = d->edge = 0;
	d->first = d->next = 0;
	d->told_edge = DGRAM_WINDOW;
	d->first_off = d->unacked = 0;
	d->ack_owed = false;
	d->pinged_us = d->srtt_us = d->rttvar_us = 0;
	d->rto_us = DGRAM_RTO_FIRST_US;
	for (unsigned int i = 0; i < DGRAM_WINDOW; i++)
		d->slots[i].len = 0;
}

int dgram_init(struct dgram *d, const struct dgram_config *config, uint64_t now_us)
{
	if (!config_is_valid(config))
		return -EINVAL;
	memset(d, 0, sizeof(*d));
	d->config = *config;
	streams_reset(d);
	if (config->role == DGRAM_LISTENER)
		return 0;
	d->state = DGRAM_CALLING;
	d->called_us = d->hello_due_us = now_us;
	d->session.mine = dgram_new_id(d);
	memcpy(d->session.mac, config->peer, DGRAM_MAC_LEN);
	return 0;
}

void dgram_begin(struct dgram *d, const struct dgram_peer *who)
{
	if (d->state == DGRAM_OPEN)
		dgram_fail(d, -ECONNRESET);
	streams_reset(d);
	d->session = *who;
	d->state = DGRAM_OPEN;
}

void dgram_fail(struct dgram *d, int error)
{
	if (!d->failed)
		d->failed = error;
	d->state = d->config.role == DGRAM_CALLER ? DGRAM_ENDED : DGRAM_LISTENING;
	d->una = d->sent = d->end;
	d->ack_owed = false;
}

void dgram_owe_ack(struct dgram *d, uint64_t due_us)
{
	if (!d->ack_owed || due_us < d->ack_due_us)
		d->ack_due_us = due_us;
	d->ack_owed = true;
}

void dgram_accept(struct dgram *d)
{
	if (d->config.role != DGRAM_LISTENER)
		return;
	d->failed = 0;
	if (d->state != DGRAM_OPEN)
		streams_reset(d);
}

void dgram_end(struct dgram *d)
{
	if (d->state == DGRAM_OPEN)
		d->stranger = d->session;
	if (d->state == DGRAM_OPEN || d->state == DGRAM_CALLING)
		dgram_fail(d, -ECONNRESET);
}

/* What is left of the first slot, at most cap bytes. */
static size_t read_first(struct dgram *d, uint8_t *out, size_t cap)
{
	struct dgram_slot *slot = dgram_slot(d, d->first);
	size_t n = (size_t)(slot->len - d->first_off);

	if (n > cap)
		n = cap;
	memcpy(out, slot->data + d->first_off, n);
	d->first_off = (uint16_t)(d->first_off + n);
	if (d->first_off == slot->len) {
		slot->len = 0;
		d->first_off = 0;
		d->first++;
	}
	return n;
}

long dgram_read(struct dgram *d, void *buf, size_t cap)
{
	size_t done = 0;

	if (d->failed)
		return d->failed;
	while (done < cap && d->first != d->next)
		done += read_first(d, (uint8_t *)buf + done, cap - done);
	/* A far end that was told of little room waits for this. */
	if (d->state == DGRAM_OPEN && dgram_diff(d->first + DGRAM_WINDOW, d->told_edge) >= DGRAM_WINDOW / 2)
		dgram_owe_ack(d, 0);
	d->counters.rx_bytes += done;
	return done ? (long)done : -EAGAIN;
}

/* The segment that takes more bytes: the last one while it has not gone out, else a new one. NULL: the window is full. */
static struct dgram_segment *segment_to_fill(struct dgram *d, size_t payload)
{
	struct dgram_segment *s = dgram_segment(d, d->end - 1);

	if (d->end != d->sent && s->len < payload)
		return s;
	if (d->end - d->una == DGRAM_WINDOW)
		return NULL;
	s = dgram_segment(d, d->end++);
	s->len = s->tries = 0;
	s->sacked = s->hurried = false;
	return s;
}

long dgram_write(struct dgram *d, const void *buf, size_t len)
{
	size_t payload = (size_t)(d->config.mtu - DGRAM_HEADER_LEN), done = 0;

	if (d->failed)
		return d->failed;
	while (done < len && d->state != DGRAM_LISTENING) {
		struct dgram_segment *s = segment_to_fill(d, payload);
		size_t n;

		if (!s)
			break;
		n = len - done < payload - s->len ? len - done : payload - s->len;
		memcpy(s->data + s->len, (const uint8_t *)buf + done, n);
		s->len = (uint16_t)(s->len + n);
		done += n;
	}
	d->counters.tx_bytes += done;
	return done ? (long)done : -EAGAIN;
}

bool dgram_drained(const struct dgram *d)
{
	return d->una == d->end;
}
