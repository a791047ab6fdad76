/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One client: negotiation, one request after the other, its replies and events.
 * A reply that comes later is a "pending"; until then the client's further
 * requests wait, other clients are served.
 */
#ifndef VMPOKE_CONTROL_SESSION_H
#define VMPOKE_CONTROL_SESSION_H

#include <sys/queue.h>
#include <sys/socket.h>

#include "vmm/control/audit.h"
#include "vmm/control/channel.h"
#include "vmm/control/fds.h"
#include "vmm/control/peer.h"
#include "vmm/control/server.h"

struct session {
	struct channel channel;
	struct server *server;
	LIST_ENTRY(session) link;
	struct peer peer;
	struct audit_entry asked; /* the request at hand, or the last one, as it was allowed */
	bool read_only;
	bool negotiated;
	const char *request_id; /* raw "id" of the request at hand, borrowed; NULL when it has none */
	struct pending *pending;
	struct fd_table fds; /* what it has passed with getfd */
};

struct relay;

/* A reply owed. Outlives its client: then the reply is dropped. */
struct pending {
	struct session *session; /* NULL: the client is gone */
	char *id;
	/* For work that nobody wants without its client: it has just left. NULL: the work goes on. */
	void (*client_left)(struct pending *p);
	struct relay *relay; /* client_left's own */
};

/* Takes fd, also on failure. */
int session_new(struct server *server, int fd, bool read_only);
void session_free(struct session *s);

/* Turns the request at hand into a pending reply. NULL when memory is short. */
struct pending *session_defer(struct session *s);

/* Sends the reply and frees p (NULL: nobody waits). value and e are borrowed. */
void pending_return(struct pending *p, json_t *value);
void pending_error(struct pending *p, const struct err *e);

#endif
