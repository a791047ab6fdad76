// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tracefs and debugfs are often not mounted, and to mount them for all to see is
 * not the agent's business: it makes a mount that hangs nowhere and is gone with it.
 */
#include "guest-agent/roots.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* uapi/linux/mount.h and the numbers all architectures share since 5.2; older C libraries lack them. */
#define NR_FSOPEN	 430
#define NR_FSCONFIG	 431
#define NR_FSMOUNT	 432
#define OPEN_CLOEXEC	 1
#define CONFIG_CREATE	 6
#define MOUNT_CLOEXEC	 1
#define ATTR_READ_ONLY	 0x0f /* and nosuid, nodev, noexec */

static int private_mount(const char *type)
{
	int mount = -1, fs = (int)syscall(NR_FSOPEN, type, OPEN_CLOEXEC);

	if (fs < 0)
		return -1;
	if (!syscall(NR_FSCONFIG, fs, CONFIG_CREATE, NULL, NULL, 0))
		mount = (int)syscall(NR_FSMOUNT, fs, MOUNT_CLOEXEC, ATTR_READ_ONLY);
	close(fs);
	return mount;
}

static int folder(int dir, const char *path)
{
	return openat(dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int roots_open(struct agent_roots *ret)
{
	struct agent_roots r = { .root = folder(AT_FDCWD, "/") };

	if (r.root < 0)
		return -errno;
	r.tracefs = private_mount("tracefs");
	if (r.tracefs < 0)
		r.tracefs = folder(r.root, "sys/kernel/tracing");
	r.debugfs = private_mount("debugfs");
	if (r.debugfs < 0)
		r.debugfs = folder(r.root, "sys/kernel/debug");
	*ret = r;
	return 0;
}
