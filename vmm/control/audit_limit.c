// SPDX-License-Identifier: GPL-2.0-or-later
/* See audit_limit.h. Must never lose a count: of whom some were left out nobody else takes the place. */
#include "vmm/control/audit_limit.h"

#include <stddef.h>

static struct audit_limit_user *find(struct audit_limit *l, uid_t uid)
{
	for (size_t i = 0; i < AUDIT_LIMIT_USERS; i++)
		if (l->users[i].until && l->users[i].uid == uid)
			return &l->users[i];
	return NULL;
}

/* A place nobody has, or of somebody whose interval is over with all that was refused written down. */
static struct audit_limit_user *place(struct audit_limit *l, uint64_t now_us)
{
	for (size_t i = 0; i < AUDIT_LIMIT_USERS; i++)
		if (!l->users[i].until || (now_us >= l->users[i].until && !l->users[i].left_out))
			return &l->users[i];
	return &l->users[AUDIT_LIMIT_USERS];
}

static struct audit_limit_user *find_or_place(struct audit_limit *l, uid_t uid, uint64_t now_us)
{
	struct audit_limit_user *u = find(l, uid);

	if (u)
		return u;
	u = place(l, now_us);
	if (u == &l->users[AUDIT_LIMIT_USERS])
		u->uid = AUDIT_LIMIT_SEVERAL;
	else
		*u = (struct audit_limit_user){ .uid = uid };
	return u;
}

bool audit_limit_take(struct audit_limit *l, uid_t uid, uint64_t now_us)
{
	struct audit_limit_user *u = find_or_place(l, uid, now_us);

	if (now_us >= u->until) {
		u->until = now_us + AUDIT_LIMIT_US;
		u->refused = 0;
	}
	if (u->refused >= AUDIT_LIMIT_REFUSALS) {
		u->left_out++;
		return false;
	}
	u->refused++;
	return true;
}

bool audit_limit_over(struct audit_limit *l, uint64_t now_us, bool all, uid_t *ret_uid, uint64_t *ret_left_out)
{
	for (size_t i = 0; i <= AUDIT_LIMIT_USERS; i++) {
		struct audit_limit_user *u = &l->users[i];

		if (!u->left_out || (!all && now_us < u->until))
			continue;
		*ret_uid = u->uid;
		*ret_left_out = u->left_out;
		*u = (struct audit_limit_user){ 0 };
		return true;
	}
	return false;
}
