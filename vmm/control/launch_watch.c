// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Whether a process is the worker of a machine; see launch.h. It is watched and, when somebody destroys the machine,
 * killed: must never take a number for a process.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "protocol/util.h"
#include "vmm/control/launch.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

#define ARGUMENTS_MAX 65536 /* bytes of a command line; those we give a worker have less */

/* Of exactly the process that listens where the kernel can tell; else of whoever has its number now. */
static int watch(pid_t pid, int fd)
{
	int pidfd = -1;
	socklen_t len = sizeof(pidfd);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len) == 0 && pidfd >= 0)
		return pidfd;
	pidfd = pidfd_open(pid, 0);
	return pidfd < 0 ? -errno : pidfd;
}

static bool has_argument(const char *text, size_t len, const char *name, const char *value)
{
	size_t name_len = strlen(name) + 1, value_len = value ? strlen(value) + 1 : 0;

	for (size_t at = 0; at + name_len + value_len <= len; at += strlen(text + at) + 1)
		if (memcmp(text + at, name, name_len) == 0 && (!value || memcmp(text + at + name_len, value, value_len) == 0))
			return true;
	return false;
}

/* Until a worker listens itself, SO_PEERCRED names the vmpoked that started it: that may be gone, and another one have its number. */
static int look(pid_t pid, const char *name)
{
	_cleanup_free_ char *text = NULL;
	char path[48];
	struct stat st;
	size_t len;

	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	if (stat(path, &st) < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return -EPERM;
	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	int r = read_file(path, ARGUMENTS_MAX, &text, &len);
	if (r < 0)
		return r == -ENOENT ? -ESRCH : r;
	return has_argument(text, len, "--name", name) && has_argument(text, len, "--listen-fd", NULL) ? 0 : -EPERM;
}

int launch_watch(const char *name, pid_t pid, int fd, int *ret_pidfd)
{
	_cleanup_close_ int pidfd = watch(pid, fd);

	if (pidfd < 0)
		return pidfd;
	int r = look(pid, name);
	/* Alive now, so it was alive before: what was looked at was this one. */
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	if (poll(&p, 1, 0) != 0)
		return -ESRCH;
	if (r == 0)
		*ret_pidfd = TAKE_FD(pidfd);
	return r;
}
