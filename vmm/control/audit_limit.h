/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How many refusals are written down: so many of one user in an interval, and of the others how many there were.
 * One user's flood must not hide what another one was refused.
 */
#ifndef VMPOKE_CONTROL_AUDIT_LIMIT_H
#define VMPOKE_CONTROL_AUDIT_LIMIT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define AUDIT_LIMIT_REFUSALS 50u
#define AUDIT_LIMIT_US (60 * 1000000ull)
#define AUDIT_LIMIT_USERS 32 /* counted one by one; those beyond share one count */
#define AUDIT_LIMIT_SEVERAL ((uid_t)-1) /* theirs; no user has this number */

struct audit_limit_user {
	uid_t uid;
	uint64_t until; /* end of the interval, as of now_us(); 0: this one is free */
	unsigned refused;
	uint64_t left_out;
};

/* Zeroed: nobody was refused anything. */
struct audit_limit {
	struct audit_limit_user users[AUDIT_LIMIT_USERS + 1]; /* the last one is for several */
};

/* Another refusal of uid: is it to be written? */
bool audit_limit_take(struct audit_limit *l, uid_t uid, uint64_t now_us);

/*
 * A user of whom refusals were left out and whose interval is over (all: whoever's), who is then forgotten; false when
 * there is none (any more).
 */
bool audit_limit_over(struct audit_limit *l, uint64_t now_us, bool all, uid_t *ret_uid, uint64_t *ret_left_out);

#endif
