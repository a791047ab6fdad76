/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Applied patches as records that leave this host with their guest, and records that come with one. They come
 * from anywhere: what is read here is well-formed, and nothing of it is true before it was compared with the guest.
 */
#ifndef VMPOKE_VMM_WORKER_PORTABLE_H
#define VMPOKE_VMM_WORKER_PORTABLE_H

#include <jansson.h>

#include "vmm/worker/record.h"

#define PORTABLE_VERSION 1
#define PORTABLE_RECORDS_MAX 256 /* of one request */
#define PORTABLE_REPLY_BYTES (900u << 10) /* of records in one reply: the rest of QMP_MESSAGE_MAX is for what is around them */

struct portable {
	struct transaction *t; /* sites as they were applied; gpa, boundaries and slots are not to be believed */
	char *text;	       /* the patch file */
	size_t text_len;
	uint8_t *object;       /* of kind function; NULL: none */
	size_t object_len;
	uint64_t payload;      /* address of the payload in the guest; 0: none */
};

void portable_clear(struct portable *p);

/* A new reference; NULL when memory is short or the text is not UTF-8. */
json_t *portable_to_json(const struct portable *p);

/* -EBADMSG (ERR_USAGE) with what is wrong; -ENOMEM. */
int portable_from_json(json_t *record, struct portable *ret, struct err *e);

#endif
