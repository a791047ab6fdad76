/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One running domain, from the moment it was seen until vmpoked has forgotten it. What is to be done next follows
 * from what is known (domain_advance), never from the order in which it was learnt.
 */
#ifndef VMPOKE_LIBVIRT_DOMAIN_H
#define VMPOKE_LIBVIRT_DOMAIN_H

#include "protocol/patchfile.h"
#include "vmm/libvirt/domain_xml.h"
#include "vmm/libvirt/manager.h"

enum domain_call {
	CALL_NONE, /* nothing of it is on the way */
	CALL_ADD,
	CALL_REMOVE,
	CALL_ADOPT,
	CALL_EXPORT,
};

struct domain {
	LIST_ENTRY(domain) link;
	struct manager *manager;
	char uuid[37];
	char vm[PATCHFILE_NAME_MAX + 1]; /* its name at vmpoked: its own, or its UUID where that cannot be one */
	virDomainPtr dom;		 /* NULL while libvirtd is not connected */
	int id;				 /* libvirt's of this run; stays while dom is NULL */
	struct helper *helper;		 /* the same */
	int listener;			 /* its QEMU's events; -1: none */
	struct domain_facts facts;
	char qmp[DOMAIN_PATH_MAX], gdb[DOMAIN_PATH_MAX]; /* what vmpoked is told */

	bool active;	 /* it runs, as far as is known */
	bool ready;	 /* qmp and gdb can be used */
	bool registered; /* vmpoked has it, from us */
	bool in_the_way; /* vmpoked has something older under the name: that goes first */
	bool foreign;	 /* an operator's VM has its name: left alone */
	bool dismissed;	 /* an operator has removed it: left out until it starts anew */
	bool adopt;	 /* look for records of patches that came with it */
	bool export;	 /* its patches have changed */
	bool waiting;	 /* the last try failed: not before the timer */
	enum domain_call call;
	uint64_t serial; /* of it */
	struct retry retry;
};

/* A running domain that is new to us; takes dom, also on failure (NULL; said in the log). */
struct domain *domain_new(struct manager *m, virDomainPtr dom, const char *uuid);
void domain_free(struct domain *d);

struct domain *domain_find(struct manager *m, const char *uuid);
struct domain *domain_find_vm(struct manager *m, const char *vm);

/* libvirtd is connected (again): the helper is started. Takes dom. */
void domain_attach(struct domain *d, virDomainPtr dom);
/* Its gdb stub, which could not be had before, is there: vmpoked is told anew. */
void domain_stub_came(struct domain *d);

/* It is not, or the domain ended: without its helper. */
void domain_detach(struct domain *d);

/* The domain does not run any more: it goes once vmpoked has forgotten it. */
void domain_end(struct domain *d);

/* Does what is to be done next, if it can be done now. May free d. */
void domain_advance(struct domain *d);

/* The answer to its call: value, or error. May free d. */
void domain_reply(struct domain *d, json_t *value, const struct err *error);

/* vmpoked is gone: nothing is known of what it has. */
void domain_forget_service(struct domain *d);

#endif
