// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One client of the control sockets; see session.h. Errors have the classes
 * QEMU's monitor gives (tests compare the two), so that QMP clients feel at
 * home. Must never trust a client and never wait for one.
 */
#include "vmm/control/session.h"

#include <errno.h>
#include <string.h>

#include "protocol/qmp.h"
#include "vmm/control/command.h"
#include "vmm/control/daemon.h"
#include "vmm/control/log.h"

static void session_error(struct session *s, const struct err *e, const char *id)
{
	channel_send(&s->channel, qmp_format_error(e, id));
}

static void session_request(struct session *s, const struct qmp_request *req)
{
	struct daemon *d = container_of(s->server, struct daemon, server);
	json_t *value = NULL;
	struct err e;

	s->request_id = req->id;
	int r = command_run(d, s, req->execute, req->args, &value, &e);
	s->request_id = NULL;
	if (r < 0)
		session_error(s, &e, req->id);
	else if (r != COMMAND_DEFERRED)
		channel_send(&s->channel, qmp_format_return(value, req->id));
	json_decref(value);
}

static void on_frame(struct channel *ch, const struct qmp_frame *frame)
{
	struct session *s = container_of(ch, struct session, channel);
	struct qmp_request req = { 0 };
	struct err e;

	if (frame->kind == QMP_FRAME_ERROR) {
		err_set(&e, ERR_USAGE, EINVAL, NULL, "%s", frame->error);
		session_error(s, &e, NULL);
	} else if (qmp_request_parse(frame, &req, &e) < 0) {
		session_error(s, &e, req.id);
	} else {
		session_request(s, &req);
	}
	qmp_request_clear(&req);
}

static void on_closed(struct channel *ch, const char *why)
{
	struct session *s = container_of(ch, struct session, channel);

	log_msg(LOG_DEBUG, NULL, "client pid %d uid %u left: %s", s->peer.pid, s->peer.uid, why);
	session_free(s);
}

static const struct channel_ops channel_ops = { .frame = on_frame, .closed = on_closed };

int session_new(struct server *server, int fd, bool read_only)
{
	struct session *s = calloc(1, sizeof(*s));

	if (!s || peer_read(fd, &s->peer) < 0) {
		free(s);
		close(fd);
		return -ENOMEM;
	}
	int r = channel_init(&s->channel, server->event, fd, &channel_ops, server->stall_us);
	if (r < 0) {
		peer_clear(&s->peer);
		free(s);
		return r;
	}
	s->server = server;
	s->read_only = read_only;
	s->channel.wants_fds = !read_only;
	LIST_INSERT_HEAD(&server->sessions, s, link);
	server->n_sessions++;
	server->n_sessions_ro += read_only;
	channel_send(&s->channel, command_greeting());
	return 0;
}

void session_free(struct session *s)
{
	struct pending *p = s->pending;

	if (p) /* its reply is dropped, its work goes on where it does not say otherwise */
		p->session = NULL;
	if (p && p->client_left)
		p->client_left(p);
	LIST_REMOVE(s, link);
	s->server->n_sessions--;
	s->server->n_sessions_ro -= s->read_only;
	channel_done(&s->channel);
	fd_table_clear(&s->fds);
	peer_clear(&s->peer);
	free(s);
}

struct pending *session_defer(struct session *s)
{
	struct pending *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	if (s->request_id) {
		p->id = strdup(s->request_id);
		if (!p->id) {
			free(p);
			return NULL;
		}
	}
	p->session = s;
	s->pending = p;
	channel_pause(&s->channel);
	return p;
}

static void pending_end(struct pending *p)
{
	if (p->session) {
		p->session->pending = NULL;
		channel_resume(&p->session->channel);
	}
	free(p->id);
	free(p);
}

void pending_return(struct pending *p, json_t *value)
{
	if (!p)
		return;
	if (p->session)
		channel_send(&p->session->channel, qmp_format_return(value, p->id));
	pending_end(p);
}

void pending_error(struct pending *p, const struct err *e)
{
	if (!p)
		return;
	if (p->session)
		session_error(p->session, e, p->id);
	pending_end(p);
}
