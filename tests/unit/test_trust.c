// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Signed manifests: parsed, verified, expired, replayed, revoked. The signatures are made here with
 * libsodium in minisign's two forms; tests/e2e/policy.sh has minisign itself make them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/util.h"
#include "vmm/control/serials.h"
#include "vmm/control/trust.h"

#define NOW 1800000000

static const char patch_text[] = "vmpoke: 1\nname: fix\nsites:\n  - { at: f, kind: return, value: 1 }\n";

static uint8_t secret[64];
static struct keys keys;
static char dir[] = "/tmp/vmpoke-trust.XXXXXX";
static int serials_fd = -1;

static int setup(void **state)
{
	struct err e;

	(void)state;
	assert_true(sodium_init() >= 0);
	memset(&keys, 0, sizeof(keys));
	keys.n = 1;
	crypto_sign_keypair(keys.list[0].key.key, secret);
	memcpy(keys.list[0].key.id, "\x01\x02\x03\x04\x05\x06\x07\xab", MINISIGN_ID_LEN);
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(serials_open(dir, &serials_fd, &e), 0);
	return 0;
}

static int teardown(void **state)
{
	char command[64];

	(void)state;
	close(serials_fd);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static void base64(char *buf, size_t cap, const void *bytes, size_t n)
{
	sodium_bin2base64(buf, cap, bytes, n, sodium_base64_VARIANT_ORIGINAL);
}

/* As minisign writes it. */
static void sign(const char *text, bool prehashed, const char *comment, char *buf, size_t cap)
{
	uint8_t raw[74], hash[64], both[64 + 256], global[64];
	char line1[128], line2[128];

	memcpy(raw, prehashed ? "ED" : "Ed", 2);
	memcpy(raw + 2, keys.list[0].key.id, MINISIGN_ID_LEN);
	crypto_generichash(hash, sizeof(hash), (const uint8_t *)text, strlen(text), NULL, 0);
	if (prehashed)
		crypto_sign_detached(raw + 10, NULL, hash, sizeof(hash), secret);
	else
		crypto_sign_detached(raw + 10, NULL, (const uint8_t *)text, strlen(text), secret);
	memcpy(both, raw + 10, 64);
	memcpy(both + 64, comment, strlen(comment));
	crypto_sign_detached(global, NULL, both, 64 + strlen(comment), secret);
	base64(line1, sizeof(line1), raw, sizeof(raw));
	base64(line2, sizeof(line2), global, sizeof(global));
	snprintf(buf, cap, "untrusted comment: x\n%s\ntrusted comment: %s\n%s\n", line1, comment, line2);
}

static void manifest(char *buf, size_t cap, const char *more, unsigned serial)
{
	uint8_t hash[32];
	char hex[65];

	minisign_sha256(patch_text, strlen(patch_text), hash);
	hex_encode(hash, sizeof(hash), hex);
	snprintf(buf, cap, "vmpoke-manifest: 1\npatch: fix\nsha256: %s\nserial: %u\n%s", hex, serial, more);
}

static int check(json_t *args, const char *vm, struct err *e)
{
	struct trust_store store = { .keys = &keys, .serials_fd = serials_fd, .now = NOW };
	struct trust_result t;
	int r = trust_check(&store, args, vm, &t, e);

	if (r == 0 && t.is_signed)
		r = trust_take(&store, &t, e);
	json_decref(args);
	return r;
}

static json_t *request(const char *text, const char *m, const char *sig)
{
	return json_pack("{s:s, s:s, s:s}", "text", text, "manifest", m, "signature", sig);
}

static void refused(json_t *args, const char *rule, const char *sentence)
{
	struct err e = { 0 };

	assert_int_not_equal(check(args, "web1", &e), 0);
	if (strcmp(e.rule, rule) != 0 || !strstr(e.text, sentence))
		fail_msg("rule %s, sentence %s; not %s, %s", e.rule, e.text, rule, sentence);
	assert_int_equal(e.kind, ERR_REFUSED);
}

static void test_good(void **state)
{
	char m[1024], sig[1024];
	struct err e;

	(void)state;
	for (int prehashed = 0; prehashed < 2; prehashed++) {
		manifest(m, sizeof(m), "vms: [\"web*\"]\nexpires: 2030-01-01\n", 5 + (unsigned)prehashed);
		sign(m, prehashed, "hello", sig, sizeof(sig));
		assert_int_equal(check(request(patch_text, m, sig), "web1", &e), 0);
		assert_int_equal(check(request(patch_text, m, sig), "web2", &e), 0); /* again is no replay */
	}
	assert_int_equal(check(json_pack("{s:s}", "text", patch_text), "web1", &e), 0); /* unsigned: the policy's affair */
}

static void test_refusals(void **state)
{
	char m[1024], sig[1024], other[1024];

	(void)state;
	manifest(m, sizeof(m), "vms: [\"db*\"]\n", 5);
	sign(m, true, "c", sig, sizeof(sig));
	refused(request(patch_text, m, sig), "wrong-vm", "is not for the VM 'web1'");
	manifest(m, sizeof(m), "expires: 2027-01-15T08:00:00Z\n", 5); /* NOW to the second */
	sign(m, true, "c", sig, sizeof(sig));
	refused(request(patch_text, m, sig), "expired", "expired on 2027-01-15T08:00:00Z");
	manifest(m, sizeof(m), "", 5);
	sign(m, true, "c", sig, sizeof(sig));
	refused(request("vmpoke: 1\nname: fix\nsites:\n  - { at: f, kind: return, value: 2 }\n", m, sig), "tampered", "patch file is not the one");
	manifest(other, sizeof(other), "", 6);
	refused(request(patch_text, other, sig), "signature", "does not fit");
	json_t *args = request(patch_text, m, sig);
	json_object_set_new(args, "object", json_string("0102"));
	refused(args, "tampered", "0 object files");
	keys.n = 0;
	refused(request(patch_text, m, sig), "untrusted-key", "signed by key AB07060504030201");
	keys.n = 1;
	assert_int_equal(crypto_sign_keypair(keys.list[0].key.key, secret), 0);
	refused(request(patch_text, m, sig), "signature", "does not fit"); /* another key of the same id */
}

/* The trusted comment is signed as well. */
static void test_comment(void **state)
{
	char m[1024], sig[1024];

	(void)state;
	manifest(m, sizeof(m), "", 5);
	sign(m, true, "by alice", sig, sizeof(sig));
	memcpy(strstr(sig, "alice"), "mallo", 5);
	refused(request(patch_text, m, sig), "signature", "trusted comment");
}

static void test_objects(void **state)
{
	char m[1024], sig[1024], list[128], hex[65];
	uint8_t hash[32];
	struct err e;

	(void)state;
	minisign_sha256("\x01\x02", 2, hash);
	hex_encode(hash, sizeof(hash), hex);
	snprintf(list, sizeof(list), "objects: [%s]\n", hex);
	manifest(m, sizeof(m), list, 5);
	sign(m, true, "c", sig, sizeof(sig));
	refused(request(patch_text, m, sig), "tampered", "none came");
	json_t *args = request(patch_text, m, sig);
	json_object_set_new(args, "object", json_string("0103"));
	refused(args, "tampered", "object file is not the one");
	args = request(patch_text, m, sig);
	json_object_set_new(args, "object", json_string("0102"));
	assert_int_equal(check(args, "web1", &e), 0);
}

static void test_serials(void **state)
{
	char m5[1024], m6[1024], m5b[1024], s5[1024], s6[1024], s5b[1024];
	uint64_t revoked;
	struct err e;

	(void)state;
	manifest(m5, sizeof(m5), "", 5);
	manifest(m5b, sizeof(m5b), "vms: [\"*\"]\n", 5);
	manifest(m6, sizeof(m6), "", 6);
	sign(m5, true, "c", s5, sizeof(s5));
	sign(m5b, true, "c", s5b, sizeof(s5b));
	sign(m6, true, "c", s6, sizeof(s6));
	assert_int_equal(check(request(patch_text, m5, s5), "web1", &e), 0);
	refused(request(patch_text, m5b, s5b), "replayed", "with another manifest");
	assert_int_equal(check(request(patch_text, m6, s6), "web1", &e), 0);
	refused(request(patch_text, m5, s5), "replayed", "older than serial 6");
	assert_int_equal(check(request(patch_text, m6, s6), "web1", &e), 0);
	assert_int_equal(serials_revoke(serials_fd, "AB07060504030201", "fix", 0, &revoked, &e), 0);
	assert_int_equal(revoked, 6);
	refused(request(patch_text, m6, s6), "revoked", "serial 6 of patch 'fix' by key AB07060504030201 is revoked");
	assert_int_equal(serials_revoke(serials_fd, "AB07060504030201", "fix", 2, &revoked, &e), 0);
	assert_int_equal(revoked, 6); /* never less */
	assert_int_equal(serials_revoke(serials_fd, "AB07060504030201", "other", 0, &revoked, &e), -ENOENT);
}

/* What was seen is not forgotten because its file is broken. */
static void test_broken_record(void **state)
{
	char m[1024], sig[1024], path[128];
	struct err e;

	(void)state;
	manifest(m, sizeof(m), "", 5);
	sign(m, true, "c", sig, sizeof(sig));
	assert_int_equal(check(request(patch_text, m, sig), "web1", &e), 0);
	snprintf(path, sizeof(path), "%s/serials/AB07060504030201.fix.json", dir);
	assert_int_equal(truncate(path, 3), 0);
	assert_int_equal(check(request(patch_text, m, sig), "web1", &e), -EBADMSG);
	assert_int_equal(e.kind, ERR_FAILED);
}

static void test_manifest_mistakes(void **state)
{
	static const struct {
		const char *text, *sentence;
	} cases[] = {
		{ "", "m:1: the file is empty" },
		{ "[]", "begins with 'vmpoke-manifest: 1'" },
		{ "vmpoke-manifest: 2\n", "m:1: this format version is not known" },
		{ "vmpoke-manifest: 1\n", "the manifest has no 'patch'" },
		{ "vmpoke-manifest: 1\npatch: a/b\n", "m:2: patch must be" },
		{ "vmpoke-manifest: 1\nsha256: 12\n", "m:2: a SHA-256 must be" },
		{ "vmpoke-manifest: 1\nserial: 0\n", "m:2: serial must be" },
		{ "vmpoke-manifest: 1\nserial: 010\n", "m:2: serial must be" },
		{ "vmpoke-manifest: 1\nserial: -1\n", "m:2: serial must be" },
		{ "vmpoke-manifest: 1\nserial: 9007199254740993\n", "m:2: serial must be" },
		{ "vmpoke-manifest: 1\nexpires: tomorrow\n", "m:2: expires must be" },
		{ "vmpoke-manifest: 1\nexpires: 2027-02-30\n", "m:2: expires must be" },
		{ "vmpoke-manifest: 1\nexpires: 2027-1-30\n", "m:2: expires must be" },
		{ "vmpoke-manifest: 1\nexpires: 2027-01-30T25:00:00Z\n", "m:2: expires must be" },
		{ "vmpoke-manifest: 1\nexpires: 2027-01-30T05:00:00\n", "m:2: expires must be" },
		{ "vmpoke-manifest: 1\nbuild-ids: []\n", "m:2: build-ids is empty" },
		{ "vmpoke-manifest: 1\nbuild-ids: [12]\n", "m:2: a build-id must be" },
		{ "vmpoke-manifest: 1\nvms: [\"a b\"]\n", "m:2: a VM must be" },
		{ "vmpoke-manifest: 1\nvms: web\n", "m:2: vms must be a list" },
		{ "vmpoke-manifest: 1\nallow: all\n", "m:2: unknown key 'allow'" },
		{ "vmpoke-manifest: 1\nserial: 1\nserial: 2\n", "m:3: 'serial' is given twice" },
	};
	struct manifest m;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_true(manifest_parse(cases[i].text, strlen(cases[i].text), "m", &m, &e) < 0);
		if (!strstr(e.text, cases[i].sentence))
			fail_msg("%s\nsays: %s\nnot:  %s", cases[i].text, e.text, cases[i].sentence);
		assert_string_equal(e.rule, "manifest");
	}
}

/* What is printed is read back as the same. */
static void test_manifest_format(void **state)
{
	struct manifest a = { .patch = "fix", .serial = 1ull << 53, .expires = NOW, .n_vms = 2, .n_build_ids = 1, .n_objects = 1 }, b;
	struct err e = { 0 };
	char *text;

	(void)state;
	strcpy(a.vms[0], "*");
	strcpy(a.vms[1], "web[12]?");
	a.build_ids[0].len = 20;
	memset(a.build_ids[0].bytes, 0x11, 20);
	memset(a.sha256, 0xe1, sizeof(a.sha256));
	assert_int_equal(manifest_format(&a, &text), 0);
	if (manifest_parse(text, strlen(text), "m", &b, &e) < 0)
		fail_msg("%s", e.text);
	assert_memory_equal(&a, &b, sizeof(a));
	free(text);
}

static void test_formats(void **state)
{
	static const char *const keys_bad[] = {
		"", "x\ny\n", "untrusted comment: a\n", "untrusted comment: a\nAAAA\n", "untrusted comment: a\n\n",
		"untrusted comment: minisign public key\nRWQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\nmore\n",
		"untrusted comment: other algorithm\nRVgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
	};
	struct minisign_key key;
	struct minisign_sig sig;
	char text[1024];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(keys_bad); i++)
		assert_int_equal(minisign_key_parse(keys_bad[i], strlen(keys_bad[i]), &key, NULL), -EINVAL);
	assert_int_equal(minisign_key_parse("untrusted comment: k\r\nRWQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n", 80, &key, NULL), 0);
	sign("x", true, "c", text, sizeof(text));
	assert_int_equal(minisign_sig_parse(text, strlen(text), &sig, NULL), 0);
	for (size_t n = 0; n < strlen(text) - 1; n++) /* cut anywhere; the last line's end may be missing */
		assert_int_equal(minisign_sig_parse(text, n, &sig, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_good, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_comment, setup, teardown),
		cmocka_unit_test_setup_teardown(test_objects, setup, teardown),
		cmocka_unit_test_setup_teardown(test_serials, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken_record, setup, teardown),
		cmocka_unit_test(test_manifest_mistakes),
		cmocka_unit_test(test_manifest_format),
		cmocka_unit_test(test_formats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
