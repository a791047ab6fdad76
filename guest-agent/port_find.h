/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finds a virtio-serial port by its name where udev does not. */
#ifndef VMPOKE_AGENT_PORT_FIND_H
#define VMPOKE_AGENT_PORT_FIND_H

#include <stddef.h>

/* dir: /sys/class/virtio-ports, open. Writes "/dev/PORT". 0, -ENOENT: none has that name, -errno. */
int port_find(int dir, const char *name, char *path, size_t cap);

#endif
