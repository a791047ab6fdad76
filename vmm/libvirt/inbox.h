/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What other threads tell the main one, which alone decides: a bounded queue with a descriptor to poll. */
#ifndef VMPOKE_LIBVIRT_INBOX_H
#define VMPOKE_LIBVIRT_INBOX_H

#include <pthread.h>
#include <stdbool.h>

#include "vmm/libvirt/helper.h"

#define INBOX_LOOKS_MAX 1024 /* more are one OVERRUN */
#define INBOX_MAX	(4 * INBOX_LOOKS_MAX) /* with room for what nothing makes up for: READY, CLOSED */

enum inbox_kind {
	INBOX_LOOK,   /* something happened to the domain uuid */
	INBOX_READY,  /* its helper is ready */
	INBOX_CLOSED, /* the connection 'generation' to libvirtd broke */
	INBOX_OVERRUN, /* more came than is kept: look at everything */
};

struct inbox_message {
	enum inbox_kind kind;
	char uuid[37];
	struct helper *helper; /* INBOX_READY: a reference, the receiver's to drop; only to be compared */
	bool stub;
	unsigned generation;
};

struct inbox {
	pthread_mutex_t lock;
	int fd; /* an eventfd */
	struct inbox_message messages[INBOX_MAX];
	size_t first, n;
	bool overrun;
};

int inbox_init(struct inbox *b); /* 0 or -errno */
void inbox_done(struct inbox *b);

/* From any thread; takes the reference in it. A LOOK that waits already is not put twice. */
void inbox_put(struct inbox *b, const struct inbox_message *m);

/* The oldest; false: none. */
bool inbox_take(struct inbox *b, struct inbox_message *ret);

#endif
