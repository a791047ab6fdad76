// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * libvirtd's side: connecting for ever, and looking which domains run; see manager.h. Must never conclude from a
 * lost connection that a domain ended: QEMU runs on without libvirtd.
 */
#include <errno.h>
#include <libvirt/virterror.h>
#include <string.h>

#include "vmm/control/log.h"
#include "vmm/libvirt/domain.h"

/*
 * One that comes in from elsewhere, or out of an image, has no memory yet: what is said to be in there would not be found.
 * An event (STARTED, RESUMED) tells when it has. libvirt's hook tells of both before that.
 */
static bool comes_in(virDomainPtr dom)
{
	int state = VIR_DOMAIN_NOSTATE, reason = 0;

	return virDomainGetState(dom, &state, &reason, 0) == 0 && state == VIR_DOMAIN_PAUSED &&
	       (reason == VIR_DOMAIN_PAUSED_MIGRATION || reason == VIR_DOMAIN_PAUSED_STARTING_UP);
}

int manager_look(struct manager *m, const char *uuid)
{
	struct domain *d = domain_find(m, uuid);
	virDomainPtr dom = NULL;
	struct err e;

	if (!m->libvirt)
		return 0;
	int r = connection_domain(m->libvirt, uuid, &dom, &e);
	if (r < 0) {
		log_msg(LOG_WARNING, d ? d->vm : NULL, "%s", e.text);
		return r;
	}
	/* Another id: it ended and was started again before we looked. A libvirtd that comes back knows its old ids. */
	if (d && d->active && (!dom || d->id != (int)virDomainGetID(dom)))
		domain_end(d); /* looks again, once vmpoked has forgotten it */
	else if (d && d->active && !d->dom)
		domain_attach(d, TAKE_PTR(dom));
	else if (!d && dom && !comes_in(dom))
		domain_new(m, TAKE_PTR(dom), uuid);
	if (dom)
		virDomainFree(dom);
	return 0;
}

/* 0 when it is known of every domain whether it runs; negative: of some it is not. */
static int scan(struct manager *m)
{
	static char uuids[CONNECTION_DOMAINS_MAX][37];
	struct domain *d, *next;
	struct err e;
	int n = connection_running(m->libvirt, uuids, &e), r = 0;

	if (n < 0) {
		log_msg(LOG_ERR, NULL, "%s", e.text);
		return n;
	}
	for (d = LIST_FIRST(&m->domains); d && r == 0; d = next) {
		next = LIST_NEXT(d, link);
		if (d->active)
			r = manager_look(m, d->uuid);
	}
	for (int i = 0; i < n && r == 0; i++)
		if (!domain_find(m, uuids[i]))
			r = manager_look(m, uuids[i]);
	return r;
}

static void again(struct manager *m)
{
	m->libvirt_retry.failures++;
	libvirtd_connect(m, false);
}

static int on_connect(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct manager *m = userdata;
	struct err e;

	(void)s, (void)usec;
	if (m->libvirt)
		return 0;
	if (connection_open(m->options.uri, ++m->generation, &m->inbox, &m->libvirt, &e) < 0) {
		if (m->libvirt_retry.failures == 0)
			log_msg(LOG_WARNING, NULL, "%s (%s); tried again", e.text, m->options.uri);
		again(m);
		return 0;
	}
	log_msg(LOG_INFO, NULL, "connected to %s", m->options.uri);
	/* What was not seen now would be forgotten at vmpoked (service.c). */
	if (scan(m) < 0) {
		libvirtd_close(m);
		again(m);
		return 0;
	}
	m->libvirt_retry.failures = 0;
	service_query(m);
	return 0;
}

void libvirtd_connect(struct manager *m, bool now)
{
	if (now)
		retry_now(m, &m->libvirt_retry, on_connect);
	else
		retry_schedule(m, &m->libvirt_retry, on_connect);
}

void libvirtd_rescan(struct manager *m)
{
	if (m->libvirt)
		scan(m);
}

/* The domains stay as they are known, without helpers: their VMs show as unreachable until we are back. */
void libvirtd_close(struct manager *m)
{
	struct domain *d;

	LIST_FOREACH(d, &m->domains, link)
		domain_detach(d);
	connection_free(TAKE_PTR(m->libvirt));
}
