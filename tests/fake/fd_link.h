/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Both ends of the agent's link over plain descriptors (a socket pair), for tests without a VM. */
#ifndef VMPOKE_TESTS_FD_LINK_H
#define VMPOKE_TESTS_FD_LINK_H

#include "guest-agent/link.h"
#include "vmm/link/link.h"

/* The host's: open() dups target->fd. */
extern const struct link_ops fd_link;

/* The agent's: where is the descriptor's number. */
extern struct agent_link *const agent_fd_link;

#endif
