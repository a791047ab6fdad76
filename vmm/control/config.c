// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The files of the configuration; see config.h. Must never take a file that somebody
 * without the right to administer vmpoked could have written.
 */
#include "vmm/control/config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "vmm/control/config_parse.h"

struct config *config_new(void)
{
	struct config *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->log_level = -1;
	policy_init(&c->policy);
	return c;
}

void config_free(struct config *c)
{
	if (!c)
		return;
	policy_clear(&c->policy);
	free(c);
}

/* Our own group is no better than others where we are root: vmpoked's is that of its clients. */
bool file_others_may_write(const struct stat *st)
{
	bool group = st->st_mode & S_IWGRP && st->st_gid != 0 && (geteuid() == 0 || st->st_gid != getegid());

	return group || st->st_mode & S_IWOTH || (st->st_uid != 0 && st->st_uid != geteuid());
}

/* O_NONBLOCK: a FIFO must not hang the start. */
static int file_check(int fd, const char *path, size_t *ret_size, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(e, ERR_FAILED, errno, NULL, "%s: %s", path, strerror(errno));
	*ret_size = st.st_size > 0 ? (size_t)st.st_size : 0;
	if (!S_ISREG(st.st_mode) || st.st_size > CONFIG_SIZE_MAX)
		return err_set(e, ERR_USAGE, EINVAL, "config", "%s: not a file of at most %u KiB", path, CONFIG_SIZE_MAX >> 10);
	if (file_others_may_write(&st))
		return err_set(e, ERR_REFUSED, EPERM, "config", "%s: others than root and vmpoked's own user can write it", path);
	return 0;
}

static int file_load(struct config *c, const char *path, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	_cleanup_free_ char *text = calloc(1, CONFIG_SIZE_MAX + 1);
	size_t size = 0;

	if (fd < 0)
		return err_set(e, ERR_FAILED, errno, NULL, "%s: %s", path, strerror(errno));
	if (!text)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	int r = file_check(fd, path, &size, e);
	if (r < 0)
		return r;
	r = read_full(fd, text, CONFIG_SIZE_MAX); /* calloc() has ended it */
	if (r < 0 && r != -ENODATA)
		return err_set(e, ERR_FAILED, -r, NULL, "%s: %s", path, strerror(-r));
	/* After a crash a file may be all zeros: as a text it is empty, and an empty one allows everything. */
	if (strlen(text) != size)
		return err_set(e, ERR_USAGE, EINVAL, "config", "%s: there are NUL bytes in it, or it was changed meanwhile", path);
	return config_parse(c, text, path, e);
}

static int is_conf(const struct dirent *de)
{
	size_t len = strlen(de->d_name);

	return de->d_name[0] != '.' && len > 5 && strcmp(de->d_name + len - 5, ".conf") == 0;
}

static int each_file(struct config *c, const char *folder, struct dirent **list, int n, struct err *e)
{
	char path[PATH_MAX + 512];

	if (n > CONFIG_FILES_MAX)
		return err_set(e, ERR_USAGE, E2BIG, "config", "%s: more than %d files", folder, CONFIG_FILES_MAX);
	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, list[i]->d_name);
		int r = file_load(c, path, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* In the order of their names; that the folder is missing is fine. */
static int folder_load(struct config *c, const char *folder, struct err *e)
{
	struct dirent **list;
	int n = scandir(folder, &list, is_conf, alphasort);

	if (n < 0)
		return errno == ENOENT ? 0 : err_set(e, ERR_FAILED, errno, NULL, "%s: %s", folder, strerror(errno));
	int r = each_file(c, folder, list, n, e);
	for (int i = 0; i < n; i++)
		free(list[i]);
	free(list);
	return r;
}

int config_load(const char *path, bool must_exist, struct config **ret, struct err *e)
{
	_cleanup_(config_free) struct config *c = config_new();
	char folder[PATH_MAX];

	if (!c)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	int n = snprintf(folder, sizeof(folder), "%s.d", path);
	if (n < 0 || (size_t)n >= sizeof(folder))
		return err_set(e, ERR_USAGE, ENAMETOOLONG, NULL, "the path of the configuration is too long");
	int r = file_load(c, path, e);
	c->has_file = r == 0;
	if (r == -ENOENT && !must_exist)
		r = 0;
	if (r == 0)
		r = folder_load(c, folder, e);
	if (r == 0)
		*ret = TAKE_PTR(c);
	return r;
}

int config_may_replace(const struct config *old, const struct config *new, struct err *e)
{
	if (old->has_file && !new->has_file)
		return err_set(e, ERR_REFUSED, EPERM, "config", "the configuration file is gone");
	if (old->policy.n_rules && !new->policy.n_rules)
		return err_set(e, ERR_REFUSED, EPERM, "config",
			       "there is no [allow] section any more, which would allow everybody everything; restart vmpoked if that is meant");
	if (old->unsigned_set && !old->policy.unsigned_ok && !new->unsigned_set)
		return err_set(e, ERR_REFUSED, EPERM, "config",
			       "[policy] does not say 'unsigned' any more, which would allow unsigned patches; say it if that is meant");
	return 0;
}
