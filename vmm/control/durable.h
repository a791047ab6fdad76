/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small files that must be whole whenever somebody looks, also after a power cut. */
#ifndef VMPOKE_CONTROL_DURABLE_H
#define VMPOKE_CONTROL_DURABLE_H

#include "protocol/err.h"

/*
 * Opens the folder name of the state folder, which is made (mode 0700) when missing; a symlink is not followed. The
 * descriptor, or -errno, ERR_FAILED.
 */
int durable_folder(const char *state_dir, const char *name, struct err *e);

/*
 * Puts text and a line end into file of the folder: written under the name tmp (mode 0600), fsync,
 * rename, fsync of the folder. 0 or -errno; on failure what was there before still is.
 */
int durable_write(int dirfd, const char *tmp, const char *file, const char *text);

/* -errno; a file that is not there is fine. */
int durable_remove(int dirfd, const char *file);

#endif
