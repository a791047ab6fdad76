// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Relaying; see relay.h. The client's arguments go to the worker as they are,
 * the worker's answer comes back under the client's own raw id. Work whose
 * client has left goes on; only its reply is dropped.
 */
#include "vmm/control/relay.h"

#include <errno.h>
#include <string.h>

#include "vmm/control/command.h"
#include "vmm/control/daemon.h"
#include "vmm/control/desired.h"
#include "vmm/control/log.h"
#include "vmm/control/session.h"
#include "vmm/control/vm.h"

#define TIMEOUT_DEFAULT_MS 10000u /* of the commands with "timeout" */
#define BUDGET_GRACE_MS 30000u	  /* on top of it, before a silent worker is killed */

struct relay {
	struct worker_call call;
	struct vm *vm;
	struct pending *pending; /* NULL: nobody waits */
	struct job *job;	 /* NULL: not a job */
	struct audit_entry asked; /* who for what */
	struct relay_listener *listener; /* of our own work; else NULL */
};

static uint64_t budget_us(const struct schema_command *cmd, json_t *args)
{
	json_t *timeout = json_object_get(args, "timeout");
	uint64_t ms = cmd->job ? TIMEOUT_DEFAULT_MS : 0;

	if (json_is_integer(timeout) && json_integer_value(timeout) >= 0)
		ms = (uint64_t)json_integer_value(timeout);
	return (ms + BUDGET_GRACE_MS) * 1000;
}

static void relay_free(struct relay *relay)
{
	if (relay && relay->call.has_file)
		close(relay->call.file);
	free(relay);
}
DEFINE_CLEANUP(struct relay, relay_free)

/* How it ended, of what changes a guest. Its client is told in any case: there is nothing left to prevent. */
static void relay_audit(const struct relay *relay, const struct err *error)
{
	const struct audit_entry *x = &relay->asked;

	if (x->class == SCHEMA_CLASS_APPLY || x->class == SCHEMA_CLASS_REVERT)
		audit_write(&relay->vm->daemon->audit, x, error ? AUDIT_FAILED : AUDIT_DONE, error, NULL);
}

static void relay_finish(struct relay *relay, json_t *value, const struct err *error)
{
	struct daemon *d = relay->vm->daemon;
	struct err e;

	if (error) {
		e = *error;
		snprintf(e.vm, sizeof(e.vm), "%s", relay->vm->entry.name);
	}
	relay_audit(relay, error ? &e : NULL);
	if (relay->job) {
		relay->job->relay = NULL;
		jobs_conclude(&d->jobs, relay->job, value, error ? &e : NULL);
	}
	if (error)
		pending_error(relay->pending, &e);
	else
		pending_return(relay->pending, value);
	if (relay->listener)
		relay->listener->done(relay->listener, value, error ? &e : NULL);
	relay_free(relay);
}

static void on_done(struct worker_call *call, json_t *value, const struct err *e)
{
	struct relay *relay = container_of(call, struct relay, call);
	struct vm *vm = relay->vm;
	bool job = relay->job;
	json_t *described = NULL;

	if (value && strcmp(call->command, "query-vm") == 0) {
		vm_learn(vm, value);
		value = described = vm_describe(vm);
	}
	if (value)
		desired_done(vm, call->command, value);
	if (value && strcmp(call->command, "query-patches") == 0) {
		described = json_copy(value);
		desired_add_json(vm, described);
		value = described;
	}
	if (e && relay->job)
		log_msg(LOG_INFO, vm->entry.name, "%s failed: %s", call->command, e->text);
	stats_account(&vm->stats, call->command, value, e);
	relay_finish(relay, value, e);
	json_decref(described);
	if (job && vm->worker.state == WORKER_READY) /* it may have found out about the kernel, or changed it */
		vm_refresh(vm);
}

/* s: NULL for our own work. */
static int relay_add_job(struct relay *relay, struct session *s, const struct schema_command *cmd, json_t *args,
			 struct err *e)
{
	struct vm *vm = relay->vm;

	int r = jobs_add(&vm->daemon->jobs, json_string_value(json_object_get(args, "job-id")), cmd->name,
			 vm->entry.name, s && s->read_only, &relay->job, e);
	if (r < 0)
		return r;
	relay->job->relay = relay;
	if (!s)
		return 0;
	log_msg(cmd->read_only ? LOG_DEBUG : LOG_INFO, vm->entry.name, "%s, job %s, asked by pid %d uid %u", cmd->name,
		relay->job->id, s->peer.pid, s->peer.uid);
	return 0;
}

/* "vmlinux" is the name of a descriptor the client has passed: the worker gets the descriptor. */
static int relay_take_file(struct relay *relay, struct session *s, json_t *args, struct err *e)
{
	const char *name = json_string_value(json_object_get(args, "vmlinux"));

	if (!name)
		return 0;
	if (strncmp(name, "fd:", 3) != 0)
		return err_set(e, ERR_USAGE, EINVAL, NULL, "'vmlinux' must be \"fd:NAME\", a file you opened yourself and "
			       "passed with getfd");
	int fd = fd_table_take(&s->fds, name + 3, e);
	if (fd < 0)
		return fd;
	relay->call.file = fd;
	relay->call.has_file = true;
	return 0;
}

/* The worker gets the id of every job, also of those the client gave none: job-cancel names it. */
static int relay_send(struct relay *relay, const struct schema_command *cmd, json_t *args, struct err *e)
{
	json_t *copy = json_copy(args);

	json_object_set_new(copy, "vm", json_string(relay->vm->entry.name)); /* it may have been named by its UUID */
	if (relay->job)
		json_object_set_new(copy, "job-id", json_string(relay->job->id));
	if (schema_takes(cmd, "by"))
		json_object_set_new(copy, "by", audit_by(&relay->asked));
	int r = worker_call(&relay->vm->worker, &relay->call, copy, e);
	json_decref(copy);
	return r;
}

/* A client that waits for an attached job has a job. */
static void client_left(struct pending *p)
{
	relay_cancel(p->relay->job);
}

int relay_start(struct vm *vm, struct session *s, const struct schema_command *cmd, json_t *args,
		json_t **ret, struct err *e)
{
	_cleanup_(relay_free) struct relay *relay = calloc(1, sizeof(*relay));
	bool wait = !json_object_get(args, "job-id");

	(void)ret;
	if (!relay)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	relay->vm = vm;
	relay->asked = s->asked;
	relay->call = (struct worker_call){
		.command = cmd->name, .array = cmd->returns_array, .budget_us = budget_us(cmd, args), .done = on_done,
	};
	int r = relay_take_file(relay, s, args, e);
	if (r == 0 && cmd->job)
		r = relay_add_job(relay, s, cmd, args, e);
	if (r < 0)
		return r;
	relay->pending = wait ? session_defer(s) : NULL;
	r = wait && !relay->pending ? err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory") : relay_send(relay, cmd, args, e);
	struct relay *started = TAKE_PTR(relay);
	if (started->pending && cmd->attached) {
		started->pending->relay = started;
		started->pending->client_left = client_left;
	}
	if (r < 0) {
		bool told = started->pending;
		if (started->job)
			started->job->named = false; /* the client is told now; nothing to watch */
		relay_finish(started, NULL, e);
		return told ? COMMAND_DEFERRED : r;
	}
	return wait ? COMMAND_DEFERRED : 0;
}

int relay_start_own(struct vm *vm, const struct schema_command *cmd, json_t *args, const struct audit_entry *asked,
		    struct relay_listener *l, struct err *e)
{
	_cleanup_(relay_free) struct relay *relay = calloc(1, sizeof(*relay));

	if (!relay)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	relay->vm = vm;
	relay->asked = *asked;
	relay->call = (struct worker_call){ .command = cmd->name, .budget_us = budget_us(cmd, args), .done = on_done };
	int r = relay_add_job(relay, NULL, cmd, args, e);
	if (r == 0)
		r = relay_send(relay, cmd, args, e);
	if (r == 0) {
		relay->listener = l;
		relay = NULL;
	} else if (relay->job) {
		relay->job->relay = NULL;
		jobs_conclude(&vm->daemon->jobs, relay->job, NULL, e);
	}
	return r;
}

void relay_cancel(struct job *job)
{
	struct relay *relay = job->relay;
	struct err e;

	if (worker_call_withdraw(&relay->vm->worker, &relay->call)) {
		err_set(&e, ERR_FAILED, ECANCELED, "cancelled", "cancelled before it was started; nothing was changed");
		relay_finish(relay, NULL, &e);
	} else if (jobs_abort(&relay->vm->daemon->jobs, job)) {
		worker_cancel(&relay->vm->worker, job->id);
	}
}
