/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the xdp link has to know of a network interface; asked by ioctl, as sysfs may show another namespace. */
#ifndef VMPOKE_VMM_LINK_XDP_IFACE_H
#define VMPOKE_VMM_LINK_XDP_IFACE_H

#include "vmm/link/link.h"

struct xdp_iface {
	int index;
	uint8_t mac[LINK_MAC_LEN];
	unsigned int mtu;
	bool up;
	char driver[32]; /* "tun", "veth", ... */
	char bus[32];	 /* "tap" or "tun" of driver tun */
};

/* -ENODEV: no such interface in this network namespace. -errno. */
int xdp_iface_read(const char *name, struct xdp_iface *ret);

#endif
