// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Start and end of vmpoke-libvirt, its inbox and the hook's socket; see manager.h. Must never wait for anything but
 * libvirtd.
 */
#include "vmm/libvirt/manager.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "vmm/control/log.h"
#include "vmm/libvirt/domain.h"
#include "vmm/libvirt/hook.h"

#define LOST_FAILURES 1 /* a connection that broke is tried again after a moment, not at once */

static void on_ready(struct manager *m, const struct inbox_message *msg)
{
	struct domain *d = domain_find(m, msg->uuid);

	/* Of a helper that was given up meanwhile: its successor will tell. */
	if (!d || d->helper != msg->helper)
		return;
	if (!d->facts.qmp[0] && !msg->stub)
		d->gdb[0] = '\0';
	else if (!d->facts.qmp[0] && !d->gdb[0])
		domain_stub_came(d);
	d->ready = true;
	domain_advance(d);
}

static void on_closed(struct manager *m, const struct inbox_message *msg)
{
	if (!m->libvirt || msg->generation != m->generation)
		return;
	log_msg(LOG_WARNING, NULL, "the connection to libvirtd is lost");
	libvirtd_close(m);
	m->libvirt_retry.failures = LOST_FAILURES;
	libvirtd_connect(m, false);
}

static int on_inbox(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	struct manager *m = userdata;
	struct inbox_message msg;
	uint64_t count;

	(void)s, (void)revents;
	(void)!read(fd, &count, sizeof(count));
	while (inbox_take(&m->inbox, &msg)) {
		switch (msg.kind) {
		case INBOX_LOOK: manager_look(m, msg.uuid); break;
		case INBOX_READY: on_ready(m, &msg); break;
		case INBOX_CLOSED: on_closed(m, &msg); break;
		case INBOX_OVERRUN: libvirtd_rescan(m); break;
		}
		helper_unref(msg.helper);
	}
	return 0;
}

/* Anybody who may write to the socket can send anything: it only makes us look. */
static int on_hook(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	struct manager *m = userdata;
	struct hook_message msg;
	char buf[HOOK_SIZE_MAX];
	char uuid[37];

	(void)s, (void)revents;
	ssize_t len = recv(fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_TRUNC);
	if (len < 0 || len > (ssize_t)sizeof(buf) || hook_parse(buf, (size_t)len, &msg) < 0)
		return 0;
	log_msg(LOG_DEBUG, NULL, "hook: %s %s", msg.domain, msg.operation);
	if (!m->libvirt) {
		libvirtd_connect(m, true); /* it is there again */
		return 0;
	}
	virDomainPtr dom = connection_domain_by_name(m->libvirt, msg.domain);
	if (dom && virDomainGetUUIDString(dom, uuid) == 0)
		manager_look(m, uuid);
	if (dom)
		virDomainFree(dom);
	return 0;
}

static int folder_take(struct manager *m, struct err *e)
{
	const char *dir = m->options.runtime_dir;
	char path[DOMAIN_PATH_MAX + 32];

	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_set(e, ERR_FAILED, errno, "", "cannot make the folder %s: %s", dir, strerror(errno));
	snprintf(path, sizeof(path), "%s/lock", dir);
	m->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (m->lock_fd < 0)
		return err_set(e, ERR_FAILED, errno, "", "cannot open %s: %s", path, strerror(errno));
	if (flock(m->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(e, ERR_FAILED, EBUSY, "", "another vmpoke-libvirt uses %s", dir);
	return 0;
}

static int hook_listen(struct manager *m, struct err *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if (snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/" HOOK_SOCKET, m->options.runtime_dir) >= (int)sizeof(addr.sun_path))
		return err_set(e, ERR_USAGE, ENAMETOOLONG, "", "the runtime folder's name is too long for sockets");
	m->hook_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	unlink(addr.sun_path);
	if (m->hook_fd < 0 || bind(m->hook_fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || chmod(addr.sun_path, 0600) < 0)
		return err_set(e, ERR_FAILED, errno, "", "cannot listen at %s: %s", addr.sun_path, strerror(errno));
	return 0;
}

int manager_start(struct manager *m, sd_event *event, const struct manager_options *options, struct err *e)
{
	*m = (struct manager){ .event = event, .options = *options, .hook_fd = -1, .lock_fd = -1, .inbox.fd = -1 };
	LIST_INIT(&m->domains);
	if (snprintf(m->origin, sizeof(m->origin), "libvirt:%s", options->uri) >= (int)sizeof(m->origin))
		return err_set(e, ERR_USAGE, ENAMETOOLONG, "", "the URI is longer than %d characters", MANAGER_ORIGIN_MAX - 9);
	int r = folder_take(m, e);
	if (r == 0)
		r = hook_listen(m, e);
	if (r < 0)
		return r;
	r = inbox_init(&m->inbox);
	if (r >= 0)
		r = sd_event_add_io(event, &m->inbox_io, m->inbox.fd, EPOLLIN, on_inbox, m);
	if (r >= 0)
		r = sd_event_add_io(event, &m->hook_io, m->hook_fd, EPOLLIN, on_hook, m);
	if (r < 0)
		return err_set(e, ERR_FAILED, -r, "", "no event loop: %s", strerror(-r));
	r = connection_setup(e);
	if (r < 0)
		return r;
	libvirtd_connect(m, false);
	service_connect(m);
	return 0;
}

void manager_done(struct manager *m)
{
	struct domain *d;

	while ((d = LIST_FIRST(&m->domains)))
		domain_free(d);
	libvirtd_close(m);
	service_close(m);
	retry_done(&m->libvirt_retry);
	retry_done(&m->service_retry);
	sd_event_source_disable_unref(m->inbox_io);
	sd_event_source_disable_unref(m->hook_io);
	if (m->hook_fd >= 0)
		close(m->hook_fd);
	if (m->lock_fd >= 0)
		close(m->lock_fd);
}
