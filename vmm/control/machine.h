/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VMs of our own in the daemon: when they start, what is known of them, and what it means when they end. */
#ifndef VMPOKE_CONTROL_MACHINE_H
#define VMPOKE_CONTROL_MACHINE_H

#include "vmm/control/launch.h"
#include "vmm/control/vm.h"

/* A machine somebody has asked for. */
struct machine_order {
	struct registry_entry entry;
	struct launch launch;
};

void machine_order_free(struct machine_order *o); /* NULL allowed */
DEFINE_CLEANUP(struct machine_order, machine_order_free)

/*
 * Starts the machine of vm->order, which is a new VM (VM_ADDING) or one that is shut down. What comes of it
 * vm->add_reply is told; only what fails at once is returned, with the VM gone or shut down as before.
 */
int vm_start_machine(struct vm *vm, struct err *e);

/* Does it run, as far as is known? False for VMs of other VMMs, which are not ours to ask that of. */
bool machine_runs(const struct vm *vm);

/* Adds to the query-vm object what the registry knows of it. */
void machine_describe(const struct vm *vm, json_t *o);

/* worker_ops.failed and .ended */
void machine_on_failed(struct worker *w, const struct err *e);
void machine_on_ended(struct worker *w, const char *why);

#endif
