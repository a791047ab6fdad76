/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vmpoke-libvirt as a whole: what libvirtd runs, vmpoked shall know. Two connections, each made anew for ever
 * when it breaks, and one struct domain for each running domain. All of it belongs to the main thread.
 */
#ifndef VMPOKE_LIBVIRT_MANAGER_H
#define VMPOKE_LIBVIRT_MANAGER_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <systemd/sd-event.h>

#include "protocol/client.h"
#include "vmm/libvirt/connection.h"
#include "vmm/libvirt/inbox.h"

#define MANAGER_ORIGIN_MAX 128

struct domain;

/* Borrowed strings that outlive the manager. */
struct manager_options {
	const char *uri;	 /* of libvirtd */
	const char *socket;	 /* vmpoked's control.sock */
	const char *runtime_dir; /* sockets of domains, and the hook's */
};

/* A connection that is tried again and again: at once, then later and later. */
struct retry {
	sd_event_source *timer;
	unsigned failures; /* in a row */
};

struct manager {
	sd_event *event;
	struct manager_options options;
	char origin[MANAGER_ORIGIN_MAX]; /* what vmpoked knows our VMs by */
	struct inbox inbox;
	sd_event_source *inbox_io, *hook_io;
	int hook_fd, lock_fd;

	struct connection *libvirt; /* NULL: not connected */
	unsigned generation;
	struct retry libvirt_retry;

	struct qmp_client *service; /* vmpoked; NULL: not connected */
	sd_event_source *service_io;
	struct retry service_retry;
	uint64_t query; /* the call of query-vms that is on the way; 0: none */
	bool synced;	/* that was answered: what vmpoked holds of ours is known */

	LIST_HEAD(manager_domains, domain) domains;
	bool taint_told;
};

/* Locks the folder (-EBUSY: another one has it) and begins. manager_done() always, also on failure. */
int manager_start(struct manager *m, sd_event *event, const struct manager_options *options, struct err *e);
void manager_done(struct manager *m);

/* Looks whether the domain runs, and takes it in or out accordingly. -EIO: libvirtd did not say (logged); it stays as it is. */
int manager_look(struct manager *m, const char *uuid);

/* retry.c: calls fn as soon as it is due: 0, 0.25, 0.5 ... 10 s after the failures there were. */
void retry_schedule(struct manager *m, struct retry *r, sd_event_time_handler_t fn);
void retry_now(struct manager *m, struct retry *r, sd_event_time_handler_t fn); /* somebody says that it is worth a try */
void retry_done(struct retry *r);

/* service.c: vmpoked. */
void service_connect(struct manager *m); /* soon */
void service_close(struct manager *m);
void service_query(struct manager *m); /* asks which VMs it has, once both connections are there */
/* Sends a command for a domain; its answer comes to domain_reply(). args are stolen. 0: it was not sent. */
uint64_t service_call(struct manager *m, const char *command, json_t *args);

/* libvirtd.c; now: not when it is due. */
void libvirtd_connect(struct manager *m, bool now);
void libvirtd_rescan(struct manager *m);
void libvirtd_close(struct manager *m);

#endif
