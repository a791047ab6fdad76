// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The thread of one domain; see helper.h. Must never hold its lock across a call of libvirt, and never touch the
 * sockets' names once it was told to end: a successor may have them.
 */
#include <errno.h>
#include <libvirt/virterror.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>

#include "protocol/util.h"
#include "vmm/control/log.h"
#include "vmm/libvirt/helper_private.h"
#include "vmm/libvirt/inbox.h"
#include "vmm/libvirt/passage.h"
#include "vmm/libvirt/travel.h"

#define METADATA_RETRY_US 2000000u
#define METADATA_TRIES 60
#define STUB_TRIES 10 /* after 1, 2, 4 ... seconds: five minutes in all */
#define STUB_RETRY_MAX_S 60u

static void wake(struct helper *h)
{
	uint64_t one = 1;

	(void)!write(h->wake_fd, &one, sizeof(one));
}

struct helper *helper_ref(struct helper *h)
{
	atomic_fetch_add(&h->refs, 1);
	return h;
}

void helper_unref(struct helper *h)
{
	if (!h || atomic_fetch_sub(&h->refs, 1) != 1)
		return;
	helper_client_close(h);
	if (h->listen_fd >= 0)
		close(h->listen_fd);
	if (h->wake_fd >= 0)
		close(h->wake_fd);
	for (size_t i = 0; i < h->n_events; i++)
		free(h->events[i]);
	if (h->dom)
		virDomainFree(h->dom);
	pthread_mutex_destroy(&h->lock);
	free(h->metadata);
	free(h->name);
	free(h);
}
DEFINE_CLEANUP(struct helper, helper_unref)

static bool stopped(struct helper *h)
{
	pthread_mutex_lock(&h->lock);
	bool stop = h->stop;
	pthread_mutex_unlock(&h->lock);
	return stop;
}

void helper_event(struct helper *h, const char *name, long long seconds, unsigned micros, const char *details)
{
	char *line = passage_event(name, seconds, micros, details);

	if (!line)
		return;
	pthread_mutex_lock(&h->lock);
	if (h->n_events < HELPER_EVENTS_MAX)
		h->events[h->n_events++] = TAKE_PTR(line);
	else
		h->events_lost = true;
	pthread_mutex_unlock(&h->lock);
	free(line);
	wake(h);
}

static char *event_take(struct helper *h)
{
	char *line = NULL;

	pthread_mutex_lock(&h->lock);
	if (h->n_events > 0) {
		line = h->events[0];
		memmove(&h->events[0], &h->events[1], --h->n_events * sizeof(h->events[0]));
	}
	pthread_mutex_unlock(&h->lock);
	return line;
}

static bool events_lost(struct helper *h)
{
	pthread_mutex_lock(&h->lock);
	bool lost = h->events_lost;
	h->events_lost = false;
	pthread_mutex_unlock(&h->lock);
	return lost;
}

/*
 * What came before anybody listened is nobody's. Where one is missing it may be the RESET, which a guest could hide behind
 * many others: the client is sent away, and looks for itself when it connects again.
 */
static void events_pass(struct helper *h)
{
	char *line;

	if (events_lost(h))
		helper_client_close(h);
	while ((line = event_take(h))) {
		if (h->negotiated)
			helper_client_line(h, line);
		free(line);
	}
}

void helper_metadata(struct helper *h, const char *xml)
{
	char *copy = xml ? strdup(xml) : NULL, *old;

	pthread_mutex_lock(&h->lock);
	old = h->metadata;
	h->metadata = copy;
	h->metadata_set = true;
	pthread_mutex_unlock(&h->lock);
	free(old);
	wake(h);
}

static bool metadata_take(struct helper *h, char **ret)
{
	pthread_mutex_lock(&h->lock);
	bool set = h->metadata_set;
	h->metadata_set = false;
	*ret = TAKE_PTR(h->metadata);
	pthread_mutex_unlock(&h->lock);
	return set;
}

/* Kept for another try, unless something newer has come. */
static void metadata_keep(struct helper *h, char *xml)
{
	pthread_mutex_lock(&h->lock);
	if (!h->metadata_set) {
		h->metadata = TAKE_PTR(xml);
		h->metadata_set = true;
	}
	pthread_mutex_unlock(&h->lock);
	free(xml);
}

static void metadata_write(struct helper *h)
{
	char *xml = NULL;

	if (h->metadata_retry_us && now_us() < h->metadata_retry_us)
		return;
	if (!metadata_take(h, &xml))
		return;
	h->metadata_retry_us = 0;
	int r = virDomainSetMetadata(h->dom, VIR_DOMAIN_METADATA_ELEMENT, xml, TRAVEL_PREFIX, TRAVEL_NS, VIR_DOMAIN_AFFECT_LIVE);
	if (r == 0 || (!xml && virGetLastErrorCode() == VIR_ERR_NO_DOMAIN_METADATA)) {
		h->metadata_failures = 0;
		free(xml);
		return;
	}
	if (h->metadata_failures++ == 0)
		log_msg(LOG_WARNING, h->name, "its patches are not in its metadata yet: %s", virGetLastErrorMessage());
	if (h->metadata_failures >= METADATA_TRIES) {
		log_msg(LOG_ERR, h->name, "its patches will not go along with it: libvirt does not take its metadata");
		h->metadata_failures = 0;
		free(xml);
		return;
	}
	h->metadata_retry_us = now_us() + METADATA_RETRY_US;
	metadata_keep(h, xml);
}

static void tell_ready(struct helper *h, bool stub)
{
	struct inbox_message m = { .kind = INBOX_READY, .helper = helper_ref(h), .stub = stub };

	memcpy(m.uuid, h->uuid, sizeof(m.uuid));
	inbox_put(h->inbox, &m);
}

/* Said once, and once more when there is no more to be hoped for. */
static void stub_failed(struct helper *h, const struct err *e)
{
	unsigned s = h->stub_failures < 6 ? 1u << h->stub_failures : STUB_RETRY_MAX_S;

	if (h->stub_failures++ == 0)
		log_msg(LOG_NOTICE, h->name, "it cannot be patched for now: no gdb stub of ours: %s", e->text);
	h->stub_retry_us = h->stub_failures < STUB_TRIES ? now_us() + s * 1000000ull : 0;
	if (!h->stub_retry_us)
		log_msg(LOG_WARNING, h->name, "it cannot be patched until it or vmpoke-libvirt is started anew: no gdb stub of ours, tried "
			"%u times: %s", h->stub_failures, e->text);
}

static bool stub_open(struct helper *h)
{
	struct err e;
	int r = helper_stub_open(h, &e);

	h->stub_retry_us = 0;
	if (r < 0 && !stopped(h))
		stub_failed(h, &e);
	return r == 0;
}

static void stub_retry(struct helper *h)
{
	if (!h->stub_retry_us || now_us() < h->stub_retry_us || !stub_open(h) || stopped(h))
		return;
	log_msg(LOG_NOTICE, h->name, "it can be patched now");
	tell_ready(h, true);
}

static int wait_ms(const struct helper *h)
{
	uint64_t now = now_us();
	int ms = h->metadata_retry_us ? (int)(METADATA_RETRY_US / 1000) : -1;

	if (!h->stub_retry_us)
		return ms;
	int stub_ms = h->stub_retry_us > now ? (int)((h->stub_retry_us - now) / 1000) + 1 : 0;
	return ms < 0 || stub_ms < ms ? stub_ms : ms;
}

/* Waits for something to do; false: it was told to end. */
static bool helper_wait(struct helper *h)
{
	struct pollfd p[] = { { .fd = h->wake_fd, .events = POLLIN },
			      { .fd = h->client_fd >= 0 ? h->client_fd : h->listen_fd, .events = POLLIN } };
	uint64_t count;

	int n = poll(p, h->listen_fd >= 0 ? 2 : 1, wait_ms(h));
	if (n > 0 && p[0].revents)
		(void)!read(h->wake_fd, &count, sizeof(count));
	if (stopped(h))
		return false;
	metadata_write(h);
	stub_retry(h);
	events_pass(h);
	if (n > 0 && h->listen_fd >= 0 && p[1].revents) {
		if (p[1].fd == h->listen_fd)
			helper_client_accept(h);
		else if (p[1].fd == h->client_fd) /* not closed meanwhile by what was to be told */
			helper_client_input(h);
	}
	return true;
}

static void *helper_run(void *arg)
{
	struct helper *h = arg;
	bool stub = h->listen_fd >= 0 && stub_open(h);

	if (!stopped(h)) { /* that may have taken long */
		tell_ready(h, stub);
		while (helper_wait(h))
			;
	}
	helper_unref(h);
	return NULL;
}

static int helper_start(struct helper *h, struct err *e)
{
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 1 << 20);
	sigfillset(&all); /* signals are the main thread's */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int r = pthread_create(&thread, &attr, helper_run, helper_ref(h));
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (r == 0)
		return 0;
	helper_unref(h);
	return err_set(e, ERR_FAILED, r, "", "no thread: %s", strerror(r));
}

int helper_new(virDomainPtr dom, const struct helper_config *config, struct helper **ret, struct err *e)
{
	_cleanup_(helper_unref) struct helper *h = calloc(1, sizeof(*h));

	if (!h)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	atomic_init(&h->refs, 1);
	pthread_mutex_init(&h->lock, NULL);
	h->listen_fd = h->client_fd = -1;
	h->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	h->name = strdup(config->name);
	h->inbox = config->inbox;
	snprintf(h->uuid, sizeof(h->uuid), "%s", config->uuid);
	if (h->wake_fd < 0 || !h->name || virDomainRef(dom) < 0)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	h->dom = dom;
	if (config->qmp_path) {
		snprintf(h->qmp_path, sizeof(h->qmp_path), "%s", config->qmp_path);
		snprintf(h->gdb_path, sizeof(h->gdb_path), "%s", config->gdb_path);
		h->listen_fd = helper_listen(h->qmp_path);
		if (h->listen_fd < 0)
			return err_set(e, ERR_FAILED, -h->listen_fd, "", "cannot listen at %s: %s", h->qmp_path, strerror(-h->listen_fd));
	}
	int r = helper_start(h, e);
	if (r == 0)
		*ret = TAKE_PTR(h);
	return r;
}

void helper_free(struct helper *h)
{
	if (!h)
		return;
	if (h->qmp_path[0]) {
		unlink(h->qmp_path);
		unlink(h->gdb_path);
	}
	pthread_mutex_lock(&h->lock);
	h->stop = true;
	pthread_mutex_unlock(&h->lock);
	wake(h);
	helper_unref(h);
}
