// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Manifests; see manifest.h. Must never accept what it does not understand: a key
 * of a later version may forbid what this one would allow.
 */
#include "protocol/manifest.h"

#include <errno.h>
#include <fnmatch.h>
#include <string.h>
#include <time.h>

#include "protocol/patchfile_yaml.h"

enum manifest_key { KEY_VERSION, KEY_PATCH, KEY_SHA256, KEY_OBJECTS, KEY_BUILD_IDS, KEY_VMS, KEY_EXPIRES, KEY_SERIAL };

static const char *const keys[] = {
	"vmpoke-manifest", "patch", "sha256", "objects", "build-ids", "vms", "expires", "serial", NULL,
};

static int fail_here(struct yaml_reader *r, const char *sentence)
{
	return yaml_reader_fail(r, yaml_reader_line(r), "%s", sentence);
}

/* --- times --- */

int manifest_time_parse(const char *text, int64_t *ret)
{
	struct tm tm = { 0 };
	int len = 0;
	char buf[21];

	if (sscanf(text, "%4d-%2d-%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &len) != 3 || len != 10)
		return -EINVAL;
	if (text[10] && (sscanf(text + 10, "T%2d:%2d:%2dZ%n", &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &len) != 3 || len != 10 ||
			 strlen(text) != 20))
		return -EINVAL;
	if (tm.tm_year < 1971)
		return -EINVAL;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	int64_t t = timegm(&tm);
	/* timegm() takes the 31st of April for the 1st of May, sscanf() blanks and signs for digits. */
	manifest_time_format(t, buf);
	if (strncmp(buf, text, strlen(text)) != 0)
		return -EINVAL;
	*ret = t;
	return 0;
}

void manifest_time_format(int64_t t, char buf[static 21])
{
	time_t when = (time_t)t;
	struct tm tm;

	if (!gmtime_r(&when, &tm) || strftime(buf, 21, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		strcpy(buf, "?");
}

/* --- values --- */

static int hash_value(struct yaml_reader *r, uint8_t *ret)
{
	const char *text = yaml_reader_scalar(r);

	if (!text || strlen(text) != 2 * MANIFEST_HASH_LEN || hex_decode(text, ret, MANIFEST_HASH_LEN) != MANIFEST_HASH_LEN)
		return fail_here(r, "a SHA-256 must be 64 hex digits, as sha256sum prints it");
	return 0;
}

static int build_id_value(struct yaml_reader *r, struct manifest_build_id *ret)
{
	const char *text = yaml_reader_scalar(r);
	ssize_t n = text ? hex_decode(text, ret->bytes, sizeof(ret->bytes)) : -EINVAL;

	if (n < 8)
		return fail_here(r, "a build-id must be 8 to 32 bytes in hex, as `vmpoke probe` shows it");
	ret->len = (size_t)n;
	return 0;
}

bool manifest_vm_pattern_valid(const char *text)
{
	size_t len = strlen(text);

	return len > 0 && len <= PATCHFILE_NAME_MAX &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-*?[]!") == len;
}

static int vm_value(struct yaml_reader *r, char *ret)
{
	const char *text = yaml_reader_scalar(r);

	if (!text || !manifest_vm_pattern_valid(text))
		return fail_here(r, "a VM must be a name or a pattern of names, e.g. \"web*\"");
	strcpy(ret, text);
	return 0;
}

/* One element of a list into its place in m. */
static int item_value(struct yaml_reader *r, enum manifest_key key, struct manifest *m)
{
	size_t *n = key == KEY_OBJECTS ? &m->n_objects : key == KEY_BUILD_IDS ? &m->n_build_ids : &m->n_vms;
	size_t max = key == KEY_OBJECTS ? MANIFEST_OBJECTS_MAX : key == KEY_BUILD_IDS ? MANIFEST_BUILD_IDS_MAX : MANIFEST_VMS_MAX;
	int s;

	if (*n == max)
		return yaml_reader_fail(r, yaml_reader_line(r), "more than %zu in %s", max, keys[key]);
	if (key == KEY_OBJECTS)
		s = hash_value(r, m->objects[*n]);
	else if (key == KEY_BUILD_IDS)
		s = build_id_value(r, &m->build_ids[*n]);
	else
		s = vm_value(r, m->vms[*n]);
	*n += s == 0;
	return s;
}

static int list_value(struct yaml_reader *r, enum manifest_key key, struct manifest *m)
{
	int s, line = yaml_reader_line(r), n = 0;

	if (yaml_reader_type(r) != YAML_SEQUENCE_START_EVENT)
		return yaml_reader_fail(r, line, "%s must be a list", keys[key]);
	while ((s = yaml_reader_next_item(r)) > 0) {
		s = item_value(r, key, m);
		if (s < 0)
			return s;
		n++;
	}
	if (s < 0)
		return s;
	/* An empty list might be read as "none", and is what a generator that failed prints. */
	return n ? 0 : yaml_reader_fail(r, line, "%s is empty; leave it out for 'any'", keys[key]);
}

static int serial_value(struct yaml_reader *r, struct manifest *m)
{
	const char *text = yaml_reader_scalar(r);
	size_t len = text ? strlen(text) : 0;

	/* Digits only, and no leading zero: YAML 1.1 reads 010 as eight. */
	if (len < 1 || len > 16 || strspn(text, "0123456789") != len || text[0] == '0')
		return fail_here(r, "serial must be a number from 1 to 9007199254740992");
	m->serial = strtoull(text, NULL, 10);
	return m->serial <= (uint64_t)MANIFEST_SERIAL_MAX ? 0 : fail_here(r, "serial must be a number from 1 to 9007199254740992");
}

static int patch_value(struct yaml_reader *r, struct manifest *m)
{
	const char *text = yaml_reader_scalar(r);

	if (!text || !patch_name_valid(text))
		return fail_here(r, "patch must be the name of a patch");
	strcpy(m->patch, text); /* patch_name_valid() bounds the length */
	return 0;
}

static int version_value(struct yaml_reader *r)
{
	const char *text = yaml_reader_scalar(r);

	if (text && strcmp(text, "1") == 0)
		return 0;
	return fail_here(r, "this format version is not known here; this vmpoke reads 'vmpoke-manifest: 1'");
}

static int value(struct yaml_reader *r, enum manifest_key key, struct manifest *m)
{
	const char *text = yaml_reader_scalar(r);

	switch (key) {
	case KEY_VERSION:
		return version_value(r);
	case KEY_PATCH:
		return patch_value(r, m);
	case KEY_SHA256:
		return hash_value(r, m->sha256);
	case KEY_OBJECTS:
	case KEY_BUILD_IDS:
	case KEY_VMS:
		return list_value(r, key, m);
	case KEY_EXPIRES:
		if (text && manifest_time_parse(text, &m->expires) == 0)
			return 0;
		return fail_here(r, "expires must be a date, 2027-01-31, or a time in UTC, 2027-01-31T12:00:00Z");
	case KEY_SERIAL:
		return serial_value(r, m);
	}
	return -EINVAL;
}

/* --- the whole --- */

static int root_parse(struct yaml_reader *r, struct manifest *m)
{
	unsigned seen = 0, needed = 1u << KEY_VERSION | 1u << KEY_PATCH | 1u << KEY_SHA256 | 1u << KEY_SERIAL;
	int s, key;

	if (yaml_reader_type(r) != YAML_MAPPING_START_EVENT)
		return fail_here(r, "a manifest begins with 'vmpoke-manifest: 1'");
	while ((s = yaml_reader_next_key(r, keys, "the manifest", &seen, &key)) > 0) {
		s = value(r, (enum manifest_key)key, m);
		if (s < 0)
			return s;
	}
	if (s < 0)
		return s;
	for (key = 0; keys[key]; key++)
		if (needed & ~seen & 1u << key)
			return yaml_reader_fail(r, 1, "the manifest has no '%s'", keys[key]);
	return yaml_reader_next(r); /* nothing may follow */
}

int manifest_parse(const char *text, size_t len, const char *filename, struct manifest *ret, struct err *e)
{
	_cleanup_free_ struct manifest *m = NULL;
	struct yaml_reader r;

	if (len > MANIFEST_SIZE_MAX)
		return err_set(e, ERR_USAGE, EFBIG, "manifest", "%.120s: larger than %u KiB", filename, MANIFEST_SIZE_MAX >> 10);
	m = calloc(1, sizeof(*m));
	if (!m)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	int s = yaml_reader_begin(&r, text, len, filename, e);
	if (s == 0)
		s = root_parse(&r, m);
	yaml_reader_end(&r);
	if (s < 0 && e)
		snprintf(e->rule, sizeof(e->rule), "manifest");
	if (s == 0)
		*ret = *m;
	return s;
}

static void hashes_print(FILE *f, const char *key, const uint8_t (*hashes)[MANIFEST_HASH_LEN], size_t n)
{
	char hex[2 * MANIFEST_HASH_LEN + 1];

	if (n)
		fprintf(f, "%s:\n", key);
	for (size_t i = 0; i < n; i++) {
		hex_encode(hashes[i], MANIFEST_HASH_LEN, hex);
		fprintf(f, "  - \"%s\"\n", hex);
	}
}

static void body_print(FILE *f, const struct manifest *m)
{
	char hex[2 * MANIFEST_HASH_LEN + 1], when[21];

	hex_encode(m->sha256, MANIFEST_HASH_LEN, hex);
	/* Quoted: 64 digits, or an e among them, would be a number to other readers of YAML. */
	fprintf(f, "vmpoke-manifest: 1\npatch: \"%s\"\nsha256: \"%s\"\n", m->patch, hex);
	hashes_print(f, "objects", m->objects, m->n_objects);
	if (m->n_build_ids)
		fputs("build-ids:\n", f);
	for (size_t i = 0; i < m->n_build_ids; i++) {
		hex_encode(m->build_ids[i].bytes, m->build_ids[i].len, hex);
		fprintf(f, "  - \"%s\"\n", hex);
	}
	if (m->n_vms)
		fputs("vms:\n", f);
	for (size_t i = 0; i < m->n_vms; i++)
		fprintf(f, "  - \"%s\"\n", m->vms[i]);
	if (m->expires) {
		manifest_time_format(m->expires, when);
		fprintf(f, "expires: %s\n", when);
	}
	fprintf(f, "serial: %llu\n", (unsigned long long)m->serial);
}

int manifest_format(const struct manifest *m, char **ret)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return -ENOMEM;
	body_print(f, m);
	bool failed = ferror(f);
	if (fclose(f) != 0 || failed) {
		free(text);
		return -ENOMEM;
	}
	*ret = text;
	return 0;
}

bool manifest_allows_build_id(const struct manifest *m, const uint8_t *id, size_t len)
{
	for (size_t i = 0; i < m->n_build_ids; i++)
		if (m->build_ids[i].len == len && memcmp(m->build_ids[i].bytes, id, len) == 0)
			return true;
	return m->n_build_ids == 0;
}

bool manifest_allows_vm(const struct manifest *m, const char *vm)
{
	for (size_t i = 0; i < m->n_vms; i++)
		if (fnmatch(m->vms[i], vm, 0) == 0)
			return true;
	return m->n_vms == 0;
}
