/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The worker's end of its socket to vmpoked: QMP frames without greeting. One
 * request is worked on at a time; job-cancel is looked at in between. A worker
 * that is the VMM of its guest outlives the daemon: it listens, and the next
 * daemon connects to it.
 */
#ifndef VMPOKE_VMM_WORKER_CONTROL_H
#define VMPOKE_VMM_WORKER_CONTROL_H

#include "protocol/qmp.h"

#define CONTROL_QUEUE_MAX 256 /* requests waiting; the daemon sends fewer */

struct control;

struct control *control_new(int fd); /* takes fd; NULL when memory is short */

/* fd (taken) is a bound unix socket: the daemon connects to it, one connection at a time. NULL and errno on failure. */
struct control *control_new_listening(int fd);

/*
 * Listening only: takes a waiting connection when there is none (1), else 0. A peer that is
 * neither root nor our own user is hung up on. What was left of the last connection is forgotten.
 */
int control_accept(struct control *c);

/* Does the end of a connection mean the end of the worker? */
bool control_ends(const struct control *c);
void control_free(struct control *c);
DEFINE_CLEANUP(struct control, control_free)

/* To poll for POLLIN: the connection, or what it will come from. */
int control_fd(const struct control *c);

/* The connection, -1 when there is none. Signal handlers may ask. */
int control_peer(const struct control *c);

/* Reads what is there without waiting. -ECONNRESET when the daemon closed its end or there is no connection. */
int control_read(struct control *c);

/* Next queued request: 1 and *ret (clear it with qmp_request_clear), 0 when there is none. */
int control_next(struct control *c, struct qmp_request *ret);

/* The descriptor that came with the request at hand, once; -ENOENT when there was none. */
int control_take_fd(struct control *c);

/* True when a job-cancel for job_id came in (it is answered here), or the daemon is gone and we go with it. */
bool control_cancelled(struct control *c, const char *job_id);

/* Replies and events. Failure to send is found at the next read. value and data are stolen. */
void control_return(struct control *c, const char *id, json_t *value);
void control_error(struct control *c, const char *id, const struct err *e);
void control_event(struct control *c, const char *name, json_t *data);

#endif
