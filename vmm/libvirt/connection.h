/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The connection to libvirtd and the thread that its events come in by. Events say only that something
 * happened to a domain; whoever gets them looks.
 */
#ifndef VMPOKE_LIBVIRT_CONNECTION_H
#define VMPOKE_LIBVIRT_CONNECTION_H

#include <libvirt/libvirt.h>

#include "vmm/libvirt/inbox.h"

#define CONNECTION_DOMAINS_MAX 1024 /* more are not looked at */

struct connection;

/* libvirt's event loop and the thread it runs in; once, before anything else of libvirt. */
int connection_setup(struct err *e);

/*
 * Connects and asks for events, which go to inbox. -ENOTCONN: nobody there, or not for us; the sentence is
 * libvirt's. May wait as long as a libvirtd that accepts and does not answer makes it.
 */
int connection_open(const char *uri, unsigned generation, struct inbox *inbox, struct connection **ret, struct err *e);
void connection_free(struct connection *c); /* NULL allowed */

/*
 * The running domain of a UUID. 1: *ret is the caller's to free; 0: it does not run; -EIO: libvirtd did not say,
 * for the connection may just be breaking, and nothing may be concluded.
 */
int connection_domain(struct connection *c, const char *uuid, virDomainPtr *ret, struct err *e);
/* The running domain of a name (the caller's to free), or NULL. */
virDomainPtr connection_domain_by_name(struct connection *c, const char *name);

/* UUIDs of all that run. How many, at most CONNECTION_DOMAINS_MAX, or -EIO. */
int connection_running(struct connection *c, char (*uuids)[37], struct err *e);

/* Has the domain's QEMU events come to its helper: a number for connection_unlisten(), or -1. */
int connection_listen(struct connection *c, virDomainPtr dom, struct helper *h);
void connection_unlisten(struct connection *c, int id);

#endif
