/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who a user is now, for what he asked for some time ago and is done now: install rules, as cron(8) does jobs. By the
 * user database, as there is no connection that the kernel could tell about.
 */
#ifndef VMPOKE_CONTROL_AUTHOR_H
#define VMPOKE_CONTROL_AUTHOR_H

#include "protocol/err.h"
#include "vmm/control/peer.h"

/*
 * pid is 0. A user the database does not have is in no group. -errno, ERR_FAILED: it cannot be asked now. Free with
 * peer_clear().
 */
int author_read(uid_t uid, struct peer *ret, struct err *e);

#endif
