// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Listening and accepting; see server.h. Must never let a crowd of clients use
 * up the daemon's file descriptors or memory, nor spin when they are used up.
 */
#include "vmm/control/server.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "vmm/control/log.h"
#include "vmm/control/session.h"

#define ACCEPT_RETRY_US 1000000ull /* no descriptors left: look again after this */

void server_init(struct server *s, sd_event *event, uint64_t stall_us)
{
	*s = (struct server){
		.event = event, .stall_us = stall_us,
		.rw = { .server = s, .fd = -1 },
		.ro = { .server = s, .fd = -1, .read_only = true },
	};
	LIST_INIT(&s->sessions);
}

/* The best that can be done for one client too many: say why before hanging up. */
static void client_refuse(int fd)
{
	struct err e;

	err_set(&e, ERR_TIMEOUT, EBUSY, "busy", "too many clients are connected; try again later");
	_cleanup_free_ char *line = qmp_format_error(&e, NULL);
	if (line)
		(void)!send(fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct server_socket *sock = userdata;

	(void)source, (void)usec;
	sd_event_source_set_enabled(sock->io, SD_EVENT_ON);
	return 0;
}

static void accept_failed(struct server_socket *sock, int error)
{
	if (error == EAGAIN || error == EINTR || error == ECONNABORTED)
		return;
	log_msg(LOG_WARNING, NULL, "cannot accept a client: %s", strerror(error));
	sd_event_source_set_enabled(sock->io, SD_EVENT_OFF);
	sd_event_source_set_time_relative(sock->retry, ACCEPT_RETRY_US);
	sd_event_source_set_enabled(sock->retry, SD_EVENT_ONESHOT);
}

static int on_accept(sd_event_source *source, int listen_fd, uint32_t revents, void *userdata)
{
	struct server_socket *sock = userdata;
	struct server *s = sock->server;
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)source, (void)revents;
	if (fd < 0)
		accept_failed(sock, errno);
	else if (s->n_sessions >= SERVER_CLIENTS_MAX || (sock->read_only && s->n_sessions_ro >= SERVER_CLIENTS_RO_MAX))
		client_refuse(fd);
	else if (session_new(s, fd, sock->read_only) < 0)
		log_msg(LOG_WARNING, NULL, "cannot serve a client: out of memory");
	return 0;
}

int server_bind(const char *runtime_dir, const char *name, mode_t mode, char *path, size_t cap, int *ret_fd, struct err *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	int n = snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/%s", runtime_dir, name);
	if (n < 0 || (size_t)n >= sizeof(sa.sun_path) || (size_t)n >= cap)
		return err_set(e, ERR_FAILED, ENAMETOOLONG, NULL, "%s/%s is longer than a unix socket path may be", runtime_dir, name);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(e, ERR_FAILED, errno, NULL, "cannot make a socket: %s", strerror(errno));
	if (unlink(sa.sun_path) < 0 && errno != ENOENT)
		return err_set(e, ERR_FAILED, errno, NULL, "cannot replace %s: %s", sa.sun_path, strerror(errno));
	mode_t old = umask(0177);
	int r = bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? -errno : 0;
	umask(old);
	if (r == 0 && (chmod(sa.sun_path, mode) < 0 || listen(fd, SERVER_CLIENTS_MAX) < 0))
		r = -errno;
	if (r < 0)
		return err_set(e, ERR_FAILED, -r, NULL, "cannot listen on %s: %s", sa.sun_path, strerror(-r));
	strcpy(path, sa.sun_path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int socket_bind(struct server_socket *sock, const char *dir, const char *name, mode_t mode, struct err *e)
{
	return server_bind(dir, name, mode, sock->path, sizeof(sock->path), &sock->fd, e);
}

static int socket_watch(struct server_socket *sock, struct err *e)
{
	sd_event *event = sock->server->event;

	int r = sd_event_add_io(event, &sock->io, sock->fd, EPOLLIN, on_accept, sock);
	if (r >= 0)
		r = sd_event_add_time(event, &sock->retry, CLOCK_MONOTONIC, 0, 0, on_retry, sock);
	if (r >= 0)
		r = sd_event_source_set_enabled(sock->retry, SD_EVENT_OFF);
	return r < 0 ? err_set(e, ERR_FAILED, -r, NULL, "cannot watch a socket: %s", strerror(-r)) : 0;
}

/* Its file belongs to whoever made it, and stays when we end: path is empty. */
static int socket_take(struct server_socket *sock, int fd, struct err *e)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_set(e, ERR_FAILED, errno, NULL, "cannot use a passed socket: %s", strerror(errno));
	sock->fd = fd;
	return 0;
}

int server_listen(struct server *s, const char *runtime_dir, mode_t read_only_mode, const struct activation *passed,
		  struct err *e)
{
	int r = passed->rw >= 0 ? socket_take(&s->rw, passed->rw, e) :
				  socket_bind(&s->rw, runtime_dir, "control.sock", 0660, e);

	if (r == 0)
		r = passed->ro >= 0 ? socket_take(&s->ro, passed->ro, e) :
				      socket_bind(&s->ro, runtime_dir, "control-ro.sock", read_only_mode, e);
	if (r == 0)
		r = socket_watch(&s->rw, e);
	if (r == 0)
		r = socket_watch(&s->ro, e);
	return r;
}

static void socket_close(struct server_socket *sock)
{
	sock->io = sd_event_source_disable_unref(sock->io);
	sock->retry = sd_event_source_disable_unref(sock->retry);
	if (sock->fd < 0)
		return;
	if (sock->path[0])
		unlink(sock->path);
	close(sock->fd);
	sock->fd = -1;
}

void server_close(struct server *s)
{
	struct session *session;

	socket_close(&s->rw);
	socket_close(&s->ro);
	LIST_FOREACH(session, &s->sessions, link)
		channel_kill(&session->channel, "the daemon ends");
}

void server_done(struct server *s)
{
	while (!LIST_EMPTY(&s->sessions))
		session_free(LIST_FIRST(&s->sessions));
}

void server_broadcast(struct server *s, const char *name, json_t *data,
		      bool (*may_see)(const struct server *s, const struct session *session, const char *vm))
{
	const char *vm = json_string_value(json_object_get(data, "vm"));
	_cleanup_free_ char *line = NULL;
	struct session *session;

	LIST_FOREACH(session, &s->sessions, link) {
		if (!session->negotiated || (may_see && vm && !may_see(s, session, vm)))
			continue;
		if (!line)
			line = qmp_format_event(name, data);
		channel_send(&session->channel, line ? strdup(line) : NULL);
	}
}
