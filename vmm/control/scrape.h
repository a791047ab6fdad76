/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RUNTIME/metrics.sock: the metrics over HTTP, to whom the policy lets monitor. One request a connection. */
#ifndef VMPOKE_CONTROL_SCRAPE_H
#define VMPOKE_CONTROL_SCRAPE_H

#include <sys/queue.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-event.h>

#include "protocol/err.h"

#define SCRAPE_CLIENTS_MAX 16
#define SCRAPE_TIMEOUT_US  (5 * 1000000ull) /* from connecting to the last byte */

struct daemon;
struct scrape_client;

struct scrape {
	struct daemon *daemon;
	sd_event *event;
	int fd; /* -1: not listening */
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	sd_event_source *io, *retry;
	LIST_HEAD(scrape_clients, scrape_client) clients;
	size_t n_clients;
};

/* Before anything else of these. */
void scrape_init(struct scrape *s, struct daemon *d);
int scrape_listen(struct scrape *s, sd_event *event, const char *runtime_dir, mode_t mode, struct err *e);
/* Stops listening, removes the socket, drops the clients. May be called twice. */
void scrape_close(struct scrape *s);

#endif
