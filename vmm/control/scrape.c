// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The socket of the metrics; see scrape.h. Clients may be anybody on the machine: few at a
 * time, for a short time, and a slow one delays nobody. Must never block.
 */
#include "vmm/control/scrape.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "vmm/control/daemon.h"
#include "vmm/control/http.h"
#include "vmm/control/log.h"
#include "vmm/control/metrics.h"
#include "vmm/control/peer.h"

#define ACCEPT_RETRY_US 1000000ull /* no descriptors left: look again after this */

struct scrape_client {
	struct scrape *scrape;
	LIST_ENTRY(scrape_client) link;
	struct peer peer;
	int fd;
	sd_event_source *io, *timer;
	char in[HTTP_REQUEST_MAX];
	size_t in_len;
	char *out; /* NULL until the request is complete */
	size_t out_len, out_sent;
};

static void client_free(struct scrape_client *c)
{
	LIST_REMOVE(c, link);
	c->scrape->n_clients--;
	sd_event_source_disable_unref(c->io);
	sd_event_source_disable_unref(c->timer);
	peer_clear(&c->peer);
	free(c->out);
	close(c->fd);
	free(c);
}

/* Head and body in one piece. */
static int answer(struct scrape_client *c, int status, const char *type, const char *body, size_t len)
{
	char head[256];
	size_t n = http_response_head(status, type, len, head, sizeof(head));

	c->out = malloc(n + len);
	if (!c->out)
		return -ENOMEM;
	memcpy(c->out, head, n);
	memcpy(c->out + n, body, len);
	c->out_len = n + len;
	return 0;
}

static int answer_text(struct scrape_client *c, int status, const char *text)
{
	return answer(c, status, "text/plain; charset=utf-8", text, strlen(text));
}

static int answer_metrics(struct scrape_client *c, bool open_metrics)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = metrics_format(c->scrape->daemon, &c->peer, open_metrics, &text, &len);

	return r < 0 ? r : answer(c, 200, open_metrics ? METRICS_TYPE_OPEN : METRICS_TYPE_TEXT, text, len);
}

static int answer_request(struct scrape_client *c, const struct http_request *r)
{
	struct policy_request monitor = { .peer = &c->peer, .class = SCHEMA_CLASS_MONITOR };
	const char *rule;
	struct err e;

	if (policy_decide(&c->scrape->daemon->config->policy, &monitor, &rule, &e) < 0)
		return answer_text(c, 403, "the policy does not let you monitor\n");
	if (!r->get)
		return answer_text(c, 405, "only GET is known here\n");
	if (strcmp(r->path, "/metrics") != 0 && strcmp(r->path, "/") != 0)
		return answer_text(c, 404, "there is only /metrics\n");
	return answer_metrics(c, r->open_metrics);
}

/* 0, or negative: nothing more is to be done with this client. */
static int client_read(struct scrape_client *c)
{
	struct http_request request;
	ssize_t n = recv(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -ECONNRESET;
	c->in_len += (size_t)n;
	int r = http_request_parse(c->in, c->in_len, &request);
	if (r == 0)
		return 0;
	r = r > 0 ? answer_request(c, &request) :
	    r == -EMSGSIZE ? answer_text(c, 431, "the request is too long\n") :
			     answer_text(c, 400, "this is not HTTP/1\n");
	return r < 0 ? r : sd_event_source_set_io_events(c->io, EPOLLOUT);
}

static int client_write(struct scrape_client *c)
{
	ssize_t n = send(c->fd, c->out + c->out_sent, c->out_len - c->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	c->out_sent += (size_t)n;
	return c->out_sent < c->out_len ? 0 : -ESHUTDOWN;
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct scrape_client *c = userdata;
	int r = revents & (EPOLLERR | EPOLLHUP) ? -ECONNRESET : c->out ? client_write(c) : client_read(c);

	(void)source, (void)fd;
	if (r < 0)
		client_free(c);
	return 0;
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source, (void)usec;
	client_free(userdata);
	return 0;
}

/* Takes fd, also on failure. */
static int client_new(struct scrape *s, int fd)
{
	struct scrape_client *c = calloc(1, sizeof(*c));
	int r = c ? peer_read(fd, &c->peer) : -ENOMEM;

	if (r < 0) {
		free(c);
		close(fd);
		return r;
	}
	c->scrape = s;
	c->fd = fd;
	LIST_INSERT_HEAD(&s->clients, c, link);
	s->n_clients++;
	r = sd_event_add_io(s->event, &c->io, fd, EPOLLIN, on_io, c);
	if (r >= 0)
		r = sd_event_add_time_relative(s->event, &c->timer, CLOCK_MONOTONIC, SCRAPE_TIMEOUT_US, 0, on_timeout, c);
	if (r < 0)
		client_free(c);
	return r;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct scrape *s = userdata;

	(void)source, (void)usec;
	sd_event_source_set_enabled(s->io, SD_EVENT_ON);
	return 0;
}

/* The client that could not be taken still waits: looking again at once would go on for as long as it does. */
static void accept_failed(struct scrape *s, int error)
{
	if (error == EAGAIN || error == EINTR || error == ECONNABORTED)
		return;
	log_msg(LOG_WARNING, NULL, "cannot accept a client for metrics: %s", strerror(error));
	sd_event_source_set_enabled(s->io, SD_EVENT_OFF);
	sd_event_source_set_time_relative(s->retry, ACCEPT_RETRY_US);
	sd_event_source_set_enabled(s->retry, SD_EVENT_ONESHOT);
}

static int on_accept(sd_event_source *source, int listen_fd, uint32_t revents, void *userdata)
{
	struct scrape *s = userdata;
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)source, (void)revents;
	if (fd < 0) {
		accept_failed(s, errno);
		return 0;
	}
	if (s->n_clients >= SCRAPE_CLIENTS_MAX) {
		close(fd); /* the others are gone in seconds */
		return 0;
	}
	if (client_new(s, fd) < 0)
		log_msg(LOG_WARNING, NULL, "cannot serve metrics: out of memory");
	return 0;
}

void scrape_init(struct scrape *s, struct daemon *d)
{
	*s = (struct scrape){ .daemon = d, .fd = -1 };
	LIST_INIT(&s->clients);
}

/* server.c binds the control sockets the same way. */
int scrape_listen(struct scrape *s, sd_event *event, const char *runtime_dir, mode_t mode, struct err *e)
{
	int r = server_bind(runtime_dir, "metrics.sock", mode, s->path, sizeof(s->path), &s->fd, e);

	if (r < 0)
		return r;
	s->event = event;
	r = sd_event_add_io(event, &s->io, s->fd, EPOLLIN, on_accept, s);
	if (r >= 0)
		r = sd_event_add_time(event, &s->retry, CLOCK_MONOTONIC, 0, 0, on_retry, s);
	if (r >= 0)
		r = sd_event_source_set_enabled(s->retry, SD_EVENT_OFF);
	return r < 0 ? err_set(e, ERR_FAILED, -r, NULL, "cannot watch a socket: %s", strerror(-r)) : 0;
}

void scrape_close(struct scrape *s)
{
	s->io = sd_event_source_disable_unref(s->io);
	s->retry = sd_event_source_disable_unref(s->retry);
	while (!LIST_EMPTY(&s->clients))
		client_free(LIST_FIRST(&s->clients));
	if (s->fd < 0)
		return;
	unlink(s->path);
	close(s->fd);
	s->fd = -1;
}
