/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A way from a worker to the agent in its guest. Each link is one file in
 * vmm/link/ and one row in link_table (vmm/link/table.c), chosen by probing.
 *
 * A link is a reliable, ordered stream of bytes without message borders, and
 * never blocks. The far end is the guest and hostile: a link promises order and
 * completeness, not truth, and says nothing about who in the guest is speaking.
 *
 * How to drive one: poll fd() for events(), for at most timeout_ms(); whatever
 * ended the wait, call tick(), then read() until it says -EAGAIN. events() and
 * timeout_ms() change with every call made: ask again before each wait.
 *
 * Functions return 0 or a negative errno and fill *e (NULL is allowed), except
 * for -EAGAIN, which is no failure and leaves *e alone. After any other failure,
 * and after end of file, a link is only good for close(); the next open() is a new
 * stream, nothing of the old one appears in it.
 */
#ifndef VMPOKE_VMM_LINK_H
#define VMPOKE_VMM_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "protocol/err.h"
#include "protocol/util.h"

#define LINK_MAC_LEN 6
#define LINK_WHY_MAX 192 /* size of a buffer that holds every reason */

/* All that is known of the ways into one VM; what is not known is NULL, -1 or 0. Nothing is owned. */
struct link_target {
	const char *vm;		  /* name, for sentences */
	const char *socket;	  /* virtio-serial: unix stream socket of the port's chardev */
	bool has_user;		  /* virtio-serial: then only a process of this user may serve it; xdp: then never */
	uid_t user;
	int fd;			  /* virtio-serial: connected stream instead of a path (our own VMM), or -1; open() dups it */
	uint32_t cid, port;	  /* vsock: the guest's context id (from 3 on) and the agent's port; 0: none */
	const char *ifname;	  /* xdp: the tap of the guest's network card, in the worker's network namespace */
	uint8_t mac[LINK_MAC_LEN]; /* xdp: the MAC address of that card, as the guest has it */
	bool has_mac;
};

#define LINK_TARGET_NONE { .fd = -1 }

struct link_stats {
	char mode[24];		   /* how, where there is a choice: "native" or "skb" (xdp); else "" */
	uint64_t rx_bytes, tx_bytes; /* of the stream */
	/* Links over datagrams only: frames, those sent once more, those received again, those dropped (not ours, damaged, no room). */
	uint64_t rx_frames, tx_frames, retransmits, duplicates, dropped;
};

struct link;

struct link_ops {
	const char *name;

	/*
	 * 1: open() is worth trying; 0: not, with one sentence in why (cap bytes, see LINK_WHY_MAX).
	 * Changes nothing, sends nothing to the guest.
	 */
	int (*probe)(const struct link_target *target, char *why, size_t cap);

	/* Never waits for the guest: success does not mean that an agent is there. *ret is owned, ended with close(). */
	int (*open)(const struct link_target *target, struct link **ret, struct err *e);

	/* Stays the same while the link is open; owned by the link. */
	int (*fd)(const struct link *link);
	/* POLLIN, and POLLOUT while something waits to go out. */
	short (*events)(const struct link *link);
	/* Milliseconds until tick() has something to do; -1: only when fd() is ready. */
	int (*timeout_ms)(const struct link *link);

	/* Does what is due: takes frames in, sends, sends again. Bounded work per call. */
	int (*tick)(struct link *link, struct err *e);

	/* 1..cap bytes; -EAGAIN: none now; 0: the far end closed. -ECONNRESET: the agent began anew; -ETIMEDOUT: it is silent. */
	ssize_t (*read)(struct link *link, void *buf, size_t cap, struct err *e);
	/* 1..len bytes taken, possibly fewer than len; -EAGAIN: none now. */
	ssize_t (*write)(struct link *link, const void *buf, size_t len, struct err *e);

	/* Drops what has not gone out yet. NULL is allowed. */
	void (*close)(struct link *link);

	int (*stats)(const struct link *link, struct link_stats *ret);
};

/* First member of each link's own struct. */
struct link {
	const struct link_ops *ops;
};

/* The rows, best first, ended by NULL. */
extern const struct link_ops *const link_table[];

/* The row with that name, or NULL. */
const struct link_ops *link_find(const char *name);

/*
 * The first row whose probe says yes. -ENOENT when none does: *e then has every row's reason, ERR_NOT_FOUND.
 */
int link_choose(const struct link_target *target, const struct link_ops **ret, struct err *e);

static inline void link_close(struct link *link)
{
	if (link)
		link->ops->close(link);
}
DEFINE_CLEANUP(struct link, link_close)

#endif
