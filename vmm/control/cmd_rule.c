// SPDX-License-Identifier: GPL-2.0-or-later
/* rule-add, rule-remove, query-rules, query-desired: what is to be in which VMs. What follows from it is desired.c's. */
#include <errno.h>
#include <string.h>

#include "vmm/control/authorize.h"
#include "vmm/control/command.h"
#include "vmm/control/daemon.h"
#include "vmm/control/log.h"
#include "vmm/control/session.h"
#include "vmm/control/vm.h"

/* The rule's own arguments; all others are patch-apply's, and kept as they are. */
static const char *const own_arguments[] = { "pattern", "priority", "build-id" };

static void tell_vms(struct daemon *d, const struct rule *r)
{
	struct vm *vm;

	LIST_FOREACH(vm, &d->vms, link)
		if (rule_matches(r, vm->entry.name))
			desired_rules_changed(vm, r->number);
}

static json_int_t count_matches(const struct daemon *d, const struct rule *r)
{
	json_int_t n = 0;
	const struct vm *vm;

	LIST_FOREACH(vm, &d->vms, link)
		n += vm->phase == VM_ACTIVE && rule_matches(r, vm->entry.name);
	return n;
}

static int rule_from_args(const struct session *s, json_t *args, struct rule *ret, json_t **ret_apply, struct err *e)
{
	const char *pattern = json_string_value(json_object_get(args, "pattern"));
	const char *build_id = json_string_value(json_object_get(args, "build-id"));
	struct rule r = { .priority = (int)json_integer_value(json_object_get(args, "priority")),
			  .added_at = (json_int_t)time(NULL), .has_author = true, .author = s->peer.uid };

	snprintf(r.pattern, sizeof(r.pattern), "%s", pattern); /* the schema bounds both */
	snprintf(r.build_id, sizeof(r.build_id), "%s", build_id ? build_id : "");
	json_t *apply = json_copy(args);
	if (!apply)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	for (size_t i = 0; i < ARRAY_SIZE(own_arguments); i++)
		json_object_del(apply, own_arguments[i]);
	*ret = r;
	*ret_apply = apply;
	return 0;
}

int cmd_rule_add(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args, json_t **ret,
		 struct err *e)
{
	json_auto_t *apply = NULL;
	struct rule want, *r;

	(void)cmd;
	int changed = rule_from_args(s, args, &want, &apply, e);
	if (changed == 0)
		changed = rules_add(&d->rules, &want, apply, &r, e);
	if (changed < 0)
		return changed;
	*ret = rule_json(r);
	json_object_set_new(*ret, "changed", json_boolean(changed));
	json_object_set_new(*ret, "matches", json_integer(count_matches(d, r)));
	if (!changed)
		return 0;
	log_msg(LOG_NOTICE, NULL, "rule %u: patch %s in '%s', priority %d, asked by pid %d uid %u", r->number, r->patch, r->pattern,
		r->priority, s->peer.pid, s->peer.uid);
	tell_vms(d, r);
	return 0;
}

int cmd_rule_remove(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args, json_t **ret,
		    struct err *e)
{
	struct rule *r = rules_find_patch(&d->rules, json_string_value(json_object_get(args, "pattern")),
					  json_string_value(json_object_get(args, "patch"))), gone;

	(void)cmd;
	*ret = r ? rule_json(r) : json_object();
	json_object_set_new(*ret, "changed", json_boolean(r));
	if (!r)
		return 0;
	gone = *r;
	int error = rules_remove(&d->rules, r, e);
	if (error < 0) {
		json_decref(*ret);
		*ret = NULL;
		return error;
	}
	log_msg(LOG_NOTICE, NULL, "rule %u (patch %s in '%s') removed, asked by pid %d uid %u", gone.number, gone.patch, gone.pattern,
		s->peer.pid, s->peer.uid);
	tell_vms(d, &gone);
	return 0;
}

/* Who may not look at a VM is not told of it, nor of rules that are about such only. */
static json_t *rule_with_vms(const struct daemon *d, const struct session *s, const struct rule *r)
{
	json_t *o = rule_json(r), *vms = json_array();
	const struct vm *vm;

	LIST_FOREACH(vm, &d->vms, link) {
		bool shown = vm->phase == VM_ACTIVE && authorize_sees(d, s, vm->entry.name);
		json_t *state = shown ? desired_rule_json(vm, r->number) : NULL;

		if (state)
			json_array_append_new(vms, state);
	}
	if (json_array_size(vms) == 0 && !authorize_sees(d, s, r->pattern)) {
		json_decref(vms);
		json_decref(o);
		return NULL;
	}
	json_object_set_new(o, "vms", vms);
	return o;
}

#define RULES_REPLY_BYTES (900u << 10)

int cmd_query_rules(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args, json_t **ret,
		    struct err *e)
{
	json_int_t start = json_integer_value(json_object_get(args, "start"));
	json_auto_t *list = json_array();
	size_t bytes = 0;
	const struct rule *r;

	(void)cmd;
	TAILQ_FOREACH(r, &d->rules.list, link) {
		json_auto_t *o = rule_with_vms(d, s, r);

		if (!o || start-- > 0)
			continue;
		bytes += json_dumpb(o, NULL, 0, JSON_ENSURE_ASCII);
		if (bytes > RULES_REPLY_BYTES && json_array_size(list))
			break; /* the client asks for the rest with "start" */
		if (bytes > RULES_REPLY_BYTES)
			json_object_del(o, "vms");
		json_array_append(list, o);
	}
	(void)e;
	*ret = json_incref(list);
	return 0;
}

int cmd_query_desired(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args, json_t **ret,
		      struct err *e)
{
	struct vm *vm = vm_find(d, json_string_value(json_object_get(args, "vm")), e);

	(void)s, (void)cmd;
	if (!vm)
		return -ENOENT;
	*ret = json_pack("{s:s}", "vm", vm->entry.name);
	desired_add_json(vm, *ret);
	return 0;
}
