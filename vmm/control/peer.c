// SPDX-License-Identifier: GPL-2.0-or-later
/* See peer.h. Must never ask anything but the kernel: names are resolved when the policy is read. */
#include "vmm/control/peer.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocol/util.h"

#define GROUPS_MAX 65536 /* NGROUPS_MAX of the kernel */

static void groups_read(int fd, struct peer *p)
{
	socklen_t len = 0;
	char none;

	/* The kernel answers ERANGE and how much room it wants. */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, &none, &len) == 0 || errno != ERANGE ||
	    len > GROUPS_MAX * sizeof(gid_t))
		return;
	p->groups = malloc(len);
	if (p->groups && getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, p->groups, &len) == 0)
		p->n_groups = len / sizeof(gid_t);
}

int peer_read(int fd, struct peer *ret)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	*ret = (struct peer){ .pid = cred.pid, .uid = cred.uid, .gid = cred.gid };
	groups_read(fd, ret);
	return 0;
}

void peer_clear(struct peer *p)
{
	free(TAKE_PTR(p->groups));
	p->n_groups = 0;
}

bool peer_is_trusted(const struct peer *p)
{
	return p->uid == 0 || p->uid == geteuid();
}

bool peer_in_group(const struct peer *p, gid_t gid)
{
	if (p->gid == gid)
		return true;
	for (size_t i = 0; i < p->n_groups; i++)
		if (p->groups[i] == gid)
			return true;
	return false;
}
