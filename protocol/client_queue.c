// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The queue of a client; see client_queue.h. A peer decides how many events it
 * sends, so they are bounded in number and size and the oldest give way. Must
 * never drop a reply: somebody waits for it.
 */
#include "protocol/client_queue.h"

#include <string.h>

json_t *client_queue_take(struct client_queue *q, size_t i, uint64_t *ret_serial)
{
	struct client_message m = q->items[i];

	q->n--;
	memmove(&q->items[i], &q->items[i + 1], (q->n - i) * sizeof(m));
	if (m.serial == 0) {
		q->n_events--;
		q->event_bytes -= m.size;
	}
	if (ret_serial)
		*ret_serial = m.serial;
	return m.json;
}

size_t client_queue_find(const struct client_queue *q, uint64_t serial)
{
	size_t i = 0;

	while (i < q->n && q->items[i].serial != serial)
		i++;
	return i;
}

void client_queue_put(struct client_queue *q, json_t *json, uint64_t serial, size_t size)
{
	while (serial == 0 && q->n_events > 0 &&
	       (q->n_events == QMP_EVENTS_MAX || q->event_bytes + size > QMP_EVENT_BYTES_MAX)) {
		json_decref(client_queue_take(q, client_queue_find(q, 0), NULL));
		q->dropped++;
	}
	q->items[q->n++] = (struct client_message){ .json = json, .serial = serial, .size = size };
	if (serial == 0) {
		q->n_events++;
		q->event_bytes += size;
	}
}
