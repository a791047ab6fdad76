// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Finds the file of a guest's kernel; see images.h. The build-id is the guest's word: it becomes part of
 * a path only as hexadecimal digits. Must never wait for anything: a FIFO of that name is not opened for good.
 */
#include "vmm/worker/images.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "protocol/util.h"

static int open_file(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? TAKE_FD(fd) : -ENOENT;
}

/* Where it may be, in this order; false: there is no such form. */
static bool path_of(char *path, size_t cap, int form, const char *dir, const char *id)
{
	int n = -1;

	if (form == 0)
		n = snprintf(path, cap, "%s/.build-id/%.2s/%s", dir, id, id + 2);
	else if (form == 1)
		n = snprintf(path, cap, "%s/.build-id/%.2s/%s.debug", dir, id, id + 2);
	else if (form == 2)
		n = snprintf(path, cap, "%s/%s/executable", dir, id);
	return n >= 0 && (size_t)n < cap;
}

int images_open(const char *dir, const char *build_id)
{
	size_t digits = strspn(build_id, "0123456789abcdef");
	char path[PATH_MAX];
	int r = -ENOENT;

	if (digits < 4 || build_id[digits])
		return -EINVAL;
	for (int form = 0; path_of(path, sizeof(path), form, dir, build_id); form++) {
		int fd = open_file(path);

		if (fd >= 0)
			return fd;
		if (fd != -ENOENT && fd != -ENOTDIR)
			r = fd;
	}
	return r;
}
