// SPDX-License-Identifier: GPL-2.0-or-later
/* See durable.h. Must never leave a half-written file under its final name. */
#include "vmm/control/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "protocol/util.h"

int durable_folder(const char *state_dir, const char *name, struct err *e)
{
	_cleanup_close_ int state = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (state < 0)
		return err_set(e, ERR_FAILED, errno, NULL, "cannot open the state folder %s: %s", state_dir, strerror(errno));
	if (mkdirat(state, name, 0700) < 0 && errno != EEXIST)
		return err_set(e, ERR_FAILED, errno, NULL, "cannot make %s/%s: %s", state_dir, name, strerror(errno));
	int fd = openat(state, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? err_set(e, ERR_FAILED, errno, NULL, "cannot open %s/%s: %s", state_dir, name, strerror(errno)) : fd;
}

int durable_write(int dirfd, const char *tmp, const char *file, const char *text)
{
	_cleanup_close_ int fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	int r = write_full(fd, text, strlen(text));
	if (r == 0)
		r = write_full(fd, "\n", 1);
	if (r == 0 && (fsync(fd) < 0 || renameat(dirfd, tmp, dirfd, file) < 0))
		r = -errno;
	if (r < 0)
		unlinkat(dirfd, tmp, 0);
	else if (fsync(dirfd) < 0)
		r = -errno;
	return r;
}

int durable_remove(int dirfd, const char *file)
{
	return (unlinkat(dirfd, file, 0) < 0 && errno != ENOENT) || fsync(dirfd) < 0 ? -errno : 0;
}
