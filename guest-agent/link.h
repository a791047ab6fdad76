/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ways by which the host reaches the agent: an ordered, reliable byte stream
 * without message borders, non-blocking, one peer at a time. One file and one
 * row in link.c each. A link must never block, allocate after open() or burn CPU
 * while nothing happens; it knows nothing of frames.
 */
#ifndef VMPOKE_AGENT_LINK_H
#define VMPOKE_AGENT_LINK_H

#include <stddef.h>
#include <sys/types.h>

struct agent_link;

struct agent_link_ops {
	const char *name;	/* --link NAME */
	const char *where;	/* default of open()'s argument, for --help; NULL: it must be given */
	/*
	 * Makes the link usable, whether or not a host is at the other end yet.
	 * 0, or -errno: -ENOENT and -ENODEV mean "not here, perhaps later" and are
	 * tried again each second. After an error the link is as if close()d.
	 */
	int (*open)(struct agent_link *l, const char *where);
	/*
	 * 1..cap bytes; 0: nothing now, wait for poll_fd. -ENOTCONN: the host left or
	 * another came, once per change; forget half a frame and unsent bytes, go on.
	 * Any other -errno: the link is broken, close() it and open() again later.
	 */
	ssize_t (*read)(struct agent_link *l, void *buf, size_t cap);
	/* 1..len bytes taken; 0: not now, wait for poll_fd (or timeout_ms); errors as read(). */
	ssize_t (*write)(struct agent_link *l, const void *buf, size_t len);
	/* Also of a link that is not open. */
	void (*close)(struct agent_link *l);
	/*
	 * What poll(2) shall watch; *events holds POLLIN, and POLLOUT when the core has
	 * unsent bytes, and may be changed. Never a descriptor that stays ready (POLLHUP
	 * too) while there is nothing to do. -1: only the clock.
	 */
	int (*poll_fd)(struct agent_link *l, short *events);
	/* Milliseconds until tick() is due; -1 never, which it must be at rest. */
	int (*timeout_ms)(struct agent_link *l);
	/* The time has come (resend, keep-alive). 0 or errors as read(). NULL: timeout_ms is always -1. */
	int (*tick)(struct agent_link *l);
};

/* The head of every link's own struct, which is static in its file: container_of() leads there. */
struct agent_link {
	const struct agent_link_ops *ops;
};

extern struct agent_link *const agent_link_port;  /* link_port.c: a virtio-serial port */
extern struct agent_link *const agent_link_vsock; /* link_vsock.c: listens for the host */

/* The rows of link.c in order, the first is the default; NULL behind the last. */
struct agent_link *agent_link_at(size_t i);
/* NULL when there is no such name. */
struct agent_link *agent_link_find(const char *name);

#endif
