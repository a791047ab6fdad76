// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What is known of one domain, and its helper; see domain.h. Must never take an operator's VM for its own: what
 * vmpoked has under another origin stays as it is.
 */
#include "vmm/libvirt/domain.h"

#include <errno.h>
#include <libvirt/virterror.h>
#include <string.h>

#include "vmm/control/log.h"

struct domain *domain_find(struct manager *m, const char *uuid)
{
	struct domain *d;

	LIST_FOREACH(d, &m->domains, link)
		if (strcmp(d->uuid, uuid) == 0)
			return d;
	return NULL;
}

struct domain *domain_find_vm(struct manager *m, const char *vm)
{
	struct domain *d;

	LIST_FOREACH(d, &m->domains, link)
		if (strcmp(d->vm, vm) == 0)
			return d;
	return NULL;
}

void domain_detach(struct domain *d)
{
	if (d->manager->libvirt)
		connection_unlisten(d->manager->libvirt, d->listener);
	d->listener = -1;
	helper_free(TAKE_PTR(d->helper));
	if (d->dom)
		virDomainFree(TAKE_PTR(d->dom));
	d->ready = false;
}

void domain_free(struct domain *d)
{
	domain_detach(d);
	retry_done(&d->retry);
	LIST_REMOVE(d, link);
	free(d);
}

static int facts_read(struct domain *d, struct err *e)
{
	_cleanup_free_ char *xml = virDomainGetXMLDesc(d->dom, 0);
	int r = xml ? domain_xml_read(xml, &d->facts, e) : err_set(e, ERR_INACTIVE, EIO, "libvirt", "%s", virGetLastErrorMessage());

	if (r == 0 && strcmp(d->facts.uuid, d->uuid) != 0)
		r = err_set(e, ERR_FAILED, EBADMSG, "xml", "its XML has another UUID");
	return r;
}

/* Short names, for a socket's path has 107 bytes; the same after a restart, so that vmpoked finds them again. */
static int paths_make(struct domain *d, struct err *e)
{
	const char *dir = d->manager->options.runtime_dir;

	if (d->facts.qmp[0]) {
		strcpy(d->qmp, d->facts.qmp);
		strcpy(d->gdb, d->facts.gdb);
		return 0;
	}
	snprintf(d->gdb, sizeof(d->gdb), "%s/%s.gdb", dir, d->uuid);
	if (snprintf(d->qmp, sizeof(d->qmp), "%s/%s.qmp", dir, d->uuid) >= (int)sizeof(d->qmp))
		return err_set(e, ERR_FAILED, ENAMETOOLONG, "", "%s is too long for a unix socket: use a shorter runtime folder", d->qmp);
	return 0;
}

void domain_stub_came(struct domain *d)
{
	struct err e;

	if (paths_make(d, &e) == 0)
		d->in_the_way = d->registered || d->call == CALL_ADD; /* with other sockets, it goes first */
}

static void say_tainted(struct domain *d)
{
	if (!d->manager->taint_told)
		log_msg(LOG_NOTICE, d->vm, "is reached through libvirt's monitor, which libvirt logs as a taint (custom-monitor), as it "
			"will for others; 'vmpoke setup-domain --monitor' gives a domain a monitor of its own");
	d->manager->taint_told = true;
}

static int helper_make(struct domain *d, struct err *e)
{
	bool own = d->facts.qmp[0];
	struct helper_config config = {
		.name = d->vm, .uuid = d->uuid, .qmp_path = own ? NULL : d->qmp, .gdb_path = own ? NULL : d->gdb,
		.inbox = &d->manager->inbox,
	};
	int r = helper_new(d->dom, &config, &d->helper, e);

	if (r < 0 || own)
		return r;
	say_tainted(d);
	d->listener = connection_listen(d->manager->libvirt, d->dom, d->helper);
	if (d->listener < 0)
		log_msg(LOG_WARNING, d->vm, "its events do not come through: %s", virGetLastErrorMessage());
	return 0;
}

static int attach(struct domain *d, struct err *e)
{
	d->id = (int)virDomainGetID(d->dom);
	int r = facts_read(d, e);

	if (r == 0)
		r = paths_make(d, e);
	return r < 0 ? r : helper_make(d, e);
}

void domain_attach(struct domain *d, virDomainPtr dom)
{
	struct err e;

	d->dom = dom;
	if (attach(d, &e) == 0) {
		d->export = true; /* what the last helper was told to write went with it */
		return;
	}
	log_msg(LOG_ERR, d->vm, "cannot be followed: %s", e.text);
	domain_detach(d);
}

struct domain *domain_new(struct manager *m, virDomainPtr dom, const char *uuid)
{
	struct domain *d = calloc(1, sizeof(*d));
	const char *name = virDomainGetName(dom);

	if (!d) {
		virDomainFree(dom);
		return NULL;
	}
	d->manager = m;
	d->listener = -1;
	d->active = true;
	snprintf(d->uuid, sizeof(d->uuid), "%s", uuid);
	snprintf(d->vm, sizeof(d->vm), "%s", name && patch_name_valid(name) ? name : uuid);
	LIST_INSERT_HEAD(&m->domains, d, link);
	log_msg(LOG_INFO, d->vm, "runs (%s)", uuid);
	domain_attach(d, dom);
	return d;
}

void domain_end(struct domain *d)
{
	log_msg(LOG_INFO, d->vm, "does not run any more");
	domain_detach(d);
	d->active = false;
	d->waiting = false;
	d->retry.failures = 0;
	retry_done(&d->retry);
	domain_advance(d);
}

void domain_forget_service(struct domain *d)
{
	d->call = CALL_NONE;
	d->serial = 0;
	d->registered = d->in_the_way = d->foreign = d->waiting = false;
	d->retry.failures = 0;
	retry_done(&d->retry);
}
