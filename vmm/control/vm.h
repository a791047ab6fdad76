/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM as the daemon knows it: its registry entry, its worker, and the last
 * thing the worker said about it, so that query-vms never waits for anybody.
 */
#ifndef VMPOKE_CONTROL_VM_H
#define VMPOKE_CONTROL_VM_H

#include <jansson.h>

#include "vmm/control/desired.h"
#include "vmm/control/registry.h"
#include "vmm/control/stats.h"
#include "vmm/control/worker_link.h"

struct daemon;
struct machine_order;
struct pending;

enum vm_phase {
	VM_ADDING,   /* vm-add waits for the worker; not registered yet */
	VM_ACTIVE,   /* registered */
	VM_REMOVING, /* not registered (any more); waits for the worker to end */
};

struct vm {
	LIST_ENTRY(vm) link;
	struct daemon *daemon;
	struct registry_entry entry;
	enum vm_phase phase;
	struct worker worker;
	json_t *last; /* members of the query-vm object, checked; never NULL */
	struct pending *add_reply, *remove_reply, *destroy_reply;
	struct machine_order *order; /* a machine to be started once the present one has ended; else NULL */
	bool destroyed;		     /* the machine is being killed because somebody asked for it while it ran */
	struct err add_error; /* what add_reply will say once the worker has ended */
	struct worker_call refresh, remove_check;
	bool refreshing, refresh_again;
	struct vm_stats stats;
	struct desired desired;
};

/* Inserts in order of names. NULL when memory is short. The worker is not started. */
struct vm *vm_new(struct daemon *d, const struct registry_entry *entry, enum vm_phase phase);
void vm_free(struct vm *vm);

/* An active VM by name or UUID; otherwise NULL and *e names those that are known. */
struct vm *vm_find(struct daemon *d, const char *name, struct err *e);

/* Is somebody adding, removing or destroying it already? vm_busy() says so: ERR_TIMEOUT, rule "busy". */
bool vm_is_busy(const struct vm *vm);
int vm_busy(const struct vm *vm, struct err *e);

/* Any VM by name, whatever its phase. */
struct vm *vm_lookup(struct daemon *d, const char *name);

/* The same by UUID, in either case. */
struct vm *vm_lookup_uuid(struct daemon *d, const char *uuid);

/* The query-vm object from what is known now. New reference. */
json_t *vm_describe(const struct vm *vm);

/* Takes over what a worker answered to query-vm; only known members of the right type. */
void vm_learn(struct vm *vm, json_t *told);

/* Asks the worker for query-vm anew, soon. */
void vm_refresh(struct vm *vm);

/*
 * Gives up a VM that is being added. Its client is told when the worker has ended: whoever tries
 * again at once must not meet what is left of this.
 */
void vm_add_fail(struct vm *vm, const struct err *e);

/* Ends the worker, then the VM is gone. Nothing is taken out of the registry. */
void vm_discard(struct vm *vm);

#endif
