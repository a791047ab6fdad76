// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vm-add, vm-remove, query-vms, query-vm. A VM is registered only once its
 * worker has reached it, and taken out only when no patch would be forgotten.
 * Must never make query-vms wait for a worker.
 */
#include <errno.h>
#include <string.h>

#include "protocol/util.h"
#include "vmm/control/agent_keys.h"
#include "vmm/control/authorize.h"
#include "vmm/control/command.h"
#include "vmm/control/daemon.h"
#include "vmm/control/log.h"
#include "vmm/control/machine.h"
#include "vmm/control/relay.h"
#include "vmm/control/session.h"
#include "vmm/control/vm.h"

#define ADD_TIMEOUT_US (10 * 1000000ull)
#define REMOVE_CHECK_US (30 * 1000000ull)

bool vm_is_busy(const struct vm *vm)
{
	return vm->phase != VM_ACTIVE || vm->add_reply || vm->remove_reply || vm->destroy_reply;
}

int vm_busy(const struct vm *vm, struct err *e)
{
	const char *what = vm->phase == VM_ADDING || vm->add_reply ? "added" : vm->destroy_reply ? "destroyed" : "removed";

	return err_set(e, ERR_TIMEOUT, EBUSY, "busy", "'%s' is being %s; try again when that is over", vm->entry.name, what);
}

/* key: an open file, or -1. */
static int add_again(const struct vm *vm, const struct registry_entry *entry, int key, json_t **ret, struct err *e)
{
	if (vm_is_busy(vm))
		return vm_busy(vm, e);
	if (vm->entry.kind != entry->kind)
		return err_set(e, ERR_REFUSED, EEXIST, "exists", "'%s' is a machine of vmpoke's own; remove it first",
			       vm->entry.name);
	if (strcmp(vm->entry.qmp, entry->qmp) != 0 || strcmp(vm->entry.gdb, entry->gdb) != 0)
		return err_set(e, ERR_REFUSED, EEXIST, "exists", "'%s' is registered with other sockets (qmp %s); remove it first",
			       vm->entry.name, vm->entry.qmp);
	/* An operator who adds what a program looks after already has what was asked for. */
	if (entry->origin[0] && (strcmp(vm->entry.origin, entry->origin) != 0 || strcmp(vm->entry.uuid, entry->uuid) != 0))
		return err_set(e, ERR_REFUSED, EEXIST, "exists", "'%s' was registered by %s; remove it first", vm->entry.name,
			       vm->entry.origin[0] ? vm->entry.origin : "an operator");
	if (strcmp(vm->entry.agent, entry->agent) != 0)
		return err_set(e, ERR_REFUSED, EEXIST, "exists", "'%s' is registered with %s%s; 'vmpoke agent %s --set' changes that", vm->entry.name,
			       vm->entry.agent[0] ? "the agent at " : "no agent", vm->entry.agent, vm->entry.name);
	int r = key < 0 ? 1 : agent_key_same(vm->daemon->worker_config.state_dir, vm->entry.name, key, e);
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(e, ERR_REFUSED, EEXIST, "exists", "'%s' is registered with another key for its agent, or none; "
			       "'vmpoke agent %s --agent-key' changes that", vm->entry.name, vm->entry.name);
	*ret = vm_describe(vm);
	json_object_set_new(*ret, "changed", json_false());
	return 0;
}

/* A name comes before a UUID, which is taken in either case: who asks for a VM by its UUID must not get another one. */
static const struct vm *namesake(struct daemon *d, const struct registry_entry *entry)
{
	const struct vm *vm = vm_lookup_uuid(d, entry->name);

	if (vm || !entry->uuid[0])
		return vm;
	LIST_FOREACH(vm, &d->vms, link)
		if (strcasecmp(vm->entry.name, entry->uuid) == 0)
			return vm;
	return NULL;
}

/* Two workers on one monitor would fight over the VM. */
static int add_check(struct daemon *d, const struct registry_entry *entry, struct err *e)
{
	const struct vm *vm;

	if (d->n_vms >= REGISTRY_VMS_MAX)
		return err_set(e, ERR_REFUSED, ENOSPC, "limit", "%d VMs are registered already", REGISTRY_VMS_MAX);
	vm = namesake(d, entry);
	if (vm)
		return err_set(e, ERR_REFUSED, EEXIST, "exists", "the VM '%s' is known by this name or UUID", vm->entry.name);
	LIST_FOREACH(vm, &d->vms, link) {
		if (vm->entry.kind == REGISTRY_QEMU && strcmp(vm->entry.qmp, entry->qmp) == 0)
			return err_set(e, ERR_REFUSED, EEXIST, "exists", "the monitor %s belongs to the VM '%s'", entry->qmp,
				       vm->entry.name);
		if (entry->uuid[0] && strcmp(vm->entry.uuid, entry->uuid) == 0)
			return err_set(e, ERR_REFUSED, EEXIST, "exists", "the VM '%s' has the UUID %s already", vm->entry.name,
				       entry->uuid);
	}
	return 0;
}

/* Before the worker starts, which reads it. What an addition that was cut off has left behind goes. */
static int key_place(struct daemon *d, const struct registry_entry *entry, int key, struct err *e)
{
	const char *state_dir = d->worker_config.state_dir;

	if (key >= 0 && !entry->agent[0])
		return err_set(e, ERR_USAGE, EINVAL, NULL, "'agent-key' goes with 'agent'");
	return key < 0 ? agent_key_remove(state_dir, entry->name, e) : agent_key_store(state_dir, entry->name, key, e);
}

static int add_start(struct daemon *d, struct session *s, const struct registry_entry *entry, int key, struct err *e)
{
	int r = key_place(d, entry, key, e);
	struct vm *vm = r < 0 ? NULL : vm_new(d, entry, VM_ADDING);

	if (!vm)
		return r < 0 ? r : err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	r = worker_start(&vm->worker, ADD_TIMEOUT_US, e);
	if (r < 0) {
		vm_free(vm);
		agent_key_remove(d->worker_config.state_dir, entry->name, NULL);
		return r;
	}
	vm->add_reply = session_defer(s);
	if (!vm->add_reply) {
		vm_discard(vm);
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	}
	return COMMAND_DEFERRED;
}

int cmd_vm_add(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
	       json_t **ret, struct err *e)
{
	_cleanup_close_ int key = -1;
	struct registry_entry entry;

	(void)cmd;
	int r = registry_entry_init(&entry, json_string_value(json_object_get(args, "name")),
				    json_string_value(json_object_get(args, "qmp")),
				    json_string_value(json_object_get(args, "gdb")), e);
	if (r == 0)
		r = registry_entry_set_agent(&entry, json_string_value(json_object_get(args, "agent")), e);
	if (r == 0)
		r = registry_entry_set_owner(&entry, json_string_value(json_object_get(args, "uuid")),
					     json_string_value(json_object_get(args, "origin")), e);
	if (r == 0)
		r = agent_key_take(s, args, &key, e);
	if (r < 0)
		return r;
	entry.has_user = !peer_is_trusted(&s->peer);
	entry.user = s->peer.uid;
	const struct vm *present = vm_lookup(d, entry.name);
	if (present)
		return add_again(present, &entry, key, ret, e);
	r = add_check(d, &entry, e);
	if (r == 0)
		r = add_start(d, s, &entry, key, e);
	if (r >= 0 && json_is_true(json_object_get(args, "adopt")))
		desired_await_adoption(vm_lookup(d, entry.name));
	return r;
}

static void remove_fail(struct vm *vm, struct err *e)
{
	snprintf(e->vm, sizeof(e->vm), "%s", vm->entry.name);
	snprintf(e->override, sizeof(e->override), "keep-patches");
	pending_error(TAKE_PTR(vm->remove_reply), e);
}

static void remove_now(struct vm *vm)
{
	struct err e;

	if (registry_remove(vm->daemon->registry_fd, vm->entry.name, &e) < 0) {
		log_msg(LOG_ERR, vm->entry.name, "%s", e.text);
		snprintf(e.vm, sizeof(e.vm), "%s", vm->entry.name);
		pending_error(TAKE_PTR(vm->remove_reply), &e);
		return;
	}
	if (agent_key_remove(vm->daemon->worker_config.state_dir, vm->entry.name, &e) < 0)
		log_msg(LOG_ERR, vm->entry.name, "%s", e.text);
	desired_forget(vm);
	vm_discard(vm);
}

/* How many patches are still in the guest, or may be. -EBADMSG: the answer makes no sense. */
static int patches_present(json_t *value)
{
	json_t *patches = json_object_get(value, "patches"), *patch;
	int n = 0;
	size_t i;

	if (!json_is_array(patches))
		return -EBADMSG;
	json_array_foreach(patches, i, patch) {
		const char *state = json_string_value(json_object_get(patch, "state"));
		n += !state || strcmp(state, "lost") != 0; /* "lost": went with a reboot of the guest */
	}
	return n;
}

static void on_remove_checked(struct worker_call *call, json_t *value, const struct err *error)
{
	struct vm *vm = container_of(call, struct vm, remove_check);
	int n = value ? patches_present(value) : 0;
	struct err e;

	if (error) {
		e = *error;
		err_prefix(&e, "cannot tell whether patches are applied");
	} else if (n < 0) {
		err_set(&e, ERR_FAILED, EBADMSG, NULL, "cannot tell whether patches are applied");
	} else if (n > 0) {
		err_set(&e, ERR_REFUSED, EBUSY, "patched", "%d patch%s applied; revert first", n, n == 1 ? " is" : "es are");
	} else {
		remove_now(vm);
		return;
	}
	remove_fail(vm, &e);
}

int cmd_vm_remove(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
		  json_t **ret, struct err *e)
{
	struct vm *vm = vm_find(d, json_string_value(json_object_get(args, "vm")), e);

	(void)cmd, (void)ret;
	if (!vm)
		return -ENOENT;
	const char *origin = json_string_value(json_object_get(args, "origin"));
	if (origin && strcmp(vm->entry.origin, origin) != 0)
		return err_set(e, ERR_REFUSED, EPERM, "origin", "'%s' was registered by %s", vm->entry.name,
			       vm->entry.origin[0] ? vm->entry.origin : "an operator");
	if (vm_is_busy(vm))
		return vm_busy(vm, e);
	if (machine_runs(vm))
		return err_set(e, ERR_REFUSED, EBUSY, "running", "'%s' is running; 'vmpoke destroy %s' first", vm->entry.name,
			       vm->entry.name);
	vm->remove_reply = session_defer(s);
	if (!vm->remove_reply)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	/* What was patched in a machine that is shut down is gone with it. */
	if (vm->entry.kind == REGISTRY_MACHINE || json_is_true(json_object_get(args, "keep-patches"))) {
		remove_now(vm);
		return COMMAND_DEFERRED;
	}
	vm->remove_check = (struct worker_call){
		.command = "query-patches", .budget_us = REMOVE_CHECK_US, .done = on_remove_checked,
	};
	json_t *query = json_pack("{s:s}", "vm", vm->entry.name);
	int r = worker_call(&vm->worker, &vm->remove_check, query, e);
	json_decref(query);
	if (r < 0) {
		err_prefix(e, "cannot tell whether patches are applied");
		remove_fail(vm, e);
	}
	return COMMAND_DEFERRED;
}

int cmd_query_vms(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
		  json_t **ret, struct err *e)
{
	const struct vm *vm;

	(void)cmd, (void)args, (void)e;
	*ret = json_array();
	LIST_FOREACH(vm, &d->vms, link)
		if (vm->phase == VM_ACTIVE && authorize_sees(d, s, vm->entry.name))
			json_array_append_new(*ret, vm_describe(vm));
	return 0;
}

int cmd_query_vm(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
		 json_t **ret, struct err *e)
{
	struct vm *vm = vm_find(d, json_string_value(json_object_get(args, "vm")), e);

	if (!vm)
		return -ENOENT;
	if (vm->worker.state == WORKER_READY)
		return relay_start(vm, s, cmd, args, ret, e);
	*ret = vm_describe(vm); /* better the last known state than a wait */
	return 0;
}
