// SPDX-License-Identifier: GPL-2.0-or-later
/* Trusted keys; see keys.h. Must never trust a file that somebody else could have put there. */
#include "vmm/control/keys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "protocol/util.h"
#include "vmm/control/config.h"

static int is_pub(const struct dirent *de)
{
	size_t len = strlen(de->d_name);

	return de->d_name[0] != '.' && len > 4 && strcmp(de->d_name + len - 4, ".pub") == 0;
}

/* Who can write it can sign for everybody. */
static int owner_check(int fd, const char *path, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(e, ERR_FAILED, errno, NULL, "%.300s: %s", path, strerror(errno));
	if (file_others_may_write(&st))
		return err_set(e, ERR_REFUSED, EPERM, "key", "%.300s: others than root and vmpoked's own user can write it", path);
	return 0;
}

/* O_NONBLOCK: a FIFO must not hang the start. */
static int key_load(const char *folder, const char *file, struct trusted_key *ret, struct err *e)
{
	char path[PATH_MAX + NAME_MAX + 2], text[MINISIGN_KEY_SIZE_MAX + 1];

	snprintf(path, sizeof(path), "%s/%s", folder, file);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));
	if (n < 0)
		return err_set(e, ERR_FAILED, errno, NULL, "%.300s: %s", path, strerror(errno));
	int r = owner_check(fd, path, e);
	if (r < 0)
		return r;
	r = minisign_key_parse(text, (size_t)n, &ret->key, e);
	if (r < 0) {
		err_prefix(e, "%.300s", path);
		return r;
	}
	minisign_id_format(ret->key.id, ret->id);
	snprintf(ret->file, sizeof(ret->file), "%s", file);
	return 0;
}

static int key_add(struct keys *k, const char *folder, const char *file, struct err *e)
{
	struct trusted_key *key = &k->list[k->n];

	if (k->n == KEYS_MAX)
		return err_set(e, ERR_USAGE, E2BIG, "key", "%.300s: more than %d keys", folder, KEYS_MAX);
	int r = key_load(folder, file, key, e);
	if (r < 0)
		return r;
	const struct trusted_key *other = keys_find(k, key->key.id);
	if (other)
		return err_set(e, ERR_USAGE, EEXIST, "key", "%.300s: %s and %s have the same id %s", folder, other->file, file, key->id);
	k->n++;
	return 0;
}

int keys_load(const char *folder, struct keys **ret, struct err *e)
{
	_cleanup_free_ struct keys *k = calloc(1, sizeof(*k));
	struct dirent **list = NULL;
	int r = 0, n = k ? scandir(folder, &list, is_pub, alphasort) : 0;

	if (!k)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	if (n < 0 && errno != ENOENT)
		return err_set(e, ERR_FAILED, errno, NULL, "%.300s: %s", folder, strerror(errno));
	for (int i = 0; i < n; i++) {
		if (r == 0)
			r = key_add(k, folder, list[i]->d_name, e);
		free(list[i]);
	}
	free(list);
	if (r == 0)
		*ret = TAKE_PTR(k);
	return r;
}

const struct trusted_key *keys_find(const struct keys *k, const uint8_t id[static MINISIGN_ID_LEN])
{
	for (size_t i = 0; i < k->n; i++)
		if (memcmp(k->list[i].key.id, id, MINISIGN_ID_LEN) == 0)
			return &k->list[i];
	return NULL;
}

json_t *keys_json(const struct keys *k)
{
	json_t *list = json_array();

	/* A name that is not UTF-8 makes no object; the id is what counts. */
	for (size_t i = 0; i < k->n; i++) {
		json_t *o = json_pack("{s:s, s:s}", "id", k->list[i].id, "file", k->list[i].file);
		json_array_append_new(list, o ? o : json_pack("{s:s, s:s}", "id", k->list[i].id, "file", "?"));
	}
	return list;
}
