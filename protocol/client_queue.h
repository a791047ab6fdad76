/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages a client has received and not handed out yet, in the order in which they came; for client.c. */
#ifndef VMPOKE_PROTOCOL_CLIENT_QUEUE_H
#define VMPOKE_PROTOCOL_CLIENT_QUEUE_H

#include "protocol/client.h"

struct client_message {
	json_t *json;
	uint64_t serial; /* of the call it answers; 0: an event */
	size_t size;	 /* bytes on the wire */
};

struct client_queue {
	struct client_message items[QMP_EVENTS_MAX + QMP_CALLS_MAX];
	size_t n, n_events, event_bytes;
	uint64_t dropped; /* events pushed out by newer ones */
};

/* Takes json. The caller keeps replies (serial not 0) below QMP_CALLS_MAX. */
void client_queue_put(struct client_queue *q, json_t *json, uint64_t serial, size_t size);

/* Index of the oldest reply to a call (0: of the oldest event), or q->n. */
size_t client_queue_find(const struct client_queue *q, uint64_t serial);

/* Removes and hands over item i. ret_serial may be NULL. */
json_t *client_queue_take(struct client_queue *q, size_t i, uint64_t *ret_serial);

#endif
