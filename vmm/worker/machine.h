/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A worker that is the VMM of its guest: what it was told to run, and the start of it. */
#ifndef VMPOKE_VMM_WORKER_MACHINE_H
#define VMPOKE_VMM_WORKER_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/kvm/machine.h"
#include "vmm/worker/session.h"

/* From the command line: borrowed strings, and descriptors that machine_run() closes. */
struct machine_options {
	struct machine_files files; /* files.kernel >= 0: this worker runs a machine */
	int disks[MACHINE_DISKS_MAX]; /* those open for reading only are so for the guest */
	size_t n_disks;
	const char *kernel;	    /* name of the file, for sentences */
	const char *append;	    /* kernel command line; NULL: "" */
	unsigned vcpus;
	uint64_t memory; /* bytes */
};

/* Is o one of the machine's options? Takes its value then: 1, 0, or -EINVAL. */
int machine_option_take(struct machine_options *o, int option, const char *value);

/*
 * Makes the machine, settles what the journal says of its predecessors, and starts it. s->machine is
 * the caller's to destroy, also on failure. ERR_FAILED and others of machine_create().
 */
int machine_run(struct session *s, const struct machine_options *o, struct err *e);

/* Tells the daemon, if it connects within a few seconds, why there is no machine. */
void machine_tell_failure(struct session *s, const struct err *e);

#endif
