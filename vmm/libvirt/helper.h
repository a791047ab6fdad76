/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is done for one running domain and may have to wait for libvirt: a thread. It gives the worker a QMP
 * socket of its own whose requests go through virDomainQemuMonitorCommand, hands QEMU the socket of a gdb stub,
 * and writes the domain's metadata. One thread each: a domain that libvirt keeps busy (a migration holds its job
 * for minutes) must not make the others wait.
 */
#ifndef VMPOKE_LIBVIRT_HELPER_H
#define VMPOKE_LIBVIRT_HELPER_H

#include <libvirt/libvirt.h>
#include <stdbool.h>

#include "protocol/err.h"

struct helper;
struct inbox;

struct helper_config {
	const char *name, *uuid;   /* of the domain; copied */
	const char *qmp_path;	   /* where to listen; NULL: the domain has a monitor of our own, only metadata is written */
	const char *gdb_path;	   /* with qmp_path */
	struct inbox *inbox;	   /* is told (INBOX_READY) once it can be used, and again when it gets a stub later; borrowed for good */
};

/* Listens and starts the thread. Takes a reference to dom. */
int helper_new(virDomainPtr dom, const struct helper_config *config, struct helper **ret, struct err *e);

/* Takes the sockets away, tells the thread to end and lets go of it; never waits. NULL allowed. */
void helper_free(struct helper *h);

/* The element to have as live metadata, soon; NULL: none. A later one replaces one that is not written yet. */
void helper_metadata(struct helper *h, const char *xml);

/* An event of the domain's QEMU for the worker; from any thread. */
void helper_event(struct helper *h, const char *name, long long seconds, unsigned micros, const char *details);

/* For what libvirt calls back with: it keeps the helper until it lets go. */
struct helper *helper_ref(struct helper *h);
void helper_unref(struct helper *h);

#endif
