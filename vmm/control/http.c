// SPDX-License-Identifier: GPL-2.0-or-later
/* See http.h. Untrusted input: nothing is looked at before its end is known to be there. */
#include "vmm/control/http.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define OPEN_METRICS "application/openmetrics-text"

/* The line that begins at buf, without its end; NULL when its end is not there. */
static const char *line_end(const char *buf, size_t len, size_t *ret_next)
{
	const char *lf = memchr(buf, '\n', len);

	if (!lf)
		return NULL;
	*ret_next = (size_t)(lf - buf) + 1;
	return lf > buf && lf[-1] == '\r' ? lf - 1 : lf;
}

/* "GET /metrics HTTP/1.1" */
static int request_line(const char *line, const char *end, struct http_request *r)
{
	const char *sp = memchr(line, ' ', (size_t)(end - line));
	const char *path = sp ? sp + 1 : NULL;
	const char *sp2 = path ? memchr(path, ' ', (size_t)(end - path)) : NULL;

	if (!sp2 || sp == line || end - sp2 != 9 || memcmp(sp2 + 1, "HTTP/1.", 7) != 0 || sp2[8] < '0' || sp2[8] > '9')
		return -EBADMSG;
	for (const char *p = line; p < sp2; p++)
		if (*p < ' ' || *p > '~')
			return -EBADMSG;
	r->get = sp - line == 3 && memcmp(line, "GET", 3) == 0;
	const char *query = memchr(path, '?', (size_t)(sp2 - path));
	size_t len = (size_t)((query ? query : sp2) - path);
	if (len == 0 || path[0] != '/')
		return -EBADMSG;
	if (len >= sizeof(r->path))
		len = 0; /* not one of ours: an empty path is none */
	memcpy(r->path, path, len);
	r->path[len] = '\0';
	return 0;
}

static void header_line(const char *line, const char *end, struct http_request *r)
{
	static const char accept[] = "accept:";
	size_t len = (size_t)(end - line), name = sizeof(accept) - 1;

	if (len > name && strncasecmp(line, accept, name) == 0 && memmem(line + name, len - name, OPEN_METRICS, strlen(OPEN_METRICS)))
		r->open_metrics = true;
}

/* 1 at the empty line that ends the head, 0 when it is not there yet. */
static int headers(const char *buf, size_t len, struct http_request *r)
{
	size_t next;

	for (size_t at = 0; at < len; at += next) {
		const char *end = line_end(buf + at, len - at, &next);
		if (!end)
			return 0;
		if (end == buf + at)
			return 1;
		header_line(buf + at, end, r);
	}
	return 0;
}

int http_request_parse(const char *buf, size_t len, struct http_request *ret)
{
	struct http_request r = { 0 };
	size_t next;
	const char *end = line_end(buf, len, &next);
	int done = 0;

	if (end) {
		int error = request_line(buf, end, &r);
		if (error < 0)
			return error;
		done = headers(buf + next, len - next, &r);
	}
	if (done)
		*ret = r;
	return done ? 1 : len >= HTTP_REQUEST_MAX ? -EMSGSIZE : 0;
}

static const char *reason(int status)
{
	switch (status) {
	case 200: return "OK";
	case 403: return "Forbidden";
	case 404: return "Not Found";
	case 405: return "Method Not Allowed";
	case 431: return "Request Header Fields Too Large";
	case 503: return "Service Unavailable";
	default: return "Bad Request";
	}
}

size_t http_response_head(int status, const char *type, size_t body_len, char *buf, size_t cap)
{
	int n = snprintf(buf, cap, "HTTP/1.0 %d %s\r\n%sContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", status,
			 reason(status), status == 405 ? "Allow: GET\r\n" : "", type, body_len);

	return n < 0 ? 0 : (size_t)n < cap ? (size_t)n : cap - 1;
}
