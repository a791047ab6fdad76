/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Is what a request wants to apply signed by somebody we trust, and meant for here and now? */
#ifndef VMPOKE_CONTROL_TRUST_H
#define VMPOKE_CONTROL_TRUST_H

#include <jansson.h>
#include <stdbool.h>

#include "protocol/manifest.h"
#include "vmm/control/keys.h"

struct trust_store {
	const struct keys *keys;
	int serials_fd;	    /* of serials_open() */
	int64_t now;	    /* seconds since 1970 */
};

struct trust_result {
	bool is_signed;		     /* false: the request came without a manifest, and the rest is empty */
	char key[MINISIGN_ID_TEXT];
	uint8_t sha256[32];	     /* of the manifest */
	struct manifest manifest;
};

/*
 * args: "text" and "object" with "manifest" and "signature", as of patch-apply; vm may be NULL (a pattern:
 * the manifest's own list is left to whoever applies it). Build-ids are not looked at: the worker does. ERR_USAGE, or
 * ERR_REFUSED with rule "untrusted-key", "signature", "tampered", "wrong-vm", "expired", "replayed" or "revoked".
 * ret->key is filled as soon as it is known. Notes no serial.
 */
int trust_check(const struct trust_store *store, json_t *args, const char *vm, struct trust_result *ret, struct err *e);

/* Notes the serial, durably, before the patch is used. */
int trust_take(const struct trust_store *store, const struct trust_result *t, struct err *e);

#endif
