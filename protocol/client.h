/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A QMP client over one connected unix socket: greeting, capabilities, calls
 * with deadlines, events queued in order. Used by the CLI towards vmpoked, by
 * vmpoked towards its workers and by the qemu backend towards QEMU. Everything
 * the peer sends is untrusted: sizes are capped, waits are bounded.
 */
#ifndef VMPOKE_PROTOCOL_CLIENT_H
#define VMPOKE_PROTOCOL_CLIENT_H

#include <jansson.h>
#include <stdint.h>

#include "protocol/err.h"
#include "protocol/util.h"

#define QMP_EVENTS_MAX 256	     /* queued events; the oldest is dropped beyond that and counted */
#define QMP_EVENT_BYTES_MAX (4u << 20) /* the same for their size on the wire */
#define QMP_CALLS_MAX 64	     /* calls sent whose reply was not handed out yet */

struct qmp_client;

/*
 * Connects, reads the greeting and negotiates capabilities within timeout_us.
 * Errors: -ENOENT/-ECONNREFUSED (nobody listens), -ETIMEDOUT (a monitor that is
 * busy with another client never greets), -EPROTO (not QMP). e->kind is kind_down.
 */
int qmp_client_connect(const char *path, uint64_t timeout_us, enum err_kind kind_down,
		       struct qmp_client **ret, struct err *e);

/* Takes ownership of a connected fd (also on failure). greet: as above; false: a worker's private socket. */
int qmp_client_adopt(int fd, bool greet, uint64_t timeout_us, enum err_kind kind_down,
		     struct qmp_client **ret, struct err *e);

void qmp_client_free(struct qmp_client *c); /* NULL allowed */
DEFINE_CLEANUP(struct qmp_client, qmp_client_free)

int qmp_client_fd(const struct qmp_client *c);
json_t *qmp_client_greeting(const struct qmp_client *c); /* borrowed; NULL without greeting */

/*
 * Sends a command and waits for its reply. args is borrowed, may be NULL; *ret
 * (new reference) may be NULL. A peer error becomes *e and its negative errno.
 * -ETIMEDOUT, -ECONNRESET: the connection is no longer usable (qmp_client_alive() is false).
 */
int qmp_client_call(struct qmp_client *c, const char *command, json_t *args, uint64_t timeout_us,
		    json_t **ret, struct err *e);

/*
 * The same with a descriptor (borrowed) that goes along with the command (SCM_RIGHTS): for getfd.
 * -EBUSY while an earlier command is not all sent.
 */
int qmp_client_call_fd(struct qmp_client *c, const char *command, json_t *args, int fd, uint64_t timeout_us,
		       json_t **ret, struct err *e);

/*
 * Asynchronous use: send now, the reply comes out of qmp_client_process(). *ret_serial
 * names the call. Never waits: what the socket does not take at once is kept and sent
 * by the next process() or call(); poll for qmp_client_poll_events(). -EBUSY above QMP_CALLS_MAX.
 */
int qmp_client_send(struct qmp_client *c, const char *command, json_t *args, uint64_t *ret_serial, struct err *e);

/*
 * Reads what the socket holds without waiting, then hands out at most one
 * message: 1 and *ret (an event has "event"; a reply has "return" or "error"
 * and *ret_serial its call), 0 when there is none, -ECONNRESET when the peer is gone.
 */
int qmp_client_process(struct qmp_client *c, json_t **ret, uint64_t *ret_serial, struct err *e);

/* Next queued event (new reference), waiting at most timeout_us: 1, 0 on time-out, negative errno. */
int qmp_client_event(struct qmp_client *c, uint64_t timeout_us, json_t **ret, struct err *e);

/* POLLIN, and POLLOUT while a sent command is not all out: what to poll qmp_client_fd() for. */
short qmp_client_poll_events(const struct qmp_client *c);

/* How many events were dropped so far because nobody fetched them. */
uint64_t qmp_client_dropped(const struct qmp_client *c);

bool qmp_client_alive(const struct qmp_client *c);

#endif
