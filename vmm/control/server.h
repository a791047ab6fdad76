/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two control sockets and the clients on them. control.sock takes every
 * command; control-ro.sock, open to every user of the machine, only those that
 * change nothing.
 */
#ifndef VMPOKE_CONTROL_SERVER_H
#define VMPOKE_CONTROL_SERVER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-event.h>

#include "protocol/err.h"
#include "vmm/control/activation.h"

#define SERVER_CLIENTS_MAX 128
#define SERVER_CLIENTS_RO_MAX 112 /* strangers must not be able to shut the operator out */

struct session;

struct server_socket {
	struct server *server;
	int fd; /* -1: not listening */
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* of our making; "" when passed to us */
	bool read_only;
	sd_event_source *io, *retry;
};

struct server {
	sd_event *event;
	uint64_t stall_us;
	struct server_socket rw, ro;
	LIST_HEAD(server_sessions, session) sessions;
	size_t n_sessions, n_sessions_ro;
};

/*
 * A listening unix socket RUNTIME/NAME with that mode, replacing what is there: its path into path, and *ret_fd.
 * Until the mode is set nobody but us can connect.
 */
int server_bind(const char *runtime_dir, const char *name, mode_t mode, char *path, size_t cap, int *ret_fd, struct err *e);

void server_init(struct server *s, sd_event *event, uint64_t stall_us);

/*
 * On the sockets that were passed, which it takes; each that was not is made as RUNTIME/control.sock or
 * RUNTIME/control-ro.sock (with that mode), replacing what is there.
 */
int server_listen(struct server *s, const char *runtime_dir, mode_t read_only_mode, const struct activation *passed,
		  struct err *e);

/* Stops listening, removes the sockets, drops the clients. May be called twice. */
void server_close(struct server *s);
void server_done(struct server *s);

/* To every client that has negotiated, and for which may_see (NULL: all) says yes. data is borrowed. */
void server_broadcast(struct server *s, const char *name, json_t *data,
		      bool (*may_see)(const struct server *s, const struct session *session, const char *vm));

#endif
