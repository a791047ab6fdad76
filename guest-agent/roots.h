/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opens the folders the agent reads the kernel through. */
#ifndef VMPOKE_AGENT_ROOTS_H
#define VMPOKE_AGENT_ROOTS_H

#include "guest-agent/agent.h"

/*
 * "/", tracefs and debugfs, read-only. The latter two are mounted where nobody else
 * sees them (Linux 5.2), else taken where they are mounted, else left out. 0 or -errno.
 */
int roots_open(struct agent_roots *ret);

#endif
