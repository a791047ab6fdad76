/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Following vmpoked: what it announces, as it comes, until a signal ends it. */
#ifndef VMPOKE_CLI_STREAM_H
#define VMPOKE_CLI_STREAM_H

#include <jansson.h>

#include "protocol/err.h"

struct cli;

/* Embedded in the owner's object. Negative errno ends the stream with *e. */
struct stream {
	int (*message)(struct stream *s, json_t *message, struct err *e); /* an event, or the reply to a qmp_client_send() */
	int (*drained)(struct stream *s, struct err *e);		  /* NULL allowed: nothing more is there for now */
	int (*resized)(struct stream *s, struct err *e);		  /* NULL allowed: the terminal has another size */
};

/*
 * Connects when needed; 0 on SIGINT, SIGTERM, SIGHUP or --timeout. -errno with ERR_UNREACHABLE when vmpoked
 * goes away, with ERR_FAILED when nobody reads standard output any more.
 */
int stream_run(struct cli *c, struct stream *s, struct err *e);

#endif
