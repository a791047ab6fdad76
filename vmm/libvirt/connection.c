// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The connection to libvirtd; see connection.h. Callbacks run in libvirt's event loop: they put a note into the
 * inbox and return. Must never call libvirt from one.
 */
#include "vmm/libvirt/connection.h"

#include <errno.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "protocol/util.h"

#define KEEPALIVE_S 5
#define KEEPALIVE_COUNT 6

struct connection {
	atomic_uint refs; /* the owner's and one for each callback */
	virConnectPtr conn;
	struct inbox *inbox;
	unsigned generation;
	int lifecycle; /* its callback; -1: none */
};

static void *loop_run(void *arg)
{
	(void)arg;
	for (;;)
		if (virEventRunDefaultImpl() < 0)
			virResetLastError();
	return NULL;
}

/* Errors are in what the caller says; libvirt's own lines on stderr would double them. */
static void quiet(void *data, virErrorPtr error)
{
	(void)data, (void)error;
}

/* A loop without a timer sleeps in poll() until somebody adds something: nothing to do here. */
int connection_setup(struct err *e)
{
	sigset_t all, old;
	pthread_t thread;

	if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0)
		return err_set(e, ERR_FAILED, EIO, "", "libvirt's library cannot be used: %s", virGetLastErrorMessage());
	virSetErrorFunc(NULL, quiet);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int r = pthread_create(&thread, NULL, loop_run, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r != 0)
		return err_set(e, ERR_FAILED, r, "", "no thread: %s", strerror(r));
	pthread_detach(thread);
	return 0;
}

static void look(struct connection *c, virDomainPtr dom)
{
	struct inbox_message m = { .kind = INBOX_LOOK };

	if (virDomainGetUUIDString(dom, m.uuid) == 0)
		inbox_put(c->inbox, &m);
}

static int on_lifecycle(virConnectPtr conn, virDomainPtr dom, int event, int detail, void *opaque)
{
	(void)conn, (void)event, (void)detail;
	look(opaque, dom);
	return 0;
}

static void on_close(virConnectPtr conn, int reason, void *opaque)
{
	struct connection *c = opaque;
	struct inbox_message m = { .kind = INBOX_CLOSED, .generation = c->generation };

	(void)conn, (void)reason;
	inbox_put(c->inbox, &m);
}

static void unref(void *opaque)
{
	struct connection *c = opaque;

	if (atomic_fetch_sub(&c->refs, 1) == 1)
		free(c);
}

static int failed(const char *what, struct err *e)
{
	const char *why = virGetLastErrorMessage();

	return err_set(e, ERR_INACTIVE, ENOTCONN, "libvirt", "%s: %s", what, why ? why : "no reason given");
}

/* What libvirt did not take it does not let go of either. */
static int subscribe(struct connection *c, struct err *e)
{
	if (virConnectSetKeepAlive(c->conn, KEEPALIVE_S, KEEPALIVE_COUNT) < 0)
		return failed("libvirtd takes no keepalive", e);
	atomic_fetch_add(&c->refs, 1);
	if (virConnectRegisterCloseCallback(c->conn, on_close, c, unref) < 0) {
		unref(c);
		return failed("cannot watch the connection", e);
	}
	atomic_fetch_add(&c->refs, 1);
	c->lifecycle = virConnectDomainEventRegisterAny(c->conn, NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
							VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), c, unref);
	if (c->lifecycle >= 0)
		return 0;
	unref(c);
	return failed("libvirtd tells no events", e);
}
DEFINE_CLEANUP(struct connection, connection_free)

int connection_open(const char *uri, unsigned generation, struct inbox *inbox, struct connection **ret, struct err *e)
{
	_cleanup_(connection_free) struct connection *c = calloc(1, sizeof(*c));

	if (!c)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	atomic_init(&c->refs, 1);
	c->inbox = inbox;
	c->generation = generation;
	c->lifecycle = -1;
	c->conn = virConnectOpen(uri);
	if (!c->conn)
		return failed("cannot connect to libvirtd", e);
	int r = subscribe(c, e);
	if (r == 0)
		*ret = TAKE_PTR(c);
	return r;
}

/* A callback may be under way in the other thread: what it needs goes when libvirt has let go of it. */
void connection_free(struct connection *c)
{
	if (!c)
		return;
	if (c->lifecycle >= 0)
		virConnectDomainEventDeregisterAny(c->conn, c->lifecycle);
	if (c->conn) {
		virConnectUnregisterCloseCallback(c->conn, on_close);
		virConnectClose(c->conn);
	}
	unref(c);
}

/* Takes dom. Of two answers that are no domain only one says that there is none. */
static int running_only(virDomainPtr dom, virDomainPtr *ret, struct err *e)
{
	int r = dom ? virDomainIsActive(dom) : -1;

	if (r < 0 && virGetLastErrorCode() != VIR_ERR_NO_DOMAIN) {
		failed("libvirtd does not say whether a domain runs", e);
		r = -EIO;
	} else if (r == 1) {
		*ret = dom;
		return 1;
	} else {
		r = 0;
	}
	if (dom)
		virDomainFree(dom);
	return r;
}

int connection_domain(struct connection *c, const char *uuid, virDomainPtr *ret, struct err *e)
{
	return running_only(virDomainLookupByUUIDString(c->conn, uuid), ret, e);
}

virDomainPtr connection_domain_by_name(struct connection *c, const char *name)
{
	virDomainPtr dom = NULL;

	running_only(virDomainLookupByName(c->conn, name), &dom, NULL);
	return dom;
}

int connection_running(struct connection *c, char (*uuids)[37], struct err *e)
{
	virDomainPtr *list = NULL;
	int n = virConnectListAllDomains(c->conn, &list, VIR_CONNECT_LIST_DOMAINS_ACTIVE), kept = 0;

	if (n < 0) {
		failed("cannot list the domains", e);
		return -EIO;
	}
	for (int i = 0; i < n; i++) {
		if (kept < CONNECTION_DOMAINS_MAX && virDomainGetUUIDString(list[i], uuids[kept]) == 0)
			kept++;
		virDomainFree(list[i]);
	}
	free(list);
	return kept;
}

static void on_monitor(virConnectPtr conn, virDomainPtr dom, const char *event, long long seconds, unsigned micros,
		       const char *details, void *opaque)
{
	(void)conn, (void)dom;
	helper_event(opaque, event, seconds, micros, details);
}

static void let_go(void *opaque)
{
	helper_unref(opaque);
}

int connection_listen(struct connection *c, virDomainPtr dom, struct helper *h)
{
	int id = virConnectDomainQemuMonitorEventRegister(c->conn, dom, NULL, on_monitor, helper_ref(h), let_go, 0);

	if (id < 0)
		helper_unref(h);
	return id;
}

void connection_unlisten(struct connection *c, int id)
{
	if (id >= 0)
		virConnectDomainQemuMonitorEventDeregister(c->conn, id);
}
