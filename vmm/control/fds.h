/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptors a client has passed (getfd), by the names it gave them. vmpoked opens no
 * file because a client names it: the client opens it, with its own rights.
 */
#ifndef VMPOKE_CONTROL_FDS_H
#define VMPOKE_CONTROL_FDS_H

#include <stddef.h>

#include "protocol/err.h"

#define FDS_MAX 16	/* of one client */
#define FDS_NAME_MAX 63 /* bytes of a name */

/* Zeroed: empty. */
struct fd_table {
	size_t n;
	struct {
		char name[FDS_NAME_MAX + 1];
		int fd;
	} list[FDS_MAX];
};

/* Takes fd, also on failure. A name that is there already gets the new one, as in QEMU. ERR_REFUSED above FDS_MAX. */
int fd_table_put(struct fd_table *t, const char *name, int fd, struct err *e);

/* Hands the descriptor out and forgets its name. ERR_USAGE when there is none of that name. */
int fd_table_take(struct fd_table *t, const char *name, struct err *e);

void fd_table_clear(struct fd_table *t);

#endif
