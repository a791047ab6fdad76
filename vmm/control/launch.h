/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Machines as processes: starting a worker that is the VMM of its guest, and finding
 * one that a predecessor of this daemon started. It listens on RUNTIME/NAME.vm.
 */
#ifndef VMPOKE_CONTROL_LAUNCH_H
#define VMPOKE_CONTROL_LAUNCH_H

#include "vmm/control/worker_spawn.h"

#define LAUNCH_DISKS_MAX 4

/* What a new machine is given, besides what its registry entry says. */
struct launch {
	int kernel, initrd, console; /* owned; -1: none */
	int disks[LAUNCH_DISKS_MAX]; /* owned; open for reading only: so for the guest, too */
	size_t n_disks;
	char *append;		     /* owned; NULL: "" */
};

/* Closes and frees what it holds; it holds nothing then. */
void launch_clear(struct launch *l);

/* Starts the worker and connects to it. l is borrowed. *ret_fd: non-blocking. ERR_FAILED. */
int launch_spawn(const struct worker_config *config, const struct registry_entry *entry, const struct launch *l,
		 pid_t *ret_pid, int *ret_fd, struct err *e);

/*
 * Connects to the worker of a machine that should be there. 0 with *ret_fd (non-blocking) and *ret_pid, who
 * listens; -ENOENT or -ECONNREFUSED: nobody does; -EPERM: somebody who is neither root nor our own user.
 */
int launch_connect(const struct worker_config *config, const char *name, pid_t *ret_pid, int *ret_fd);

/*
 * fd: of launch_connect(), which also said pid. *ret_pidfd: of the machine's worker, by what it was started with and whose
 * process it is. -ESRCH: it has ended; -EPERM: pid is somebody else's (by now).
 */
int launch_watch(const char *name, pid_t pid, int fd, int *ret_pidfd);

/* Removes the socket of a machine that is no more. */
void launch_forget(const struct worker_config *config, const char *name);

#endif
