/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A helper from inside; for the helper*.c files only. */
#ifndef VMPOKE_LIBVIRT_HELPER_PRIVATE_H
#define VMPOKE_LIBVIRT_HELPER_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "protocol/qmp.h"
#include "vmm/libvirt/domain_xml.h"
#include "vmm/libvirt/helper.h"

#define HELPER_EVENTS_MAX 256

struct helper {
	atomic_uint refs;
	virDomainPtr dom;
	char *name, uuid[37];
	struct inbox *inbox;
	char qmp_path[DOMAIN_PATH_MAX], gdb_path[DOMAIN_PATH_MAX]; /* "" : no socket */
	int listen_fd, wake_fd;

	pthread_mutex_t lock; /* of what follows, up to the next blank line */
	bool stop;
	char *events[HELPER_EVENTS_MAX]; /* lines, oldest first */
	size_t n_events;
	bool events_lost; /* more came than is kept */
	bool metadata_set; /* metadata is to be written */
	char *metadata;	   /* NULL: none */

	/* Of the thread alone. */
	int client_fd; /* -1: nobody is connected */
	bool negotiated;
	struct qmp_lexer *lexer;
	uint64_t metadata_retry_us; /* 0: not waiting to try again */
	unsigned metadata_failures;
	uint64_t stub_retry_us; /* 0: there is a stub, or it was given up */
	unsigned stub_failures;
};

/* helper_qmp.c: the client of the QMP socket. Each closes it when it misbehaves, leaves or does not read. */
void helper_client_accept(struct helper *h);
void helper_client_input(struct helper *h);
void helper_client_line(struct helper *h, const char *line);
void helper_client_close(struct helper *h);

/* helper_stub.c: gives QEMU a listening socket at gdb_path to serve its stub on. -EBUSY: it has a stub already. */
int helper_stub_open(struct helper *h, struct err *e);

/* helper_monitor.c: one QMP command by libvirt; fd -1: none goes along. *ret: libvirt's text, malloc'ed. -EIO. */
int helper_monitor_text(struct helper *h, const char *command, int fd, char **ret, struct err *e);
/* The same with the answer taken apart: *ret is what "return" holds (new reference). Steals args. */
int helper_monitor(struct helper *h, const char *command, json_t *args, int fd, json_t **ret, struct err *e);

/* A unix socket that listens at path, for us alone; what is there goes. The fd or -errno. */
int helper_listen(const char *path);

#endif
