/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The highest serial seen of each signed patch, by key and patch name: STATE/serials/KEY.PATCH.json.
 * It keeps an older manifest, which was signed as well, from being used again.
 */
#ifndef VMPOKE_CONTROL_SERIALS_H
#define VMPOKE_CONTROL_SERIALS_H

#include <stdint.h>

#include "protocol/err.h"

/* Makes STATE/serials when missing and opens it. */
int serials_open(const char *state_dir, int *ret_dirfd, struct err *e);

/*
 * May a manifest with this serial and SHA-256 be used? It may when the serial is higher than any
 * before, or is the highest and the manifest the same one (then applying it again, after a reboot
 * of the guest or by an install rule, is no replay), and it was not revoked. ERR_REFUSED, -EACCES,
 * rule "replayed" or "revoked". key is an id as text.
 */
int serials_check(int dirfd, const char *key, const char *patch, uint64_t serial, const uint8_t sha256[static 32],
		  struct err *e);

/* The same, and notes it, durably. */
int serials_take(int dirfd, const char *key, const char *patch, uint64_t serial, const uint8_t sha256[static 32],
		 struct err *e);

/* From now on no serial up to this one (0: the highest seen) is taken; *ret is that one. -ENOENT, ERR_NOT_FOUND: 0, and none was seen. */
int serials_revoke(int dirfd, const char *key, const char *patch, uint64_t serial, uint64_t *ret, struct err *e);

#endif
