/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Public keys and detached signatures of minisign, verified with libsodium: Ed25519
 * over the file ("Ed") or over its BLAKE2b-512 ("ED"), and over the trusted comment.
 * Nothing here makes signatures or reads files.
 * Format: https://jedisct1.github.io/minisign/ (checked against minisign 0.11).
 */
#ifndef VMPOKE_PROTOCOL_MINISIGN_H
#define VMPOKE_PROTOCOL_MINISIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/err.h"

#define MINISIGN_KEY_SIZE_MAX 1024u  /* bytes of a .pub file */
#define MINISIGN_SIG_SIZE_MAX 4096u  /* bytes of a .minisig file */
#define MINISIGN_ID_LEN 8
#define MINISIGN_ID_TEXT (2 * MINISIGN_ID_LEN + 1) /* bytes of an id as text */
#define MINISIGN_COMMENT_MAX 1024

struct minisign_key {
	uint8_t id[MINISIGN_ID_LEN];
	uint8_t key[32];
};

struct minisign_sig {
	bool prehashed; /* "ED" */
	uint8_t id[MINISIGN_ID_LEN];
	uint8_t sig[64], global[64];
	char comment[MINISIGN_COMMENT_MAX]; /* the trusted one */
};

/* Text need not be NUL-terminated. -EINVAL, ERR_USAGE (rule "key" or "signature") with what is wrong with it. */
int minisign_key_parse(const char *text, size_t len, struct minisign_key *ret, struct err *e);
int minisign_sig_parse(const char *text, size_t len, struct minisign_sig *ret, struct err *e);

/* 0; -EBADMSG (ERR_REFUSED, rule "signature") when text or comment are not what that key signed, or it is another key's. */
int minisign_verify(const struct minisign_key *key, const struct minisign_sig *sig, const void *text, size_t len,
		    struct err *e);

/* 16 upper-case hex digits; minisign itself leaves leading zeros away. */
void minisign_id_format(const uint8_t id[static MINISIGN_ID_LEN], char buf[static MINISIGN_ID_TEXT]);

/* SHA-256. */
void minisign_sha256(const void *bytes, size_t len, uint8_t ret[static 32]);

#endif
