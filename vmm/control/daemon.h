/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon as a whole: what main() starts and stops, and what commands work on. */
#ifndef VMPOKE_CONTROL_DAEMON_H
#define VMPOKE_CONTROL_DAEMON_H

#include <stdbool.h>
#include <sys/queue.h>
#include <systemd/sd-event.h>

#include "protocol/err.h"
#include "vmm/control/audit.h"
#include "vmm/control/config.h"
#include "vmm/control/jobs.h"
#include "vmm/control/keys.h"
#include "vmm/control/scrape.h"
#include "vmm/control/rules.h"
#include "vmm/control/server.h"
#include "vmm/control/worker_spawn.h"

struct vm;

/* Borrowed strings that outlive the daemon. */
struct daemon_options {
	const char *state_dir;
	const char *runtime_dir;
	const char *worker;	  /* path of vmpoke-vm */
	const char *images;	  /* folder of kernels by build-id; NULL: none */
	uint64_t client_stall_us; /* a client that does not read for so long is dropped */
	struct activation passed; /* sockets of the service manager's; taken by daemon_start() */
	mode_t read_only_mode;	  /* of control-ro.sock and metrics.sock */
	struct config *config;	  /* taken by daemon_start(), like keys; also on failure */
	struct keys *keys;
};

struct daemon {
	sd_event *event;
	struct worker_config worker_config;
	int state_lock_fd, runtime_lock_fd, registry_fd;
	LIST_HEAD(daemon_vms, vm) vms;
	size_t n_vms;
	struct jobs jobs;
	struct config *config; /* the policy; never NULL */
	struct keys *keys;     /* never NULL */
	int serials_fd;
	struct audit audit;
	struct rules rules;
	struct server server;
	struct scrape scrape;
	uint64_t started_us; /* now_us() */
	sd_event_source *stop_timer;
	bool stopping;
};

/*
 * Locks the folders (-EBUSY when another daemon has them), reads the registry,
 * starts the workers and opens the sockets. daemon_done() always, also on failure.
 */
int daemon_start(struct daemon *d, sd_event *event, const struct daemon_options *options, struct err *e);

/* Another policy and other keys (both taken) from the next request on; the audit file is opened anew. */
void daemon_reconfigure(struct daemon *d, struct config *config, struct keys *keys);

/* Orderly end: the loop exits with 0 once every worker has, after 10 s at the latest. */
void daemon_stop(struct daemon *d);
void daemon_done(struct daemon *d);

/* Worker processes there are. */
size_t daemon_workers(const struct daemon *d);

/* Called when a VM is gone from the list. */
void daemon_vm_gone(struct daemon *d);

/* Sends an event to all clients that may be told of its VM. data is taken (also on failure). */
void daemon_event(struct daemon *d, const char *name, json_t *data);

#endif
