// SPDX-License-Identifier: GPL-2.0-or-later
/* See fds.h. Must never keep more descriptors than FDS_MAX for a client: they are the daemon's to run out of. */
#include "vmm/control/fds.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "protocol/util.h"

static size_t find(const struct fd_table *t, const char *name)
{
	size_t i = 0;

	while (i < t->n && strcmp(t->list[i].name, name) != 0)
		i++;
	return i;
}

static int name_check(const char *name, struct err *e)
{
	if (isdigit((unsigned char)name[0]))
		return err_set(e, ERR_USAGE, EINVAL, NULL, "Parameter 'fdname' expects a name not starting with a digit");
	if (!*name || strlen(name) > FDS_NAME_MAX)
		return err_set(e, ERR_USAGE, EINVAL, NULL, "'fdname' must have 1 to %d bytes", FDS_NAME_MAX);
	return 0;
}

int fd_table_put(struct fd_table *t, const char *name, int fd, struct err *e)
{
	_cleanup_close_ int owned = fd;
	int r = name_check(name, e);

	if (r < 0)
		return r;
	size_t i = find(t, name);
	if (i == FDS_MAX)
		return err_set(e, ERR_REFUSED, EMFILE, "limit", "%d descriptors are kept for this client already; closefd", FDS_MAX);
	if (i < t->n)
		close(t->list[i].fd);
	else
		t->n++;
	strcpy(t->list[i].name, name); /* name_check() bounds the length */
	t->list[i].fd = TAKE_FD(owned);
	return 0;
}

int fd_table_take(struct fd_table *t, const char *name, struct err *e)
{
	size_t i = find(t, name);

	if (i == t->n)
		return err_set(e, ERR_USAGE, ENOENT, NULL, "File descriptor named '%.64s' not found", name);
	int fd = t->list[i].fd;
	t->list[i] = t->list[--t->n];
	return fd;
}

void fd_table_clear(struct fd_table *t)
{
	while (t->n > 0)
		close(t->list[--t->n].fd);
}
