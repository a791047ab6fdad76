/* SPDX-License-Identifier: GPL-2.0-or-later */
/* As much of HTTP as a scraper needs: one GET a connection. Spec: RFC 9112, RFC 1945. */
#ifndef VMPOKE_CONTROL_HTTP_H
#define VMPOKE_CONTROL_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#define HTTP_REQUEST_MAX 8192 /* bytes of a request's head */

struct http_request {
	bool get;	   /* else another method */
	char path[128];	   /* without what follows a '?' */
	bool open_metrics; /* the Accept header names application/openmetrics-text */
};

/* 1 and *ret when the head is complete, 0 when more has to come, -EBADMSG when it is no HTTP, -EMSGSIZE when it is too long. */
int http_request_parse(const char *buf, size_t len, struct http_request *ret);

/* Status line and headers into buf. Returns their length; HTTP/1.0, and the connection ends after the body. */
size_t http_response_head(int status, const char *type, size_t body_len, char *buf, size_t cap);

#endif
