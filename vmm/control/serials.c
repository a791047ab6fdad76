// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Serials seen; see serials.h. A file that cannot be read or makes no sense refuses what it is
 * about: it must never count as "nothing seen yet".
 */
#include "vmm/control/serials.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>

#include "protocol/manifest.h"
#include "protocol/minisign.h"
#include "vmm/control/durable.h"

struct seen {
	uint64_t serial;  /* 0: none yet */
	uint64_t revoked; /* up to this one; 0: none */
	char sha256[65];  /* of the manifest with that serial */
};

#define FILE_NAME_MAX (MINISIGN_ID_TEXT + PATCHFILE_NAME_MAX + 16)

int serials_open(const char *state_dir, int *ret_dirfd, struct err *e)
{
	int fd = durable_folder(state_dir, "serials", e);

	if (fd < 0)
		return fd;
	*ret_dirfd = fd;
	return 0;
}

/* A patch's name is checked by who calls: it holds no slash. */
static void file_name(const char *key, const char *patch, char buf[static FILE_NAME_MAX])
{
	snprintf(buf, FILE_NAME_MAX, "%s.%s.json", key, patch);
}

static int seen_unpack(json_t *o, struct seen *ret)
{
	json_int_t serial, revoked;
	const char *sha256;

	if (json_unpack_ex(o, NULL, JSON_STRICT, "{s:I, s:I, s:s}", "serial", &serial, "revoked", &revoked, "sha256", &sha256) < 0 ||
	    serial < 0 || revoked < 0 || (strlen(sha256) != 64 && serial > 0) || strlen(sha256) > 64)
		return -EBADMSG;
	ret->serial = (uint64_t)serial;
	ret->revoked = (uint64_t)revoked;
	strcpy(ret->sha256, sha256);
	return 0;
}

static int seen_load(int dirfd, const char *key, const char *patch, struct seen *ret, struct err *e)
{
	char file[FILE_NAME_MAX];

	*ret = (struct seen){ 0 };
	file_name(key, patch, file);
	_cleanup_close_ int fd = openat(dirfd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT)
		return 0;
	json_t *o = fd < 0 ? NULL : json_loadfd(fd, JSON_REJECT_DUPLICATES, NULL);
	int r = o ? seen_unpack(o, ret) : -EBADMSG;
	json_decref(o);
	return r < 0 ? err_set(e, ERR_FAILED, EBADMSG, NULL, "the record of serials seen, serials/%s, cannot be read", file) : 0;
}

static int seen_store(int dirfd, const char *key, const char *patch, const struct seen *s, struct err *e)
{
	char file[FILE_NAME_MAX], tmp[FILE_NAME_MAX + 8];
	json_t *o = json_pack("{s:I, s:I, s:s}", "serial", (json_int_t)s->serial, "revoked", (json_int_t)s->revoked, "sha256", s->sha256);
	_cleanup_free_ char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;

	json_decref(o);
	if (!text)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	file_name(key, patch, file);
	snprintf(tmp, sizeof(tmp), ".%s.tmp", file);
	int r = durable_write(dirfd, tmp, file, text);
	return r < 0 ? err_set(e, ERR_FAILED, -r, NULL, "cannot write serials/%s: %s", file, strerror(-r)) : 0;
}

static int check_against(const struct seen *seen, const char *key, const char *patch, uint64_t serial, const char *sha256,
			 struct err *e)
{
	unsigned long long now = serial, before = seen->serial;

	if (serial <= seen->revoked)
		return err_set(e, ERR_REFUSED, EACCES, "revoked", "serial %llu of patch '%s' by key %s is revoked", now, patch, key);
	if (serial < seen->serial)
		return err_set(e, ERR_REFUSED, EACCES, "replayed",
			       "replayed: serial %llu of patch '%s' by key %s is older than serial %llu, which was used here", now,
			       patch, key, before);
	if (serial == seen->serial && strcmp(sha256, seen->sha256) != 0)
		return err_set(e, ERR_REFUSED, EACCES, "replayed",
			       "replayed: serial %llu of patch '%s' by key %s was used here with another manifest", now, patch, key);
	return 0;
}

int serials_check(int dirfd, const char *key, const char *patch, uint64_t serial, const uint8_t sha256[static 32],
		  struct err *e)
{
	struct seen seen;
	char hex[65];
	int r = seen_load(dirfd, key, patch, &seen, e);

	hex_encode(sha256, 32, hex);
	return r < 0 ? r : check_against(&seen, key, patch, serial, hex, e);
}

int serials_take(int dirfd, const char *key, const char *patch, uint64_t serial, const uint8_t sha256[static 32],
		 struct err *e)
{
	struct seen seen;
	char hex[65];
	int r = seen_load(dirfd, key, patch, &seen, e);

	hex_encode(sha256, 32, hex);
	if (r == 0)
		r = check_against(&seen, key, patch, serial, hex, e);
	if (r < 0 || seen.serial == serial)
		return r;
	seen.serial = serial;
	strcpy(seen.sha256, hex);
	return seen_store(dirfd, key, patch, &seen, e);
}

int serials_revoke(int dirfd, const char *key, const char *patch, uint64_t serial, uint64_t *ret, struct err *e)
{
	struct seen seen;
	int r = seen_load(dirfd, key, patch, &seen, e);

	if (r < 0)
		return r;
	if (!serial && !seen.serial)
		return err_set(e, ERR_NOT_FOUND, ENOENT, NULL, "no manifest of patch '%s' by key %s was used here; name the serial",
			       patch, key);
	if (!serial)
		serial = seen.serial;
	*ret = serial > seen.revoked ? serial : seen.revoked;
	if (*ret == seen.revoked)
		return 0;
	seen.revoked = *ret;
	return seen_store(dirfd, key, patch, &seen, e);
}
