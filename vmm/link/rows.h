/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rows of link_table. */
#ifndef VMPOKE_VMM_LINK_ROWS_H
#define VMPOKE_VMM_LINK_ROWS_H

#include "vmm/link/link.h"

extern const struct link_ops link_virtio_serial; /* virtio_serial.c: a port of the VM, its other end a unix socket */
extern const struct link_ops link_vsock;	 /* vsock.c: AF_VSOCK to the guest's CID */
extern const struct link_ops link_xdp;		 /* xdp.c: frames on the guest's tap; xdp_none.c where built without it */

#endif
