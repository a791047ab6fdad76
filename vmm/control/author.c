// SPDX-License-Identifier: GPL-2.0-or-later
/* See author.h. Must never take a database that cannot be read for one that does not have the user. */
#include "vmm/control/author.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/util.h"

#define ENTRY_MAX (64u << 10) /* bytes of one in the user database */
#define GROUPS_FIRST 64
#define GROUPS_MAX 65536 /* NGROUPS_MAX of the kernel */

/* 0 with *ret NULL: there is none. */
static int user_find(uid_t uid, char *buf, size_t cap, struct passwd *pw, struct passwd **ret)
{
	int r = getpwuid_r(uid, pw, buf, cap, ret);

	/* getpwuid_r(3) names these for "not found" as well. */
	return r == ENOENT || r == ESRCH || r == EBADF || r == EPERM ? 0 : -r;
}

static int groups_find(const struct passwd *pw, struct peer *p)
{
	for (int n = GROUPS_FIRST; n <= GROUPS_MAX;) {
		_cleanup_free_ gid_t *groups = calloc((size_t)n, sizeof(*groups));
		int found = n;

		if (!groups)
			return -ENOMEM;
		if (getgrouplist(pw->pw_name, pw->pw_gid, groups, &found) >= 0) {
			p->n_groups = (size_t)found;
			p->groups = TAKE_PTR(groups);
			return 0;
		}
		n = found > n ? found : 2 * n;
	}
	return -E2BIG;
}

int author_read(uid_t uid, struct peer *ret, struct err *e)
{
	struct peer p = { .uid = uid, .gid = (gid_t)-1 }; /* no group has this number */
	_cleanup_free_ char *buf = malloc(ENTRY_MAX);
	struct passwd pw, *found = NULL;
	int r = buf ? user_find(uid, buf, ENTRY_MAX, &pw, &found) : -ENOMEM;

	if (r == 0 && found) {
		p.gid = pw.pw_gid;
		r = groups_find(&pw, &p);
	}
	if (r < 0)
		return err_set(e, ERR_FAILED, -r, NULL, "which groups uid %u is in cannot be found out: %s", uid, strerror(-r));
	*ret = p;
	return 0;
}
