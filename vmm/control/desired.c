// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which rules are about a VM, and what is known of each; see desired.h. Must never decide against somebody who took a
 * patch out by hand, and must never take a worker's word for more than a state.
 */
#include "vmm/control/desired.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "protocol/qmp.h"
#include "vmm/control/daemon.h"
#include "vmm/control/desired_hold.h"
#include "vmm/control/desired_run.h"
#include "vmm/control/log.h"
#include "vmm/control/vm.h"

#define ADOPTION_US (60 * 1000000ull)

static const char *const state_names[] = {
	[DESIRED_WAITING] = "waiting",	 [DESIRED_APPLIED] = "applied",	  [DESIRED_PRESENT] = "present",
	[DESIRED_REFUSED] = "refused",	 [DESIRED_REVERTED] = "reverted", [DESIRED_OTHER_KERNEL] = "other-kernel",
	[DESIRED_ATTENTION] = "attention",
};

const char *desired_state_name(enum desired_state state)
{
	return state_names[state];
}

struct desired_patch *desired_find(struct desired *d, const char *patch)
{
	for (size_t i = 0; patch && i < d->n; i++)
		if (strcmp(d->list[i].patch, patch) == 0)
			return &d->list[i];
	return NULL;
}

bool desired_needs(const struct desired_patch *p)
{
	return p->state == DESIRED_WAITING || (p->state == DESIRED_APPLIED && !p->known);
}

/* --- telling --- */

static void add_why(json_t *o, const struct err *why)
{
	if (why->kind == ERR_NONE)
		return;
	json_t *error = qmp_error_to_json(why); /* the formatter repairs a text that is not UTF-8 */
	json_object_set(o, "why", json_object_get(error, "desc"));
	json_decref(error);
	if (why->rule[0])
		json_object_set_new(o, "refusal", json_string(why->rule));
}

static void tell(struct vm *vm, const struct desired_patch *p)
{
	json_t *data = json_pack("{s:s, s:I, s:s, s:s}", "vm", vm->entry.name, "rule", (json_int_t)p->rule, "patch", p->patch,
				 "state", state_names[p->state]);

	add_why(data, &p->why);
	log_msg(LOG_NOTICE, vm->entry.name, "rule %u, patch %s: %s%s%s", p->rule, p->patch, state_names[p->state],
		p->why.kind ? ": " : "", p->why.kind ? p->why.text : "");
	daemon_event(vm->daemon, "RULE_STATUS_CHANGE", data);
}

void desired_set(struct vm *vm, struct desired_patch *p, enum desired_state state, const struct err *why)
{
	bool changed = p->state != state;

	p->state = state;
	p->why = why ? *why : (struct err){ 0 };
	if (!changed)
		return;
	p->since = (json_int_t)time(NULL);
	if (vm->phase == VM_ACTIVE)
		tell(vm, p);
}

static json_t *patch_json(const struct vm *vm, const struct desired_patch *p)
{
	const struct rule *r = rules_find(&vm->daemon->rules, p->rule);
	json_t *o = json_pack("{s:s, s:s, s:I, s:I, s:I}", "patch", p->patch, "state", state_names[p->state], "rule",
			      (json_int_t)p->rule, "since", p->since, "tries", (json_int_t)p->tries);

	if (r)
		json_object_set_new(o, "pattern", json_string(r->pattern));
	if (r)
		json_object_set_new(o, "priority", json_integer(r->priority));
	if (r && r->has_author)
		json_object_set_new(o, "added_by", json_integer((json_int_t)r->author));
	if (r && r->build_id[0])
		json_object_set_new(o, "build_id", json_string(r->build_id));
	add_why(o, &p->why);
	return o;
}

static bool as_desired(const struct desired_patch *p)
{
	return p->state == DESIRED_APPLIED || p->state == DESIRED_PRESENT || p->state == DESIRED_OTHER_KERNEL;
}

void desired_add_json(const struct vm *vm, json_t *o)
{
	const struct desired *d = &vm->desired;
	bool right = true, settled = d->step == DESIRED_IDLE;
	json_t *list = json_array();

	for (size_t i = 0; i < d->n; i++) {
		right &= as_desired(&d->list[i]);
		settled &= !desired_needs(&d->list[i]);
		json_array_append_new(list, patch_json(vm, &d->list[i]));
	}
	json_object_set_new(o, "desired", list);
	json_object_set_new(o, "as_desired", json_boolean(right));
	json_object_set_new(o, "settled", json_boolean(settled));
}

json_t *desired_rule_json(const struct vm *vm, unsigned rule)
{
	const struct desired *d = &vm->desired;

	for (size_t i = 0; i < d->n; i++) {
		if (d->list[i].rule != rule)
			continue;
		json_t *o = json_pack("{s:s, s:s}", "vm", vm->entry.name, "state", state_names[d->list[i].state]);
		add_why(o, &d->list[i].why);
		return o;
	}
	return NULL;
}

/* --- which rules --- */

static struct desired_patch *find_rule(struct desired *d, unsigned number)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->list[i].rule == number)
			return &d->list[i];
	return NULL;
}

static bool listed(const struct desired_patch *list, size_t n, const char *patch)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i].patch, patch) == 0)
			return true;
	return false;
}

/* A rule of higher priority for the same patch takes the place of the others. */
static size_t match(struct vm *vm, unsigned changed, struct desired_patch *list)
{
	struct desired *d = &vm->desired;
	const struct rule *r;
	size_t n = 0;

	TAILQ_FOREACH(r, &vm->daemon->rules.list, link) {
		if (n == RULES_PER_VM_MAX)
			break;
		if (!rule_matches(r, vm->entry.name) || listed(list, n, r->patch))
			continue;
		const struct desired_patch *old = r->number == changed ? NULL : find_rule(d, r->number);
		list[n] = old ? *old : (struct desired_patch){ .rule = r->number, .since = (json_int_t)time(NULL) };
		strcpy(list[n].patch, r->patch);
		if (!old && desired_holds(d, r->patch)) {
			list[n].state = DESIRED_REVERTED;
			desired_hold_why(&list[n].why);
		}
		n++;
	}
	return n;
}

static void rematch(struct vm *vm, unsigned changed)
{
	struct desired *d = &vm->desired;
	struct desired_patch *list = calloc(RULES_PER_VM_MAX, sizeof(*list));

	if (!list) {
		log_msg(LOG_ERR, vm->entry.name, "out of memory: its rules are as they were");
		return;
	}
	d->n = match(vm, changed, list);
	free(d->list);
	d->list = d->n ? realloc(list, d->n * sizeof(*list)) : NULL;
	if (!d->n)
		free(list);
	else if (!d->list)
		d->list = list;
}

/* Nothing that was seen of the guest counts any more, nor what a step under way will say of it. */
static void look_again(struct desired *d)
{
	d->asked = d->probed = false;
	d->outdated = d->step != DESIRED_IDLE;
}

void desired_rules_changed(struct vm *vm, unsigned number)
{
	struct desired *d = &vm->desired;

	rematch(vm, number);
	d->asked = false; /* what a new rule wants may be in already */
	d->probed = false; /* and it may not be for this kernel */
	d->tries = 0;
	desired_run(vm);
}

/* -EACCES is what policy.h, trust.h and serials.h refuse with. */
void desired_policy_changed(struct vm *vm)
{
	struct desired *d = &vm->desired;

	for (size_t i = 0; i < d->n; i++) {
		struct desired_patch *p = &d->list[i];

		if (p->state == DESIRED_REFUSED && p->why.kind == ERR_REFUSED && p->why.error == EACCES)
			desired_set(vm, p, DESIRED_WAITING, NULL);
	}
	desired_run(vm);
}

void desired_init(struct vm *vm)
{
	desired_hold_load(vm);
	rematch(vm, 0);
}

void desired_clear(struct vm *vm)
{
	struct desired *d = &vm->desired;

	sd_event_source_disable_unref(d->timer);
	json_decref(d->held);
	free(d->list);
	*d = (struct desired){ 0 };
}

void desired_forget(struct vm *vm)
{
	json_decref(vm->desired.held);
	vm->desired.held = NULL;
	desired_hold_save(vm);
}

/* --- what happens --- */

void desired_new_boot(struct vm *vm)
{
	struct desired *d = &vm->desired;
	bool held = json_array_size(d->held) > 0;

	json_decref(d->held);
	d->held = NULL;
	d->boot = (struct desired_boot){ 0 };
	if (held)
		desired_hold_save(vm);
	for (size_t i = 0; i < d->n; i++) {
		d->list[i].tries = 0;
		d->list[i].applied = 0;
		d->list[i].known = false;
		desired_set(vm, &d->list[i], DESIRED_WAITING, NULL);
	}
}

void desired_ready(struct vm *vm)
{
	struct desired *d = &vm->desired;

	d->asked = d->probed = false;
	d->tries = 0;
	for (size_t i = 0; i < d->n; i++)
		d->list[i].known = false;
	desired_run(vm);
}

static void take_out(struct vm *vm, const char *patch)
{
	struct desired_patch *p = desired_find(&vm->desired, patch);
	struct err why;

	if (!p || p->state == DESIRED_REVERTED)
		return;
	desired_hold_why(&why);
	desired_hold(&vm->desired, patch);
	desired_hold_save(vm);
	desired_set(vm, p, DESIRED_REVERTED, &why);
}

static void put_in(struct vm *vm, struct desired_patch *p)
{
	p->known = true;
	p->tries = 0;
	if (desired_holds(&vm->desired, p->patch)) {
		desired_unhold(&vm->desired, p->patch);
		desired_hold_save(vm);
	}
	desired_set(vm, p, DESIRED_APPLIED, NULL);
}

static void patch_changed(struct vm *vm, const char *patch, const char *state)
{
	struct desired_patch *p = desired_find(&vm->desired, patch);
	struct err why;

	if (!p || !state)
		return;
	if (strcmp(state, "applied") == 0) {
		put_in(vm, p);
	} else if (strcmp(state, "reverted") == 0) {
		take_out(vm, patch);
	} else if (strcmp(state, "attention") == 0) {
		err_set(&why, ERR_ATTENTION, EUCLEAN, "attention", "its sites hold bytes vmpoke did not write; see 'vmpoke verify'");
		desired_set(vm, p, DESIRED_ATTENTION, &why);
	} else if (strcmp(state, "lost") == 0) { /* what makes it so may be a boot, which is asked for again */
		vm->desired.probed = false;
		desired_set(vm, p, DESIRED_WAITING, NULL);
		desired_run_in(vm, DESIRED_RESET_MS);
	}
}

static void state_changed(struct vm *vm, const char *state)
{
	struct desired *d = &vm->desired;

	if (state && strcmp(state, "unreachable") == 0) /* whoever comes back may be another one */
		look_again(d);
	d->tries = 0;
	desired_run(vm);
}

void desired_event(struct vm *vm, const char *name, json_t *data)
{
	struct desired *d = &vm->desired;

	if (strcmp(name, "GUEST_RESET") == 0) {
		look_again(d);
		d->tries = 0;
		desired_new_boot(vm);
		if (d->n)
			desired_run_in(vm, DESIRED_RESET_MS);
	} else if (strcmp(name, "VM_STATE_CHANGE") == 0) {
		state_changed(vm, json_string_value(json_object_get(data, "state")));
	} else if (strcmp(name, "PATCH_STATUS_CHANGE") == 0) {
		patch_changed(vm, json_string_value(json_object_get(data, "patch")),
			      json_string_value(json_object_get(data, "state")));
	}
}

/* Also of what was not in: who says so does not want it. */
void desired_done(struct vm *vm, const char *command, json_t *value)
{
	if (strcmp(command, "patch-revert") == 0)
		take_out(vm, json_string_value(json_object_get(value, "patch")));
	else if (strcmp(command, "patch-replace") == 0)
		take_out(vm, json_string_value(json_object_get(value, "replaced")));
	else if (strcmp(command, "patch-adopt") == 0) {
		vm->desired.adopt_until = 0;
		desired_run(vm);
	}
}

void desired_await_adoption(struct vm *vm)
{
	vm->desired.adopt_until = now_us() + ADOPTION_US;
}
