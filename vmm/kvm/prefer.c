// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The engine's thread before those of the vCPUs. It waits for locks that vCPU threads
 * hold while the host has preempted them, and for their exits; with more vCPUs than
 * CPUs it gets one share of many and is late for each. Must never matter for anything
 * but speed: it may not be permitted.
 */
#include <errno.h>
#include <sys/resource.h>

#include "vmm/kvm/machine_private.h"

#define PREFER 10 /* nice levels: nine times the share of a vCPU thread */

static _Thread_local int raised; /* levels */

/* getpriority() and setpriority() of "process 0" are about the calling thread on Linux. */
int machine_prefer_thread(void)
{
	int nice = prefer_ordinary();

	if (setpriority(PRIO_PROCESS, 0, nice - PREFER) < 0)
		return -errno;
	raised = nice - getpriority(PRIO_PROCESS, 0); /* less near the end of the scale */
	return 0;
}

int prefer_ordinary(void)
{
	return getpriority(PRIO_PROCESS, 0) + raised;
}

/* A thread is made with the level of its maker. Going down is always permitted. */
void prefer_take(int nice)
{
	if (getpriority(PRIO_PROCESS, 0) < nice)
		setpriority(PRIO_PROCESS, 0, nice);
}
