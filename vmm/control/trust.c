// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Signed manifests; see trust.h. The signature comes first: nothing of a manifest is
 * looked at before it is known whose it is. Must never take a reason to refuse for a
 * reason to treat the patch as unsigned.
 */
#include "vmm/control/trust.h"

#include <errno.h>
#include <string.h>

#include "vmm/control/serials.h"

static int whose(const struct trust_store *store, json_t *manifest, json_t *signature, struct trust_result *t, struct err *e)
{
	struct minisign_sig sig;
	int r = minisign_sig_parse(json_string_value(signature), json_string_length(signature), &sig, e);

	if (r < 0)
		return r;
	minisign_id_format(sig.id, t->key);
	const struct trusted_key *key = keys_find(store->keys, sig.id);
	if (!key)
		return err_set(e, ERR_REFUSED, EACCES, "untrusted-key", "signed by key %s, which is not one of the trusted keys", t->key);
	return minisign_verify(&key->key, &sig, json_string_value(manifest), json_string_length(manifest), e);
}

static int hash_check(const void *bytes, size_t len, const uint8_t *expected, const char *what, struct err *e)
{
	uint8_t hash[MANIFEST_HASH_LEN];
	char found[2 * MANIFEST_HASH_LEN + 1];

	minisign_sha256(bytes, len, hash);
	if (memcmp(hash, expected, sizeof(hash)) == 0)
		return 0;
	hex_encode(hash, sizeof(hash), found);
	return err_set(e, ERR_REFUSED, EACCES, "tampered", "the %s is not the one that was signed: its SHA-256 is %s", what, found);
}

/* Sent in hex, signed as bytes. */
static int object_check(const struct manifest *m, json_t *object, struct err *e)
{
	size_t n = object ? json_string_length(object) / 2 : 0;
	_cleanup_free_ uint8_t *bytes = malloc(n + 1);

	if (m->n_objects != (object ? 1u : 0u))
		return err_set(e, ERR_REFUSED, EACCES, "tampered", "the manifest is for %zu object files, and %s came with the patch",
			       m->n_objects, object ? "one" : "none");
	if (!object)
		return 0;
	if (!bytes)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	ssize_t got = hex_decode(json_string_value(object), bytes, n);
	if (got < 0)
		return err_set(e, ERR_USAGE, EINVAL, NULL, "'object' must be bytes in hex");
	return hash_check(bytes, (size_t)got, m->objects[0], "object file", e);
}

static int content_check(const struct manifest *m, json_t *args, struct err *e)
{
	json_t *text = json_object_get(args, "text");
	_cleanup_(patchfile_free) struct patchfile *patch = NULL;
	int r = hash_check(json_string_value(text), json_string_length(text), m->sha256, "patch file", e);

	if (r == 0)
		r = object_check(m, json_object_get(args, "object"), e);
	if (r == 0)
		r = patchfile_parse(json_string_value(text), json_string_length(text), "patch", &patch, e);
	if (r == 0 && strcmp(patch->name, m->patch) != 0)
		return err_set(e, ERR_REFUSED, EACCES, "tampered", "the manifest is for patch '%s', this one's name is '%s'", m->patch,
			       patch->name);
	return r;
}

static int expiry_check(const struct trust_store *store, const struct manifest *m, struct err *e)
{
	char when[21];

	if (!m->expires || store->now < m->expires)
		return 0;
	manifest_time_format(m->expires, when);
	return err_set(e, ERR_REFUSED, EACCES, "expired", "the manifest of patch '%s' expired on %s", m->patch, when);
}

static int scope_check(const struct trust_store *store, const struct trust_result *t, const char *vm, struct err *e)
{
	const struct manifest *m = &t->manifest;

	if (vm && !manifest_allows_vm(m, vm))
		return err_set(e, ERR_REFUSED, EACCES, "wrong-vm", "the manifest of patch '%s' is not for the VM '%.64s'", m->patch, vm);
	int r = expiry_check(store, m, e);
	return r < 0 ? r : serials_check(store->serials_fd, t->key, m->patch, m->serial, t->sha256, e);
}

static int arguments_check(json_t *args, struct err *e)
{
	if (!json_object_get(args, "manifest"))
		return err_set(e, ERR_USAGE, EINVAL, NULL, "'signature' goes with 'manifest'");
	if (!json_object_get(args, "signature"))
		return err_set(e, ERR_USAGE, EINVAL, NULL, "'manifest' goes with 'signature'");
	if (!json_object_get(args, "text"))
		return err_set(e, ERR_USAGE, EINVAL, NULL, "'manifest' goes with 'text': the patch file itself is what is compared");
	return 0;
}

int trust_check(const struct trust_store *store, json_t *args, const char *vm, struct trust_result *ret, struct err *e)
{
	json_t *manifest = json_object_get(args, "manifest"), *signature = json_object_get(args, "signature");

	*ret = (struct trust_result){ 0 };
	if (!manifest && !signature)
		return 0;
	int r = arguments_check(args, e);
	if (r == 0)
		r = whose(store, manifest, signature, ret, e);
	if (r == 0)
		r = manifest_parse(json_string_value(manifest), json_string_length(manifest), "manifest", &ret->manifest, e);
	if (r < 0)
		return r;
	minisign_sha256(json_string_value(manifest), json_string_length(manifest), ret->sha256);
	r = content_check(&ret->manifest, args, e);
	if (r == 0)
		r = scope_check(store, ret, vm, e);
	ret->is_signed = r == 0;
	return r;
}

int trust_take(const struct trust_store *store, const struct trust_result *t, struct err *e)
{
	return serials_take(store->serials_fd, t->key, t->manifest.patch, t->manifest.serial, t->sha256, e);
}
