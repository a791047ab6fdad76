// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * minisign's formats; see minisign.h. Must never take a file for good that minisign
 * itself would not: lines are counted, base64 is strict, nothing may follow.
 */
#include "protocol/minisign.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "protocol/util.h"

#define UNTRUSTED "untrusted comment: "
#define TRUSTED	  "trusted comment: "

struct line {
	const char *text;
	size_t len;
};

/* Splits into exactly n lines; the last one may lack its end. A CR before the LF is not part of a line. */
static int lines_split(const char *text, size_t len, struct line *lines, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *end = memchr(text, '\n', len);
		size_t used = end ? (size_t)(end - text) + 1 : len;

		if (len == 0)
			return -EINVAL;
		lines[i] = (struct line){ text, end ? used - 1 : used };
		if (lines[i].len && text[lines[i].len - 1] == '\r')
			lines[i].len--;
		text += used;
		len -= used;
	}
	return len == 0 ? 0 : -EINVAL;
}

static bool begins(const struct line *l, const char *prefix)
{
	return l->len >= strlen(prefix) && memcmp(l->text, prefix, strlen(prefix)) == 0;
}

/* Exactly n bytes in base64. */
static int base64_exact(const struct line *l, uint8_t *ret, size_t n)
{
	size_t got;

	if (sodium_base642bin(ret, n, l->text, l->len, NULL, &got, NULL, sodium_base64_VARIANT_ORIGINAL) < 0)
		return -EINVAL;
	return got == n ? 0 : -EINVAL;
}

int minisign_key_parse(const char *text, size_t len, struct minisign_key *ret, struct err *e)
{
	uint8_t raw[2 + MINISIGN_ID_LEN + 32];
	struct line lines[2];

	if (len > MINISIGN_KEY_SIZE_MAX || lines_split(text, len, lines, ARRAY_SIZE(lines)) < 0 || !begins(&lines[0], UNTRUSTED) ||
	    base64_exact(&lines[1], raw, sizeof(raw)) < 0)
		return err_set(e, ERR_USAGE, EINVAL, "key", "not a public key of minisign");
	if (memcmp(raw, "Ed", 2) != 0)
		return err_set(e, ERR_USAGE, EINVAL, "key", "a public key of another kind than Ed25519");
	memcpy(ret->id, raw + 2, MINISIGN_ID_LEN);
	memcpy(ret->key, raw + 2 + MINISIGN_ID_LEN, sizeof(ret->key));
	return 0;
}

/* What a signature was made of, except the comment. */
static int sig_take(const uint8_t *raw, struct minisign_sig *s, struct err *e)
{
	s->prehashed = memcmp(raw, "ED", 2) == 0;
	if (!s->prehashed && memcmp(raw, "Ed", 2) != 0)
		return err_set(e, ERR_USAGE, EINVAL, "signature", "a signature of another kind than Ed25519");
	memcpy(s->id, raw + 2, MINISIGN_ID_LEN);
	memcpy(s->sig, raw + 2 + MINISIGN_ID_LEN, sizeof(s->sig));
	return 0;
}

int minisign_sig_parse(const char *text, size_t len, struct minisign_sig *ret, struct err *e)
{
	uint8_t raw[2 + MINISIGN_ID_LEN + 64];
	struct minisign_sig s = { 0 };
	struct line lines[4];

	if (len > MINISIGN_SIG_SIZE_MAX || lines_split(text, len, lines, ARRAY_SIZE(lines)) < 0 || !begins(&lines[0], UNTRUSTED) ||
	    !begins(&lines[2], TRUSTED) || base64_exact(&lines[1], raw, sizeof(raw)) < 0 ||
	    base64_exact(&lines[3], s.global, sizeof(s.global)) < 0)
		return err_set(e, ERR_USAGE, EINVAL, "signature", "not a signature of minisign (a .minisig file)");
	size_t n = lines[2].len - strlen(TRUSTED);
	if (n >= sizeof(s.comment) || memchr(lines[2].text, '\0', lines[2].len))
		return err_set(e, ERR_USAGE, EINVAL, "signature", "the trusted comment is longer than %zu bytes, or binary",
			       sizeof(s.comment) - 1);
	memcpy(s.comment, lines[2].text + strlen(TRUSTED), n);
	int r = sig_take(raw, &s, e);
	if (r == 0)
		*ret = s;
	return r;
}

/* What the first signature is over: the text or its hash. */
static bool text_verifies(const struct minisign_key *key, const struct minisign_sig *sig, const void *text, size_t len)
{
	uint8_t hash[64];

	if (!sig->prehashed)
		return crypto_sign_verify_detached(sig->sig, text, len, key->key) == 0;
	crypto_generichash(hash, sizeof(hash), text, len, NULL, 0);
	return crypto_sign_verify_detached(sig->sig, hash, sizeof(hash), key->key) == 0;
}

/* The second one binds the comment to the first. */
static bool comment_verifies(const struct minisign_key *key, const struct minisign_sig *sig)
{
	uint8_t both[sizeof(sig->sig) + MINISIGN_COMMENT_MAX];
	size_t n = strlen(sig->comment);

	memcpy(both, sig->sig, sizeof(sig->sig));
	memcpy(both + sizeof(sig->sig), sig->comment, n);
	return crypto_sign_verify_detached(sig->global, both, sizeof(sig->sig) + n, key->key) == 0;
}

int minisign_verify(const struct minisign_key *key, const struct minisign_sig *sig, const void *text, size_t len,
		    struct err *e)
{
	char id[MINISIGN_ID_TEXT];

	minisign_id_format(key->id, id);
	if (sodium_init() < 0)
		return err_set(e, ERR_FAILED, EIO, NULL, "libsodium cannot be used");
	if (memcmp(key->id, sig->id, sizeof(key->id)) != 0 || !text_verifies(key, sig, text, len))
		return err_set(e, ERR_REFUSED, EBADMSG, "signature",
			       "the signature of key %s does not fit: the manifest or the signature was changed", id);
	if (!comment_verifies(key, sig))
		return err_set(e, ERR_REFUSED, EBADMSG, "signature",
			       "the trusted comment is not the one key %s has signed", id);
	return 0;
}

/* The id is a little-endian number. */
void minisign_id_format(const uint8_t id[static MINISIGN_ID_LEN], char buf[static MINISIGN_ID_TEXT])
{
	for (size_t i = 0; i < MINISIGN_ID_LEN; i++)
		snprintf(buf + 2 * i, 3, "%02X", id[MINISIGN_ID_LEN - 1 - i]);
}

void minisign_sha256(const void *bytes, size_t len, uint8_t ret[static 32])
{
	crypto_hash_sha256(ret, bytes, len);
}
