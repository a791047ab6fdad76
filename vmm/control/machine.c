// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See machine.h. A machine is registered before its process exists, so that no daemon,
 * whenever it dies, leaves a guest behind that its successor does not know. Must never
 * take a machine for ended while its process may live.
 */
#include "vmm/control/machine.h"

#include <errno.h>
#include <string.h>

#include "vmm/control/daemon.h"
#include "vmm/control/log.h"
#include "vmm/control/session.h"

void machine_order_free(struct machine_order *o)
{
	if (!o)
		return;
	launch_clear(&o->launch);
	free(o);
}

bool machine_runs(const struct vm *vm)
{
	const char *state = json_string_value(json_object_get(vm->last, "state"));

	if (vm->entry.kind != REGISTRY_MACHINE || vm->worker.state == WORKER_OFF)
		return false;
	return !state || (strcmp(state, "shutdown") != 0 && strcmp(state, "broken") != 0);
}

void machine_describe(const struct vm *vm, json_t *o)
{
	json_object_set_new(o, "kind", json_string("machine"));
	json_object_set_new(o, "vcpus", json_integer(vm->entry.vcpus));
	json_object_set_new(o, "memory", json_integer((json_int_t)vm->entry.memory));
	json_object_del(o, "qmp");
	json_object_del(o, "gdb");
	json_object_del(o, "kernel");
	json_object_set_new(o, "agent", json_string("port"));
	if (vm->entry.kernel[0])
		json_object_set_new(o, "kernel", json_string(vm->entry.kernel));
	if (vm->worker.state == WORKER_OFF)
		json_object_del(o, "pid");
}

/* Durable, and told. What cannot be written now is found out again by the next daemon: nobody answers there. */
static void end_record(struct vm *vm, const char *why)
{
	struct err e;

	registry_machine_end(&vm->entry, why);
	launch_forget(&vm->daemon->worker_config, vm->entry.name);
	if (registry_save(vm->daemon->registry_fd, &vm->entry, &e) < 0)
		log_msg(LOG_ERR, vm->entry.name, "%s", e.text);
	json_object_set_new(vm->last, "state", json_string("shutdown"));
	json_object_set_new(vm->last, "patches", json_integer(0));
	log_msg(LOG_NOTICE, vm->entry.name, "the machine is shut down: %s", vm->entry.ended);
	daemon_event(vm->daemon, "VM_STATE_CHANGE",
		     json_pack("{s:s, s:s, s:s}", "vm", vm->entry.name, "state", "shutdown", "reason", vm->entry.ended));
}

/* A start that came to nothing. */
static void start_failed(struct vm *vm, const struct err *e)
{
	struct err told = *e, ignored;
	char why[sizeof(e->text) + 32];

	if (vm->phase == VM_ADDING) {
		registry_remove(vm->daemon->registry_fd, vm->entry.name, &ignored);
		vm_add_fail(vm, &told);
		return;
	}
	snprintf(why, sizeof(why), "it did not start: %s", told.text);
	end_record(vm, why);
	snprintf(told.vm, sizeof(told.vm), "%s", vm->entry.name);
	pending_error(TAKE_PTR(vm->add_reply), &told);
}

int vm_start_machine(struct vm *vm, struct err *e)
{
	_cleanup_(machine_order_free) struct machine_order *order = TAKE_PTR(vm->order);

	vm->entry = order->entry;
	vm->add_error = (struct err){ 0 };
	json_object_clear(vm->last);
	int r = registry_save(vm->daemon->registry_fd, &vm->entry, e);
	return r < 0 ? r : worker_launch(&vm->worker, &order->launch, e);
}

void machine_on_failed(struct worker *w, const struct err *e)
{
	container_of(w, struct vm, worker)->add_error = *e;
}

static void destroy_answer(struct vm *vm)
{
	json_t *o = json_pack("{s:s, s:b}", "vm", vm->entry.name, "changed", (int)vm->destroyed);

	pending_return(TAKE_PTR(vm->destroy_reply), o);
	json_decref(o);
	vm->destroyed = false;
}

/* A guest that had ended before its worker did has its own reason. */
static const char *reason_of(const struct vm *vm, const char *why)
{
	const char *state = json_string_value(json_object_get(vm->last, "state"));
	const char *reason = json_string_value(json_object_get(vm->last, "reason"));

	if (vm->destroyed)
		return "destroyed";
	return state && reason && (strcmp(state, "shutdown") == 0 || strcmp(state, "broken") == 0) ? reason : why;
}

void machine_on_ended(struct worker *w, const char *why)
{
	struct vm *vm = container_of(w, struct vm, worker);
	struct err e = vm->add_error;

	if (vm->order) { /* it was in the way of the next one */
		if (vm_start_machine(vm, &e) < 0)
			start_failed(vm, &e);
	} else if (vm->add_reply) {
		if (!e.kind)
			err_set(&e, ERR_FAILED, ECONNRESET, NULL, "it did not start: %s", why);
		start_failed(vm, &e);
	} else {
		end_record(vm, reason_of(vm, why));
		if (vm->destroy_reply)
			destroy_answer(vm);
	}
}
