/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The agent's frames of one tap: the BPF program that takes them out and a socket for each queue. */
#ifndef VMPOKE_VMM_LINK_XDP_TAP_H
#define VMPOKE_VMM_LINK_XDP_TAP_H

#include "vmm/link/xdp_iface.h"
#include "vmm/link/xdp_socket.h"

struct xdp_bpf;

struct xdp_tap {
	struct xdp_bpf *skel;
	int bpf_link_fd, epoll_fd;
	struct xdp_socket *queues[XDP_QUEUES]; /* we send on the first */
	unsigned int n_queues;
	bool native; /* the program runs in the driver; false: behind it ("skb") */
};

/* Are these kernel and these privileges enough? 0, or -errno and why. */
int xdp_tap_check(char *why, size_t cap);

/* From its success on, frames from mac come to the sockets. Closed with xdp_tap_close(), or the end of the process. */
int xdp_tap_open(struct xdp_tap *ret, const char *ifname, const struct xdp_iface *iface,
		 const uint8_t mac[LINK_MAC_LEN], struct err *e);
/* Of a zeroed one too. */
void xdp_tap_close(struct xdp_tap *tap);

#endif
