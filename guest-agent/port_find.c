// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * udev names virtio-serial ports in /dev/virtio-ports; where there is no udev (an
 * initramfs) the kernel's own names are all there is: /sys/class/virtio-ports/PORT/name
 * tells which is which.
 */
#include "guest-agent/port_find.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest-agent/lines.h"

/* Whether the port PORT in the folder has that name. */
static bool has_name(int dir, const char *port, const char *name)
{
	char path[300], text[128];

	snprintf(path, sizeof(path), "%s/name", port);
	if (lines_head(dir, path, text, sizeof(text)) <= 0)
		return false;
	text[strcspn(text, "\n")] = '\0';
	return !strcmp(text, name);
}

int port_find(int dir, const char *name, char *path, size_t cap)
{
	_Alignas(8) char buf[1024];
	long n;

	while ((n = syscall(SYS_getdents64, dir, buf, sizeof(buf))) > 0)
		for (long pos = 0; pos < n;) {
			const struct lines_dirent *d = (const void *)(buf + pos);
			pos += d->d_reclen;
			if (d->d_name[0] == '.' || !has_name(dir, d->d_name, name))
				continue;
			return snprintf(path, cap, "/dev/%s", d->d_name) < (int)cap ? 0 : -ENAMETOOLONG;
		}
	return n < 0 ? -errno : -ENOENT;
}
