/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Listening sockets that a service manager made for us (systemd.socket(5), sd_listen_fds(3)):
 * those of the socket units, which name them with FileDescriptorName=.
 */
#ifndef VMPOKE_CONTROL_ACTIVATION_H
#define VMPOKE_CONTROL_ACTIVATION_H

#include "protocol/err.h"

#define ACTIVATION_NAME "control"
#define ACTIVATION_NAME_RO "control-ro"

/* -1: none was passed. */
struct activation {
	int rw, ro;
};

/*
 * Finds ours among n descriptors from first on; names has n strings. *ret borrows the descriptors.
 * ERR_FAILED when one is not ours, is passed twice, or does not listen on a path: whoever wrote such
 * a unit believes in a socket that would not be there.
 */
int activation_sort(int first, int n, char *const *names, struct activation *ret, struct err *e);

#endif
