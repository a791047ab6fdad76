// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One step after the other: what is in (query-patches), which kernel runs (vm-probe), then what is missing (patch-apply,
 * as a job). See desired.h. Must never wait, never have two steps under way, and never try for ever.
 */
#include "vmm/control/desired_run.h"

#include <errno.h>
#include <string.h>

#include "protocol/schema.h"
#include "protocol/util.h"
#include "vmm/control/authorize.h"
#include "vmm/control/daemon.h"
#include "vmm/control/desired_hold.h"
#include "vmm/control/vm.h"

#define CALL_BUDGET_US (60 * 1000000ull)
#define TIMER_SLACK_US 250000 /* nobody notices, and wake-ups meet */
#define TURN_MS 1000
#define FAILURES_MAX 5	/* of one patch, that may be a bad moment */
#define BUSY_MAX 20	/* the same, where the guest was in the way */
#define APPLIED_MAX 5	/* times in one boot: somebody else keeps taking it out */

/* How long until the next try, in ms; 0: there is none. A kernel that boots takes seconds, an installer many minutes. */
static uint64_t pause_ms(unsigned tries)
{
	return tries <= 20 ? 1000 : tries <= 40 ? 5000 : tries <= 100 ? 30000 : 0;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
	(void)s, (void)usec;
	desired_run(userdata);
	return 0;
}

void desired_run_in(struct vm *vm, uint64_t ms)
{
	struct desired *d = &vm->desired;

	if (!d->timer && sd_event_add_time_relative(vm->daemon->event, &d->timer, CLOCK_MONOTONIC, ms * 1000, TIMER_SLACK_US,
						    on_timer, vm) >= 0)
		return;
	sd_event_source_set_time_relative(d->timer, ms * 1000);
	sd_event_source_set_enabled(d->timer, SD_EVENT_ONESHOT);
}

static void timer_off(struct desired *d)
{
	if (d->timer)
		sd_event_source_set_enabled(d->timer, SD_EVENT_OFF);
}

static struct desired_patch *next(struct desired *d)
{
	for (size_t i = 0; i < d->n; i++)
		if (desired_needs(&d->list[i]))
			return &d->list[i];
	return NULL;
}

static void say_why(struct vm *vm, const struct err *why)
{
	struct desired *d = &vm->desired;

	for (size_t i = 0; i < d->n; i++)
		if (d->list[i].state == DESIRED_WAITING)
			desired_set(vm, &d->list[i], DESIRED_WAITING, why);
}

/* Its kernel is not up, or cannot be asked. */
static void try_later(struct vm *vm, struct err *why)
{
	struct desired *d = &vm->desired;
	uint64_t ms = pause_ms(++d->tries);

	err_prefix(why, ms ? "waiting for the guest's kernel" : "given up until something happens to this VM");
	say_why(vm, why);
	if (ms)
		desired_run_in(vm, ms);
}

/* A step has come to its end: false when what it says is of the past, and is found out anew. */
static bool step_ended(struct vm *vm)
{
	struct desired *d = &vm->desired;

	d->step = DESIRED_IDLE;
	if (!d->outdated)
		return true;
	d->outdated = false;
	desired_run_in(vm, DESIRED_RESET_MS);
	return false;
}

/* --- what is in? --- */

static void take_patch(struct vm *vm, json_t *patch)
{
	struct desired_patch *p = desired_find(&vm->desired, json_string_value(json_object_get(patch, "name")));
	const char *state = json_string_value(json_object_get(patch, "state"));

	if (!p || !state)
		return;
	if (strcmp(state, "applied") == 0 && p->state != DESIRED_APPLIED)
		desired_set(vm, p, DESIRED_APPLIED, NULL);
	else if (strcmp(state, "attention") == 0 && p->state != DESIRED_ATTENTION)
		desired_set(vm, p, DESIRED_ATTENTION, NULL);
}

static bool in_list(json_t *patches, const char *name)
{
	json_t *patch;
	size_t i;

	json_array_foreach(patches, i, patch) {
		const char *found = json_string_value(json_object_get(patch, "name"));
		const char *state = json_string_value(json_object_get(patch, "state"));

		if (found && state && strcmp(found, name) == 0)
			return strcmp(state, "lost") != 0;
	}
	return false;
}

static void on_asked(struct worker_call *call, json_t *value, const struct err *error)
{
	struct desired *d = container_of(call, struct desired, call);
	struct vm *vm = container_of(d, struct vm, desired);
	json_t *patches = json_object_get(value, "patches"), *patch;
	size_t i;

	if (!step_ended(vm))
		return;
	if (error) {
		struct err why = *error;
		try_later(vm, &why);
		return;
	}
	json_array_foreach(patches, i, patch)
		take_patch(vm, patch);
	for (i = 0; i < d->n; i++)
		if (d->list[i].state == DESIRED_APPLIED && !in_list(patches, d->list[i].patch))
			desired_set(vm, &d->list[i], DESIRED_WAITING, NULL);
	d->asked = true;
	desired_run(vm);
}

static void call_worker(struct vm *vm, const char *command, enum desired_step step,
			void (*done)(struct worker_call *call, json_t *value, const struct err *e))
{
	struct desired *d = &vm->desired;
	json_auto_t *args = json_pack("{s:s}", "vm", vm->entry.name);
	struct err why;

	d->call = (struct worker_call){ .command = command, .budget_us = CALL_BUDGET_US, .done = done };
	d->step = step;
	if (worker_call(&vm->worker, &d->call, args, &why) == 0)
		return;
	d->step = DESIRED_IDLE;
	try_later(vm, &why);
}

/* --- which kernel? --- */

static void take_text(char *dst, size_t cap, json_t *value)
{
	snprintf(dst, cap, "%s", json_is_string(value) ? json_string_value(value) : "");
}

/* What was decided for another boot does not count. */
static void take_boot(struct vm *vm, json_t *probe)
{
	struct desired *d = &vm->desired;
	struct desired_boot boot = { .pid = json_integer_value(json_object_get(probe, "pid")) };

	take_text(boot.base, sizeof(boot.base), json_object_get(probe, "base"));
	take_text(boot.build_id, sizeof(boot.build_id), json_object_get(probe, "build_id"));
	if (d->boot.base[0] && (d->boot.pid != boot.pid || strcmp(d->boot.base, boot.base) != 0 ||
				strcmp(d->boot.build_id, boot.build_id) != 0))
		desired_new_boot(vm);
	bool keep = !d->boot.base[0] && json_array_size(d->held) > 0;
	d->boot = boot;
	if (keep)
		desired_hold_save(vm);
}

static void choose_by_kernel(struct vm *vm)
{
	struct desired *d = &vm->desired;
	struct err why;

	for (size_t i = 0; i < d->n; i++) {
		struct desired_patch *p = &d->list[i];
		const struct rule *r = rules_find(&vm->daemon->rules, p->rule);
		bool fits = r && rule_fits_kernel(r, d->boot.build_id);

		if (fits && p->state == DESIRED_OTHER_KERNEL)
			desired_set(vm, p, DESIRED_WAITING, NULL);
		if (fits || p->state != DESIRED_WAITING)
			continue;
		err_set(&why, ERR_NOT_APPLICABLE, EPERM, "build-id", "the rule is for build-id %s, the guest's is %s",
			r ? r->build_id : "", d->boot.build_id);
		desired_set(vm, p, DESIRED_OTHER_KERNEL, &why);
	}
}

static void on_probed(struct worker_call *call, json_t *value, const struct err *error)
{
	struct desired *d = container_of(call, struct desired, call);
	struct vm *vm = container_of(d, struct vm, desired);
	struct err why = { 0 };

	if (!step_ended(vm))
		return;
	if (error)
		why = *error;
	else if (json_is_false(json_object_get(value, "booted")))
		err_set(&why, ERR_FAILED, EAGAIN, "booting", "it has not finished booting");
	if (why.kind) {
		try_later(vm, &why);
		return;
	}
	take_boot(vm, value);
	d->probed = true;
	d->tries = 0;
	choose_by_kernel(vm);
	desired_run(vm);
}

/* --- what is missing --- */

/* May it go another time? Agents come up late, and nobody knows what else is just going on in a guest. */
static unsigned tries_max(const struct err *e)
{
	if (strcmp(e->rule, "cancelled") == 0)
		return 0;
	if (e->kind == ERR_INACTIVE || e->kind == ERR_TIMEOUT || strcmp(e->rule, "borrow-agent") == 0)
		return BUSY_MAX;
	return e->kind == ERR_FAILED ? FAILURES_MAX : 0;
}

static void apply_failed(struct vm *vm, struct desired_patch *p, const struct err *e)
{
	struct desired *d = &vm->desired;

	p->tries++;
	if (e->kind == ERR_ATTENTION) {
		desired_set(vm, p, DESIRED_ATTENTION, e);
	} else if (p->tries < tries_max(e)) {
		desired_set(vm, p, DESIRED_WAITING, e);
		d->probed &= e->kind != ERR_INACTIVE;
		desired_run_in(vm, pause_ms(p->tries));
		return;
	} else {
		desired_set(vm, p, DESIRED_REFUSED, e);
	}
	desired_run(vm);
}

static void apply_succeeded(struct vm *vm, struct desired_patch *p, json_t *value)
{
	bool changed = json_is_true(json_object_get(value, "changed"));
	struct err why = { 0 };

	p->known = true;
	p->tries = 0;
	p->applied += changed;
	if (!changed && json_integer_value(json_object_get(value, "sites")) == 0) {
		err_set(&why, ERR_FAILED, EEXIST, NULL, "the guest holds these bytes, and not from vmpoke: there will be nothing to revert");
		desired_set(vm, p, DESIRED_PRESENT, &why);
	} else if (p->applied > APPLIED_MAX) {
		err_set(&why, ERR_REFUSED, EBUSY, "goes-missing", "it went missing %u times in this boot: somebody else writes there",
			p->applied - 1);
		desired_set(vm, p, DESIRED_REFUSED, &why);
	} else {
		desired_set(vm, p, DESIRED_APPLIED, NULL);
	}
	desired_run(vm);
}

static void on_applied(struct relay_listener *l, json_t *value, const struct err *error)
{
	struct desired *d = container_of(l, struct desired, listener);
	struct vm *vm = container_of(d, struct vm, desired);
	struct desired_patch *p = desired_find(d, d->applying_patch);

	if (!step_ended(vm))
		return;
	if (!p)
		desired_run(vm); /* its rule is gone */
	else if (error)
		apply_failed(vm, p, error);
	else
		apply_succeeded(vm, p, value);
}

static int apply_start(struct vm *vm, const struct desired_patch *p, struct err *e)
{
	struct desired *d = &vm->desired;
	const struct rule *r = rules_find(&vm->daemon->rules, p->rule);
	json_auto_t *stored = NULL;
	struct audit_entry asked;

	if (!r)
		return err_set(e, ERR_NOT_FOUND, ENOENT, NULL, "its rule is gone");
	if (jobs_running(&vm->daemon->jobs) >= JOBS_RUNNING_OWN_MAX)
		return err_set(e, ERR_TIMEOUT, EBUSY, "busy", "waiting for its turn: %d jobs are running", JOBS_RUNNING_OWN_MAX);
	int error = rule_arguments(&vm->daemon->rules, r, &stored, e);
	if (error < 0)
		return error;
	json_auto_t *args = json_copy(stored);
	if (!args || json_object_set_new(args, "vm", json_string(vm->entry.name)) < 0)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	error = authorize_rule(vm->daemon, vm->entry.name, r, args, &asked, e);
	if (error < 0)
		return error;
	d->listener.done = on_applied;
	snprintf(d->applying_patch, sizeof(d->applying_patch), "%s", p->patch);
	return relay_start_own(vm, schema_command_find("patch-apply"), args, &asked, &d->listener, e);
}

static void apply(struct vm *vm, struct desired_patch *p)
{
	struct err e = { 0 };

	vm->desired.step = DESIRED_APPLYING;
	if (apply_start(vm, p, &e) == 0)
		return;
	vm->desired.step = DESIRED_IDLE;
	if (strcmp(e.rule, "busy") != 0) {
		apply_failed(vm, p, &e);
		return;
	}
	/* That others are at work is no try of this one. */
	desired_set(vm, p, DESIRED_WAITING, &e);
	desired_run_in(vm, TURN_MS);
}

/* --- what is next? --- */

/* 0; or -EAGAIN and why nothing is to be done now. What changes it is an event, or the timer set here. */
static int may_begin(struct vm *vm, struct err *e)
{
	const struct desired *d = &vm->desired;
	const char *state = json_string_value(json_object_get(vm->last, "state"));
	uint64_t now = now_us();

	if (vm->phase != VM_ACTIVE || vm->worker.state != WORKER_READY)
		return err_set(e, ERR_INACTIVE, EAGAIN, NULL, "waiting for its worker");
	if (!state || strcmp(state, "running") != 0)
		return err_set(e, ERR_INACTIVE, EAGAIN, NULL, "waiting for the VM to run: it is %.32s", state ? state : "not known");
	if (now >= d->adopt_until)
		return 0;
	desired_run_in(vm, (d->adopt_until - now) / 1000 + 1);
	return err_set(e, ERR_INACTIVE, EAGAIN, NULL, "waiting for the patches that came with the guest to be adopted");
}

static void step(struct vm *vm)
{
	struct desired *d = &vm->desired;
	struct err why = { 0 };

	timer_off(d);
	if (d->n == 0)
		return;
	if (may_begin(vm, &why) < 0) {
		say_why(vm, &why);
		return;
	}
	struct desired_patch *p = next(d);
	if (!d->asked)
		call_worker(vm, "query-patches", DESIRED_ASKING, on_asked);
	else if (!d->probed)
		call_worker(vm, "vm-probe", DESIRED_PROBING, on_probed);
	else if (p)
		apply(vm, p);
}

void desired_run(struct vm *vm)
{
	/* What is under way comes back here. */
	if (vm->desired.step == DESIRED_IDLE)
		step(vm);
}
