/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The public keys whose signatures count: the files *.pub of a folder, minisign's format. */
#ifndef VMPOKE_CONTROL_KEYS_H
#define VMPOKE_CONTROL_KEYS_H

#include <jansson.h>
#include <limits.h>
#include <stddef.h>

#include "protocol/minisign.h"

#define KEYS_MAX 64

struct trusted_key {
	struct minisign_key key;
	char id[MINISIGN_ID_TEXT];
	char file[NAME_MAX + 1]; /* in the folder */
};

struct keys {
	size_t n;
	struct trusted_key list[KEYS_MAX]; /* in the order of file names */
};

/* Malloc'ed. A folder that is not there has no keys. One file that is no key, or a key twice: no keys at all, and *e. */
int keys_load(const char *folder, struct keys **ret, struct err *e);

/* NULL: it is not trusted. */
const struct trusted_key *keys_find(const struct keys *k, const uint8_t id[static MINISIGN_ID_LEN]);

/* [{"id", "file"}] */
json_t *keys_json(const struct keys *k);

#endif
