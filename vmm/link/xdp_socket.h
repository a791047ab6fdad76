/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One AF_XDP socket: frames of one queue of an interface, in and out. Knows nothing of what is in them. */
#ifndef VMPOKE_VMM_LINK_XDP_SOCKET_H
#define VMPOKE_VMM_LINK_XDP_SOCKET_H

#include <stddef.h>
#include <stdint.h>
#include <xdp/xsk.h>

#include "protocol/util.h"

#define XDP_QUEUES     16 /* of a tap; QUEUES of xdp.bpf.c */
#define XDP_RING       32 /* frames each way; a power of two, and twice a window of protocol/dgram.h */
#define XDP_FRAME_SIZE 2048

struct xdp_socket {
	struct xsk_umem *umem;
	struct xsk_socket *xsk;
	struct xsk_ring_prod fill, tx;
	struct xsk_ring_cons rx, completion;
	uint8_t *area;		   /* 2 * XDP_RING frames, the first half for receiving */
	uint64_t idle[XDP_RING];   /* frames for sending that the kernel does not have */
	unsigned int n_idle;
	bool kick;		   /* frames are queued that the kernel was not told of */
};

/* -EINVAL: the interface has no such queue. -EBUSY: somebody else has a socket there. */
int xdp_socket_new(const char *ifname, unsigned int queue, struct xdp_socket **ret);
/* NULL is allowed. */
void xdp_socket_free(struct xdp_socket *s);
DEFINE_CLEANUP(struct xdp_socket, xdp_socket_free)

int xdp_socket_fd(const struct xdp_socket *s);

/* The next frame into buf[cap] (cut when longer), its length; 0: none. */
size_t xdp_socket_receive(struct xdp_socket *s, void *buf, size_t cap);

/* Where a frame of at most XDP_FRAME_SIZE may be written that xdp_socket_send() then sends. NULL: all are under way. */
uint8_t *xdp_socket_reserve(struct xdp_socket *s);
void xdp_socket_send(struct xdp_socket *s, size_t len);

/* Tells the kernel. 0, also when it is busy and has to be told again; -errno when the interface is gone or down. */
int xdp_socket_flush(struct xdp_socket *s);

#endif
