// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The connection to vmpoked, as one client among others; see manager.h. Must never repeat a call whose answer was
 * lost: what vmpoked has is asked anew with every connection.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>

#include "protocol/qmp.h"
#include "vmm/control/log.h"
#include "vmm/libvirt/domain.h"

#define CONNECT_US 5000000u

static int on_connect(sd_event_source *s, uint64_t usec, void *userdata);

void service_connect(struct manager *m)
{
	retry_schedule(m, &m->service_retry, on_connect);
}

void service_close(struct manager *m)
{
	struct domain *d;

	m->service_io = sd_event_source_disable_unref(m->service_io);
	qmp_client_free(TAKE_PTR(m->service));
	m->synced = false;
	m->query = 0;
	LIST_FOREACH(d, &m->domains, link)
		domain_forget_service(d);
}

static void lost(struct manager *m, const struct err *e)
{
	log_msg(LOG_WARNING, NULL, "the connection to vmpoked is lost: %s", e->text);
	service_close(m);
	m->service_retry.failures = 1;
	service_connect(m);
}

static void poll_update(struct manager *m)
{
	short events = qmp_client_poll_events(m->service);

	sd_event_source_set_io_events(m->service_io, (events & POLLIN ? EPOLLIN : 0u) | (events & POLLOUT ? EPOLLOUT : 0u));
}

uint64_t service_call(struct manager *m, const char *command, json_t *args)
{
	uint64_t serial = 0;
	struct err e;

	/* A failure shows again where the connection is read. */
	if (!m->service || qmp_client_send(m->service, command, args, &serial, &e) < 0)
		serial = 0;
	json_decref(args);
	if (m->service)
		poll_update(m);
	return serial;
}

/* What vmpoked has of ours that does not run any more. */
static void sync_one(struct manager *m, json_t *vm)
{
	const char *name = json_string_value(json_object_get(vm, "name")), *origin = json_string_value(json_object_get(vm, "origin"));
	const char *uuid = json_string_value(json_object_get(vm, "uuid"));
	struct domain *d = uuid ? domain_find(m, uuid) : NULL;

	if (!name || !origin || strcmp(origin, m->origin) != 0)
		return;
	if (d && strcmp(d->vm, name) == 0 && d->active)
		return; /* vm-add will say whether it is the same */
	log_msg(LOG_INFO, name, "does not run any more: forgotten");
	service_call(m, "vm-remove", json_pack("{s:s, s:b, s:s}", "vm", name, "keep-patches", 1, "origin", m->origin));
}

static void on_vms(struct manager *m, json_t *vms)
{
	struct domain *d, *next;
	json_t *vm;
	size_t i;

	m->synced = true;
	json_array_foreach(vms, i, vm)
		sync_one(m, vm);
	for (d = LIST_FIRST(&m->domains); d; d = next) {
		next = LIST_NEXT(d, link);
		domain_advance(d);
	}
}

static void on_event(struct manager *m, json_t *msg)
{
	const char *name = json_string_value(json_object_get(msg, "event"));
	const char *vm = json_string_value(json_object_get(json_object_get(msg, "data"), "vm"));
	struct domain *d = name && vm ? domain_find_vm(m, vm) : NULL;

	if (!d)
		return;
	if (strcmp(name, "PATCH_STATUS_CHANGE") == 0) {
		d->export = true;
	} else if (strcmp(name, "VM_REMOVED") == 0) {
		/* Not by us: then the answer to our call is still to come. */
		if (d->registered && d->call != CALL_REMOVE) {
			log_msg(LOG_NOTICE, vm, "was removed by somebody else: left out until it is started anew");
			d->dismissed = true;
			d->registered = false;
		}
		d->foreign = false;
	}
	domain_advance(d);
}

static void on_reply(struct manager *m, uint64_t serial, json_t *msg)
{
	json_t *value = json_object_get(msg, "return"), *error = json_object_get(msg, "error");
	struct domain *d;
	struct err e;

	if (error)
		qmp_error_from_json(error, &e);
	if (serial == m->query) {
		m->query = 0;
		if (value)
			on_vms(m, value);
		else
			log_msg(LOG_ERR, NULL, "vmpoked does not say which VMs it has: %s", e.text);
		return;
	}
	LIST_FOREACH(d, &m->domains, link) {
		if (d->serial == serial) {
			domain_reply(d, value, value ? NULL : &e);
			return;
		}
	}
}

static int on_service(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	struct manager *m = userdata;

	(void)s, (void)fd, (void)revents;
	for (;;) {
		uint64_t serial = 0;
		json_t *msg = NULL;
		struct err e;
		int r = qmp_client_process(m->service, &msg, &serial, &e);

		if (r < 0) {
			lost(m, &e);
			return 0;
		}
		if (r == 0)
			break;
		if (serial)
			on_reply(m, serial, msg);
		else
			on_event(m, msg);
		json_decref(msg);
	}
	poll_update(m);
	return 0;
}

void service_query(struct manager *m)
{
	/* Which of ours do not run can be told only by libvirtd. */
	if (m->service && m->libvirt && !m->query && !m->synced)
		m->query = service_call(m, "query-vms", json_object());
}

static int on_connect(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct manager *m = userdata;
	struct err e;

	(void)s, (void)usec;
	int r = qmp_client_connect(m->options.socket, CONNECT_US, ERR_UNREACHABLE, &m->service, &e);
	if (r == 0)
		r = sd_event_add_io(m->event, &m->service_io, qmp_client_fd(m->service), EPOLLIN, on_service, m);
	if (r < 0) {
		if (m->service_retry.failures++ == 0)
			log_msg(LOG_WARNING, NULL, "cannot reach vmpoked at %s: %s; tried again", m->options.socket, e.text);
		service_close(m);
		service_connect(m);
		return 0;
	}
	m->service_retry.failures = 0;
	log_msg(LOG_INFO, NULL, "connected to vmpoked");
	service_query(m);
	return 0;
}
