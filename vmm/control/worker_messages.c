// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The messages between the daemon and a worker; see worker_link.h. One request
 * is out at a time, so an answer can only be the answer to that one. Must take
 * nothing on trust: any message that does not fit costs the worker its life.
 */
#include "vmm/control/worker_messages.h"

#include <errno.h>
#include <string.h>

#define CANCEL_ID "\"cancel\"" /* answers to job-cancel are of no interest */

static void call_drop_file(struct worker_call *call)
{
	if (call->has_file)
		close(call->file);
	call->has_file = false;
}

static struct worker_call *call_pop(struct worker *w)
{
	struct worker_call *call = TAILQ_FIRST(&w->calls);

	call_drop_file(call);

	TAILQ_REMOVE(&w->calls, call, link);
	w->n_calls--;
	free(TAKE_PTR(call->line));
	return call;
}

void worker_calls_fail(struct worker *w, enum err_kind kind, const char *text)
{
	struct err e;

	err_set(&e, kind, ECONNRESET, NULL, "%s", text);
	w->sent = false;
	for (size_t n = w->n_calls; n > 0 && w->n_calls > 0; n--) { /* done() may queue new ones: not those */
		struct worker_call *call = call_pop(w);
		call->done(call, NULL, &e);
	}
}

void worker_calls_fail_dead(struct worker *w)
{
	if (w->sent) {
		struct worker_call *call = call_pop(w);
		struct err e;

		w->sent = false;
		if (w->entry->kind == REGISTRY_MACHINE)
			err_set(&e, ERR_FAILED, ECONNRESET, NULL,
				"the machine's worker ended or cannot be talked to while %s was running; ask 'vmpoke history'",
				call->command);
		else
			err_set(&e, ERR_FAILED, ECONNRESET, NULL,
				"the worker ended while %s was running; state is recovered from the journal", call->command);
		call->done(call, NULL, &e);
	}
	worker_calls_fail(w, ERR_FAILED, "the worker ended before it came to this; nothing was changed by it");
}

static void calls_send_next(struct worker *w)
{
	struct worker_call *call = TAILQ_FIRST(&w->calls);

	if (w->state != WORKER_READY || w->sent)
		return;
	if (!call) {
		worker_timer_off(w); /* an idle worker costs nothing */
		return;
	}
	w->sent = true;
	worker_timer_set(w, call->budget_us);
	int file = call->has_file ? call->file : -1;
	call->has_file = false;
	channel_send_fd(&w->channel, TAKE_PTR(call->line), file);
}

static int call_format(struct worker_call *call, json_t *args, uint64_t serial, struct err *e)
{
	char id[24];

	snprintf(id, sizeof(id), "%llu", (unsigned long long)serial);
	call->serial = serial;
	call->line = qmp_format_command(call->command, args, id);
	if (!call->line)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	if (strlen(call->line) >= QMP_MESSAGE_MAX) { /* escapes grow on the way; the worker would refuse it */
		free(TAKE_PTR(call->line));
		return err_set(e, ERR_USAGE, EMSGSIZE, NULL, "the arguments are too large");
	}
	return 0;
}

static int call_queue(struct worker *w, struct worker_call *call, json_t *args, struct err *e)
{
	if (w->state == WORKER_OFF && w->entry->kind == REGISTRY_MACHINE)
		return err_set(e, ERR_INACTIVE, EHOSTDOWN, "run-state", "the machine is shut down: %s",
			       w->entry->ended[0] ? w->entry->ended : "it is being started anew");
	if (w->state == WORKER_OFF || w->state == WORKER_STOPPING)
		return err_set(e, ERR_INACTIVE, ECONNRESET, NULL, "the worker of this VM is being ended");
	if (w->state == WORKER_BACKOFF && w->restart_ms)
		return err_set(e, ERR_INACTIVE, ECONNRESET, NULL,
			       "the worker of this VM ended repeatedly and is not back yet");
	if (w->n_calls >= WORKER_CALLS_MAX)
		return err_set(e, ERR_TIMEOUT, EBUSY, "busy", "%zu requests wait for this VM already", w->n_calls);
	int r = call_format(call, args, ++w->serial, e);
	if (r < 0)
		return r;
	TAILQ_INSERT_TAIL(&w->calls, call, link);
	w->n_calls++;
	calls_send_next(w);
	return 0;
}

int worker_call(struct worker *w, struct worker_call *call, json_t *args, struct err *e)
{
	int r = call_queue(w, call, args, e);

	if (r < 0)
		call_drop_file(call);
	return r;
}

bool worker_call_withdraw(struct worker *w, struct worker_call *call)
{
	if (w->sent && call == TAILQ_FIRST(&w->calls))
		return false;
	TAILQ_REMOVE(&w->calls, call, link);
	w->n_calls--;
	free(TAKE_PTR(call->line));
	call_drop_file(call);
	return true;
}

void worker_cancel(struct worker *w, const char *job_id)
{
	json_t *args = json_pack("{s:s}", "job-id", job_id);

	if (w->state == WORKER_READY)
		channel_send(&w->channel, qmp_format_command("job-cancel", args, CANCEL_ID));
	json_decref(args);
}

/* A worker may talk, not flood: every event goes to every client. */
static bool event_allowed(struct worker *w)
{
	uint64_t now = now_us();

	if (now - w->events_since >= 1000000) {
		w->events_since = now;
		w->events = 0;
	}
	return ++w->events <= WORKER_EVENTS_PER_S;
}

static void handle_event(struct worker *w, const char *name, json_t *data)
{
	const char *vm = json_string_value(json_object_get(data, "vm"));
	struct err e;

	if (!event_allowed(w)) {
		worker_fail(w, "it sent more than %u events in a second", WORKER_EVENTS_PER_S);
	} else if (!vm || strcmp(vm, w->entry->name) != 0) {
		worker_fail(w, "it sent the event %.32s about another VM", name);
	} else if (strcmp(name, "WORKER_FORBIDDEN") == 0) {
		worker_fail(w, "it made system call %lld, which it may not",
			    (long long)json_integer_value(json_object_get(data, "call")));
	} else if (w->state == WORKER_STARTING && strcmp(name, "WORKER_READY") == 0) {
		w->state = WORKER_READY;
		w->promised = w->entry->kind == REGISTRY_MACHINE;
		w->ready_since = now_us();
		worker_timer_off(w);
		w->ops->ready(w, data);
		calls_send_next(w);
	} else if (w->state == WORKER_STARTING && !w->promised && w->entry->kind == REGISTRY_MACHINE &&
		   strcmp(name, "WORKER_FAILED") == 0) {
		qmp_error_from_json(json_object_get(data, "error"), &e);
		w->ops->failed(w, &e);
	} else if (w->state == WORKER_READY &&
		   (strcmp(name, "VM_STATE_CHANGE") == 0 || strcmp(name, "PATCH_STATUS_CHANGE") == 0 ||
		    strcmp(name, "COUNT_PROGRESS") == 0 || strcmp(name, "JOB_PROGRESS") == 0 || strcmp(name, "GUEST_RESET") == 0)) {
		w->ops->event(w, name, data);
	} else {
		worker_fail(w, "it sent the event %.32s, which it must not", name);
	}
}

static void handle_answer(struct worker *w, json_t *value, json_t *error)
{
	struct err e;

	if (!value == !error) {
		worker_fail(w, "it sent a message that is neither an answer nor an event");
		return;
	}
	if (value && !json_is_object(value) && !(json_is_array(value) && TAILQ_FIRST(&w->calls)->array)) {
		worker_fail(w, "its answer to %s has the wrong type", TAILQ_FIRST(&w->calls)->command);
		return;
	}
	if (error)
		qmp_error_from_json(error, &e);
	struct worker_call *call = call_pop(w);
	w->sent = false;
	call->done(call, value, error ? &e : NULL);
	calls_send_next(w);
}

static void handle_message(struct worker *w, json_t *message)
{
	json_t *event = json_object_get(message, "event"), *id = json_object_get(message, "id");
	const char *text = json_string_value(id);

	if (event) {
		if (json_is_string(event))
			handle_event(w, json_string_value(event), json_object_get(message, "data"));
		else
			worker_fail(w, "it sent an event without a name");
	} else if (text && strcmp(text, "cancel") == 0) {
		return;
	} else if (w->sent && json_is_integer(id) &&
		   (uint64_t)json_integer_value(id) == TAILQ_FIRST(&w->calls)->serial) {
		handle_answer(w, json_object_get(message, "return"), json_object_get(message, "error"));
	} else {
		worker_fail(w, "it sent an answer nobody asked for");
	}
}

void worker_frame(struct channel *ch, const struct qmp_frame *frame)
{
	struct worker *w = container_of(ch, struct worker, channel);
	json_t *message = NULL;
	struct err e;

	if (w->state != WORKER_STARTING && w->state != WORKER_READY)
		return;
	if (frame->kind == QMP_FRAME_ERROR) {
		worker_fail(w, "it sent something that is no message: %s", frame->error);
	} else if (qmp_message_parse(frame, &message, &e) < 0) {
		worker_fail(w, "it sent something that is no message: %s", e.text);
	} else {
		handle_message(w, message);
		json_decref(message);
	}
}
