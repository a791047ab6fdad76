/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starts a worker process (vmpoke-vm) for one VM. */
#ifndef VMPOKE_CONTROL_WORKER_SPAWN_H
#define VMPOKE_CONTROL_WORKER_SPAWN_H

#include <sys/types.h>

#include "vmm/control/registry.h"

#define WORKER_FIRST_FD 3 /* where the descriptors given to a worker begin */

/* What every worker of this daemon is started with. Borrowed strings that outlive it. */
struct worker_config {
	const char *binary;
	const char *state_dir;
	const char *runtime_dir;
	const char *images; /* see vmm/worker/images.h; NULL: none */
};

/*
 * Starts a program with argv and the descriptors given as WORKER_FIRST_FD and following, stdin and stdout
 * on /dev/null, our stderr and nothing else. 0 or -errno.
 */
int worker_spawn_program(const char *binary, const char *const *argv, const int *fds, size_t n_fds, pid_t *ret_pid);

/* *ret_fd: our end of the control socket, non-blocking. ERR_FAILED when it cannot be started. */
int worker_spawn(const struct worker_config *config, const struct registry_entry *entry, pid_t *ret_pid,
		 int *ret_fd, struct err *e);

#endif
