/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is at the other end of a unix socket, by the kernel's word, as of when it connected. */
#ifndef VMPOKE_CONTROL_PEER_H
#define VMPOKE_CONTROL_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct peer {
	pid_t pid;
	uid_t uid;
	gid_t gid;
	size_t n_groups;
	gid_t *groups; /* supplementary ones; those the kernel did not tell count as not there */
};

/* SO_PEERCRED and SO_PEERGROUPS (Linux 4.13). -errno. Free with peer_clear(). */
int peer_read(int fd, struct peer *ret);
void peer_clear(struct peer *p);

/* Root, and whose rights vmpoked has anyway: what it can open or connect to is theirs to name. */
bool peer_is_trusted(const struct peer *p);

bool peer_in_group(const struct peer *p, gid_t gid);

#endif
