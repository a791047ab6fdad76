// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The QMP socket a helper serves: one client at a time, as QEMU's monitors do. Requests on the list go to QEMU,
 * the others are refused here. Must never wait for a client that does not read.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "vmm/libvirt/helper_private.h"
#include "vmm/libvirt/passage.h"

#define SEND_S 5

void helper_client_close(struct helper *h)
{
	if (h->client_fd >= 0)
		close(h->client_fd);
	h->client_fd = -1;
	h->negotiated = false;
	qmp_lexer_free(TAKE_PTR(h->lexer));
}

void helper_client_line(struct helper *h, const char *line)
{
	size_t len = line ? strlen(line) : 0;

	if (h->client_fd < 0)
		return;
	for (size_t done = 0; done < len;) {
		ssize_t n = send(h->client_fd, line + done, len - done, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			helper_client_close(h);
			return;
		}
		done += (size_t)n;
	}
	if (!line)
		helper_client_close(h); /* no memory for an answer: better none than a wait for one */
}

static void greet(struct helper *h)
{
	json_t *version = NULL;
	char *line = NULL, *text;

	if (helper_monitor(h, "query-version", NULL, -1, &version, NULL) < 0)
		return helper_client_close(h);
	json_t *greeting = json_pack("{s:{s:o, s:[]}}", "QMP", "version", version, "capabilities");
	text = greeting ? json_dumps(greeting, JSON_COMPACT) : NULL;
	json_decref(greeting);
	if (text && asprintf(&line, "%s\r\n", text) < 0)
		line = NULL;
	helper_client_line(h, line);
	free(text);
	free(line);
}

void helper_client_accept(struct helper *h)
{
	struct timeval limit = { .tv_sec = SEND_S };

	h->client_fd = accept4(h->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (h->client_fd < 0) {
		poll(NULL, 0, 100); /* out of descriptors: the one that waits stays, and must not be asked for without a break */
		return;
	}
	setsockopt(h->client_fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	h->lexer = qmp_lexer_new();
	if (h->lexer)
		greet(h);
	else
		helper_client_close(h);
}

/* The line that answers a request; NULL when memory is short. */
static char *answer(struct helper *h, const struct qmp_request *req, struct err *e)
{
	_cleanup_free_ char *command = NULL, *reply = NULL;

	if (strcmp(req->execute, "qmp_capabilities") == 0) {
		h->negotiated = true;
		return qmp_format_return(NULL, req->id);
	}
	int r = h->negotiated ? passage_check(req, e) :
		err_set(e, ERR_NO_COMMAND, EPERM, "", "expecting capabilities negotiation with 'qmp_capabilities'");
	if (r == 0) {
		command = passage_command(req);
		r = command ? helper_monitor_text(h, command, -1, &reply, e) : err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	}
	return r < 0 ? qmp_format_error(e, req->id) : passage_reply(reply, req->id);
}

static void take_frame(struct helper *h, const struct qmp_frame *frame)
{
	struct qmp_request req = { 0 };
	_cleanup_free_ char *line = NULL;
	struct err e;

	if (frame->kind == QMP_FRAME_ERROR) {
		err_set(&e, ERR_FAILED, EINVAL, "", "%s", frame->error);
		line = qmp_format_error(&e, NULL);
	} else if (qmp_request_parse(frame, &req, &e) < 0) {
		line = qmp_format_error(&e, req.id);
	} else {
		line = answer(h, &req, &e);
	}
	qmp_request_clear(&req);
	helper_client_line(h, line);
}

void helper_client_input(struct helper *h)
{
	char buf[4096];
	ssize_t len = recv(h->client_fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (len <= 0)
		return helper_client_close(h);
	for (ssize_t done = 0; done < len && h->client_fd >= 0;) {
		struct qmp_frame frame;
		ssize_t n = qmp_lexer_feed(h->lexer, buf + done, (size_t)(len - done), &frame);

		if (n < 0)
			return helper_client_close(h);
		done += n;
		if (frame.kind != QMP_FRAME_NONE)
			take_frame(h, &frame);
	}
}
