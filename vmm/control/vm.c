// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One VM of the daemon; see vm.h. Workers report here: ready, events, death.
 * What they say is kept only after it was checked against the schema, because a
 * hostile guest may be speaking. Must never wait for a worker.
 */
#include "vmm/control/vm.h"

#include <errno.h>
#include <string.h>

#include "protocol/schema.h"
#include "protocol/suggest.h"
#include "vmm/control/agent_keys.h"
#include "vmm/control/daemon.h"
#include "vmm/control/log.h"
#include "vmm/control/machine.h"
#include "vmm/control/session.h"

#define STRING_MAX 256		   /* bytes of a string kept for query-vms */
#define EVENT_DATA_MAX (16u << 10) /* bytes of an event passed on to every client */
#define REFRESH_BUDGET_US (30 * 1000000ull)
#define REMOVE_GRACE_US (10 * 1000000ull)

static bool state_known(const char *state)
{
	static const char *const states[] = { "running", "paused", "shutdown", "broken", "unreachable", "starting" };

	for (size_t i = 0; state && i < ARRAY_SIZE(states); i++)
		if (strcmp(states[i], state) == 0)
			return true;
	return false;
}

static bool value_fits(const struct schema_arg *field, json_t *value)
{
	switch (field->type) {
	case SCHEMA_STR:
		return json_is_string(value) && json_string_length(value) <= STRING_MAX;
	case SCHEMA_INT:
		return json_is_integer(value);
	case SCHEMA_BOOL:
		return json_is_boolean(value);
	default:
		return false; /* query-vm has no others */
	}
}

void vm_learn(struct vm *vm, json_t *told)
{
	const struct schema_command *cmd = schema_command_find("query-vm");

	json_object_clear(vm->last);
	for (const struct schema_arg *f = cmd->returns; f < cmd->returns + SCHEMA_FIELDS_MAX && f->name; f++) {
		json_t *value = json_object_get(told, f->name);
		if (value && value_fits(f, value))
			json_object_set(vm->last, f->name, value);
	}
	if (!state_known(json_string_value(json_object_get(vm->last, "state"))))
		json_object_set_new(vm->last, "state", json_string("broken"));
}

static void monitor_describe(const struct vm *vm, json_t *o)
{
	json_object_set_new(o, "kind", json_string("qemu"));
	json_object_set_new(o, "qmp", json_string(vm->entry.qmp));
	json_object_del(o, "gdb");
	json_object_del(o, "kernel");
	json_object_del(o, "memory");
	json_object_del(o, "agent");
	json_object_del(o, "uuid");
	json_object_del(o, "origin");
	if (vm->entry.gdb[0])
		json_object_set_new(o, "gdb", json_string(vm->entry.gdb));
	if (vm->entry.agent[0])
		json_object_set_new(o, "agent", json_string(vm->entry.agent));
	if (vm->entry.uuid[0])
		json_object_set_new(o, "uuid", json_string(vm->entry.uuid));
	if (vm->entry.origin[0])
		json_object_set_new(o, "origin", json_string(vm->entry.origin));
}

/* Why the worker does not answer now. */
static const char *starting_reason(const struct vm *vm)
{
	if (vm->worker.failures == 0)
		return "the worker is starting";
	return vm->entry.kind == REGISTRY_MACHINE ? "the machine's worker does not answer; it is tried again" :
						    "the worker ended and is being restarted";
}

/* Who it is comes from the registry, never from the worker. */
json_t *vm_describe(const struct vm *vm)
{
	json_t *o = json_copy(vm->last);

	json_object_set_new(o, "name", json_string(vm->entry.name));
	if (vm->entry.kind == REGISTRY_MACHINE)
		machine_describe(vm, o);
	else
		monitor_describe(vm, o);
	if (vm->entry.kind == REGISTRY_MACHINE && vm->worker.state == WORKER_OFF) {
		json_object_set_new(o, "state", json_string("shutdown"));
		json_object_set_new(o, "reason", json_string(vm->entry.ended));
	} else if (vm->worker.state != WORKER_READY) {
		json_object_set_new(o, "state", json_string("starting"));
		json_object_set_new(o, "reason", json_string(starting_reason(vm)));
	}
	if (!json_object_get(o, "patches"))
		json_object_set_new(o, "patches", json_integer(0));
	return o;
}

static void refresh_start(struct vm *vm)
{
	json_t *args = json_pack("{s:s}", "vm", vm->entry.name);

	/* A worker that is down is asked again when it is ready. */
	vm->refreshing = worker_call(&vm->worker, &vm->refresh, args, NULL) == 0;
	json_decref(args);
}

static void add_answer(struct vm *vm)
{
	json_t *o = vm_describe(vm);

	json_object_set_new(o, "changed", json_true());
	pending_return(TAKE_PTR(vm->add_reply), o);
	json_decref(o);
}

static void on_refreshed(struct worker_call *call, json_t *value, const struct err *e)
{
	struct vm *vm = container_of(call, struct vm, refresh);

	vm->refreshing = false;
	if (value)
		vm_learn(vm, value);
	else
		log_msg(LOG_DEBUG, vm->entry.name, "query-vm: %s", e->text);
	if (vm->add_reply && vm->phase == VM_ACTIVE)
		add_answer(vm);
	if (vm->refresh_again && value) {
		vm->refresh_again = false;
		refresh_start(vm);
	}
}

void vm_refresh(struct vm *vm)
{
	if (vm->refreshing)
		vm->refresh_again = true;
	else
		refresh_start(vm);
}

void vm_add_fail(struct vm *vm, const struct err *e)
{
	agent_key_remove(vm->daemon->worker_config.state_dir, vm->entry.name, NULL);
	vm->add_error = *e;
	snprintf(vm->add_error.vm, sizeof(vm->add_error.vm), "%s", vm->entry.name);
	vm_discard(vm);
}

/* vm-add, second half: the worker is up. */
static void add_proceed(struct vm *vm, const char *state, const char *reason, const char *refusal)
{
	struct err e;

	if (strcmp(state, "unreachable") == 0 && refusal) {
		err_set(&e, ERR_REFUSED, EACCES, refusal, "%s; nothing was registered", reason ? reason : "it may not be reached");
		vm_add_fail(vm, &e);
	} else if (strcmp(state, "unreachable") == 0) {
		err_set(&e, ERR_INACTIVE, ENOTCONN, "unreachable", "the monitor at %s cannot be reached%s%s; nothing was registered",
			vm->entry.qmp, reason ? ": " : "", reason ? reason : "");
		vm_add_fail(vm, &e);
	} else if (vm->entry.kind == REGISTRY_QEMU && registry_save(vm->daemon->registry_fd, &vm->entry, &e) < 0) {
		log_msg(LOG_ERR, vm->entry.name, "%s", e.text);
		vm_add_fail(vm, &e);
	} else {
		vm->phase = VM_ACTIVE;
		if (vm->entry.kind == REGISTRY_QEMU)
			log_msg(LOG_NOTICE, vm->entry.name, "registered, monitor %s", vm->entry.qmp);
		daemon_event(vm->daemon, "VM_ADDED", json_pack("{s:s}", "vm", vm->entry.name));
	}
}

/* The state an event tells; NULL (and the worker's end) when it is none we know. */
static const char *state_take(struct vm *vm, json_t *data, const char **ret_reason)
{
	json_t *reason = json_object_get(data, "reason");
	const char *state = json_string_value(json_object_get(data, "state"));

	if (!state_known(state)) {
		worker_fail(&vm->worker, "it told a state that does not exist");
		return NULL;
	}
	json_object_set_new(vm->last, "state", json_string(state));
	if (json_is_string(reason) && json_string_length(reason) <= STRING_MAX)
		json_object_set(vm->last, "reason", reason);
	else
		json_object_del(vm->last, "reason");
	*ret_reason = json_string_value(json_object_get(vm->last, "reason"));
	return state;
}

/* Passes a worker's event on to the clients. */
static void event_forward(struct vm *vm, const char *name, json_t *data)
{
	if (json_dumpb(data, NULL, 0, 0) > EVENT_DATA_MAX)
		worker_fail(&vm->worker, "its event %s is larger than %u bytes", name, EVENT_DATA_MAX);
	else if (vm->phase == VM_ACTIVE)
		daemon_event(vm->daemon, name, json_incref(data));
}

static void on_ready(struct worker *w, json_t *data)
{
	struct vm *vm = container_of(w, struct vm, worker);
	const char *reason, *state = state_take(vm, data, &reason);
	json_t *recovered = json_object_get(data, "recovered");

	if (!state)
		return;
	log_msg(LOG_INFO, vm->entry.name, "worker %d is ready, the VM is %s", w->pid, state);
	if (json_integer_value(recovered) > 0)
		log_msg(LOG_NOTICE, vm->entry.name, "%" JSON_INTEGER_FORMAT " transactions were recovered from the journal",
			json_integer_value(recovered));
	if (vm->phase == VM_ADDING)
		add_proceed(vm, state, reason, json_string_value(json_object_get(data, "refusal")));
	event_forward(vm, "WORKER_READY", data);
	if (vm->phase == VM_ACTIVE)
		vm_refresh(vm);
	if (vm->add_reply && vm->phase == VM_ACTIVE && !vm->refreshing)
		add_answer(vm);
	if (vm->phase == VM_ACTIVE)
		desired_ready(vm);
}

static void on_event(struct worker *w, const char *name, json_t *data)
{
	struct vm *vm = container_of(w, struct vm, worker);
	const char *reason;

	if (strcmp(name, "VM_STATE_CHANGE") == 0 && !state_take(vm, data, &reason))
		return;
	event_forward(vm, name, data);
	desired_event(vm, name, data);
	/* Work that goes on has changed nothing that is known of the VM. */
	if (strcmp(name, "COUNT_PROGRESS") != 0 && strcmp(name, "JOB_PROGRESS") != 0)
		vm_refresh(vm);
}

static void on_died(struct worker *w, const char *why, unsigned restart_ms)
{
	struct vm *vm = container_of(w, struct vm, worker);
	struct err e;

	if (vm->phase == VM_ADDING) {
		err_set(&e, ERR_INACTIVE, ENOTCONN, "unreachable", "its worker ended before it was ready (%s); nothing was registered", why);
		vm_add_fail(vm, &e);
		return;
	}
	vm->stats.worker_deaths++;
	log_msg(LOG_ERR, vm->entry.name, "the worker ended (%s); the next one starts in %u ms", why, restart_ms);
	daemon_event(vm->daemon, "WORKER_DIED",
		     json_pack("{s:s, s:i}", "vm", vm->entry.name, "restart_ms", (int)restart_ms));
}

static void remove_answer(struct vm *vm)
{
	json_t *o = json_pack("{s:s, s:b}", "vm", vm->entry.name, "changed", 1);

	log_msg(LOG_NOTICE, vm->entry.name, "removed");
	daemon_event(vm->daemon, "VM_REMOVED", json_pack("{s:s}", "vm", vm->entry.name));
	pending_return(TAKE_PTR(vm->remove_reply), o);
	json_decref(o);
}

static void on_gone(struct worker *w)
{
	struct vm *vm = container_of(w, struct vm, worker);
	struct daemon *d = vm->daemon;

	if (vm->phase == VM_REMOVING && vm->entry.kind == REGISTRY_MACHINE)
		launch_forget(&d->worker_config, vm->entry.name);
	if (vm->phase == VM_REMOVING && vm->remove_reply)
		remove_answer(vm);
	vm_free(vm);
	daemon_vm_gone(d);
}

static const struct worker_ops worker_ops = {
	.ready = on_ready,
	.event = on_event,
	.died = on_died,
	.failed = machine_on_failed,
	.ended = machine_on_ended,
	.gone = on_gone,
};

void vm_discard(struct vm *vm)
{
	vm->phase = VM_REMOVING;
	worker_stop(&vm->worker, REMOVE_GRACE_US);
}

static void vm_insert(struct daemon *d, struct vm *vm)
{
	struct vm *at, *after = NULL;

	LIST_FOREACH(at, &d->vms, link) {
		if (strcmp(at->entry.name, vm->entry.name) > 0)
			break;
		after = at;
	}
	if (after)
		LIST_INSERT_AFTER(after, vm, link);
	else
		LIST_INSERT_HEAD(&d->vms, vm, link);
	d->n_vms++;
}

struct vm *vm_new(struct daemon *d, const struct registry_entry *entry, enum vm_phase phase)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	if (!vm)
		return NULL;
	vm->daemon = d;
	vm->entry = *entry;
	vm->phase = phase;
	vm->last = json_object();
	vm->refresh = (struct worker_call){ .command = "query-vm", .budget_us = REFRESH_BUDGET_US, .done = on_refreshed };
	if (worker_init(&vm->worker, d->event, &worker_ops, &d->worker_config, &vm->entry) < 0 || !vm->last) {
		worker_done(&vm->worker);
		json_decref(vm->last);
		free(vm);
		return NULL;
	}
	vm_insert(d, vm);
	desired_init(vm);
	return vm;
}

void vm_free(struct vm *vm)
{
	struct err e;

	err_set(&e, ERR_INACTIVE, ECONNRESET, NULL, "the daemon ends");
	pending_error(vm->add_reply, vm->add_error.kind ? &vm->add_error : &e);
	pending_error(vm->remove_reply, &e);
	pending_error(vm->destroy_reply, &e);
	machine_order_free(vm->order);
	LIST_REMOVE(vm, link);
	vm->daemon->n_vms--;
	desired_clear(vm);
	worker_done(&vm->worker);
	json_decref(vm->last);
	free(vm);
}

struct vm *vm_lookup(struct daemon *d, const char *name)
{
	struct vm *vm;

	LIST_FOREACH(vm, &d->vms, link)
		if (strcmp(vm->entry.name, name) == 0)
			return vm;
	return NULL;
}

struct vm *vm_lookup_uuid(struct daemon *d, const char *uuid)
{
	struct vm *vm;

	LIST_FOREACH(vm, &d->vms, link)
		if (vm->entry.uuid[0] && strcasecmp(vm->entry.uuid, uuid) == 0)
			return vm;
	return NULL;
}

/* "a, b, c", cut with "..." where it gets long. */
static void names_known(struct daemon *d, char *buf, size_t cap)
{
	const struct vm *vm;
	size_t len = 0;

	buf[0] = '\0';
	LIST_FOREACH(vm, &d->vms, link) {
		if (vm->phase != VM_ACTIVE)
			continue;
		if (len + strlen(vm->entry.name) + sizeof(", ...") > cap) {
			snprintf(buf + len, cap - len, "...");
			return;
		}
		len += (size_t)snprintf(buf + len, cap - len, "%s%s", len ? ", " : "", vm->entry.name);
	}
}

struct vm *vm_find(struct daemon *d, const char *name, struct err *e)
{
	struct vm *vm = vm_lookup(d, name);
	struct suggest s = suggest_begin(name);
	char known[256];

	if (!vm)
		vm = vm_lookup_uuid(d, name);
	if (vm && vm->phase == VM_ACTIVE)
		return vm;
	LIST_FOREACH(vm, &d->vms, link)
		if (vm->phase == VM_ACTIVE)
			suggest_consider(&s, vm->entry.name);
	names_known(d, known, sizeof(known));
	err_set(e, ERR_NOT_FOUND, ENOENT, NULL, "no VM named '%.64s'%s%s%s (known: %s)", name,
		s.best ? "; did you mean '" : "", s.best ? s.best : "", s.best ? "'?" : "", known[0] ? known : "none");
	return NULL;
}
