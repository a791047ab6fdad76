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

/* One that comes in from elsewhere has no memory yet; a RESUMED event tells when it has. */
static bool comes_in(virDomainPtr dom)
{
	int state = VIR_DOMAIN_NOSTATE, reason = 0;

	return virDomainGetState(dom, &state, &reason, 0) == 0 && state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_MIGRATION;
}

void manager_look(struct manager *m, const char *uuid)
{
	virDomainPtr dom = m->libvirt ? connection_domain(m->libvirt, uuid) : NULL;
	struct domain *d = domain_find(m, uuid);

	if (!m->libvirt)
		return;
	/* Another id: it ended and was started again, and both events came before we looked. */
	if (d && d->active && (!dom || (d->dom && d->id != (int)virDomainGetID(dom))))
		domain_end(d); /* looks again, once vmpoked has forgotten it */
	else if (d && d->active && !d->dom)
		return domain_attach(d, dom);
	else if (!d && dom && !comes_in(dom)) {
		domain_new(m, dom, uuid);
		return;
	}
	if (dom)
		virDomainFree(dom);
}

static void scan(struct manager *m)
{
	static char uuids[CONNECTION_DOMAINS_MAX][37];
	struct domain *d, *next;
	struct err e;
	int n = connection_running(m->libvirt, uuids, &e);

	if (n < 0) {
		log_msg(LOG_ERR, NULL, "%s", e.text);
		return;
	}
	for (d = LIST_FIRST(&m->domains); d; d = next) {
		next = LIST_NEXT(d, link);
		if (d->active)
			manager_look(m, d->uuid);
	}
	for (int i = 0; i < n; i++)
		if (!domain_find(m, uuids[i]))
			manager_look(m, uuids[i]);
}

static int on_connect(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct manager *m = userdata;
	struct err e;

	(void)s, (void)usec;
	if (m->libvirt)
		return 0;
	if (connection_open(m->options.uri, ++m->generation, &m->inbox, &m->libvirt, &e) < 0) {
		if (m->libvirt_retry.failures++ == 0)
			log_msg(LOG_WARNING, NULL, "%s (%s); tried again", e.text, m->options.uri);
		libvirtd_connect(m, false);
		return 0;
	}
	m->libvirt_retry.failures = 0;
	log_msg(LOG_INFO, NULL, "connected to %s", m->options.uri);
	scan(m);
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
