/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of dgram share. */
#ifndef VMPOKE_PROTOCOL_DGRAM_PRIVATE_H
#define VMPOKE_PROTOCOL_DGRAM_PRIVATE_H

#include "protocol/dgram_wire.h"

static inline struct dgram_segment *dgram_segment(struct dgram *d, uint32_t seq)
{
	return &d->segments[seq % DGRAM_WINDOW];
}

static inline struct dgram_slot *dgram_slot(struct dgram *d, uint32_t seq)
{
	return &d->slots[seq % DGRAM_WINDOW];
}

/* A session number nobody can guess; never 0. */
uint32_t dgram_new_id(struct dgram *d);

/* Listener: the session with who begins, and takes the place of the one there may be. */
void dgram_begin(struct dgram *d, const struct dgram_peer *who);

/* The session is over, error is what the user is told. */
void dgram_fail(struct dgram *d, int error);

/* An ACK is to go out at due_us, or sooner. */
void dgram_owe_ack(struct dgram *d, uint64_t due_us);

#endif
