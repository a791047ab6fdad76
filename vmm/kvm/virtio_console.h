/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtio console with one named port, /dev/virtio-ports/org.vmpoke.agent.0 in
 * the guest: a byte pipe between the guest's agent and a stream socket on the host.
 */
#ifndef VMPOKE_VMM_KVM_VIRTIO_CONSOLE_H
#define VMPOKE_VMM_KVM_VIRTIO_CONSOLE_H

#include "vmm/kvm/virtio.h"

#define VIRTIO_CONSOLE_PORT_NAME "org.vmpoke.agent.0"

/* Queues (5.3.2): those of port 0, which we do not offer, control, port 1. */
enum virtio_console_queue { CONSOLE_CONTROL_IN = 2, CONSOLE_CONTROL_OUT = 3, CONSOLE_PORT_IN = 4, CONSOLE_PORT_OUT = 5 };

struct virtio_console;

int virtio_console_create(struct memory *mem, struct virtio_irq *irq, struct virtio_console **ret, struct err *e);
void virtio_console_destroy(struct virtio_console *c); /* NULL allowed */
struct virtio_device *virtio_console_device(struct virtio_console *c);

/*
 * Plugs a new host end in and returns it: a connected, non-blocking stream socket
 * owned by the caller. The one before, if any, sees its end. Closing it is what
 * the guest sees as "host closed"; what the guest had not taken by then is dropped.
 */
int virtio_console_connect(struct virtio_console *c, struct err *e);

/* Has the guest opened the port? *ret_opens (NULL allowed): how often it did so far. */
bool virtio_console_is_open(struct virtio_console *c, uint64_t *ret_opens);

#endif
