// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See activation.h. Must never use a descriptor that is not what its name says:
 * control-ro.sock is open to every user of the machine.
 */
#include "vmm/control/activation.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

static int *slot(struct activation *a, const char *name)
{
	if (strcmp(name, ACTIVATION_NAME) == 0)
		return &a->rw;
	return strcmp(name, ACTIVATION_NAME_RO) == 0 ? &a->ro : NULL;
}

static int take(struct activation *a, int fd, const char *name, struct err *e)
{
	int *to = slot(a, name);

	if (!to)
		return err_set(e, ERR_FAILED, EINVAL, NULL, "the service manager passes a socket '%.64s': FileDescriptorName= must be "
			       ACTIVATION_NAME " or " ACTIVATION_NAME_RO, name);
	if (*to >= 0)
		return err_set(e, ERR_FAILED, EEXIST, NULL, "the service manager passes two sockets '%s'", name);
	if (sd_is_socket_unix(fd, SOCK_STREAM, 1, NULL, 0) <= 0)
		return err_set(e, ERR_FAILED, ENOTSOCK, NULL, "the service manager's '%s' is no listening stream socket with a path",
			       name);
	*to = fd;
	return 0;
}

int activation_sort(int first, int n, char *const *names, struct activation *ret, struct err *e)
{
	struct activation a = { .rw = -1, .ro = -1 };
	int r = 0;

	for (int i = 0; r == 0 && i < n; i++)
		r = take(&a, first + i, names[i], e);
	if (r == 0)
		*ret = a;
	return r;
}
