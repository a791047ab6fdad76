/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A link that is one connected (or connecting) stream socket: what virtio-serial and vsock share. */
#ifndef VMPOKE_VMM_LINK_STREAM_H
#define VMPOKE_VMM_LINK_STREAM_H

#include "vmm/link/link.h"

/* Takes fd, a non-blocking stream socket, also when it fails. */
int link_stream_new(const struct link_ops *ops, int fd, struct link **ret, struct err *e);

/* Members of a row. */
int link_stream_fd(const struct link *link);
short link_stream_events(const struct link *link);
int link_stream_timeout_ms(const struct link *link);
int link_stream_tick(struct link *link, struct err *e);
ssize_t link_stream_read(struct link *link, void *buf, size_t cap, struct err *e);
ssize_t link_stream_write(struct link *link, const void *buf, size_t len, struct err *e);
void link_stream_close(struct link *link);
int link_stream_stats(const struct link *link, struct link_stats *ret);

#endif
