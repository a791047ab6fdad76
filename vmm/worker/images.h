/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A folder of kernels' files by build-id, as debuggers look for files (gdb, "debugging information in separate
 * files"; debuginfod-find(1) for its cache): DIR/.build-id/xx/yyyy, the same with .debug, DIR/xxyyyy/executable.
 */
#ifndef VMPOKE_VMM_WORKER_IMAGES_H
#define VMPOKE_VMM_WORKER_IMAGES_H

/*
 * Opens the first of these that is a regular file, for reading; the caller owns the descriptor. What is in it is not
 * looked at. build_id: lower-case hexadecimal, at least 4 digits. -ENOENT; -EINVAL; -errno of the last one else.
 */
int images_open(const char *dir, const char *build_id);

#endif
