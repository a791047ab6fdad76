// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Decisions; see policy.h. One rule has to allow all of a request: what two rules
 * allow in halves is allowed by none. Must never allow for want of an answer.
 */
#include "vmm/control/policy.h"

#include <errno.h>
#include <fnmatch.h>
#include <string.h>

#include "vmm/control/peer.h"

static const struct {
	const char *name;
	unsigned bit;
} overrides[] = {
	{ "mode", POLICY_OVERRIDE_MODE },
	{ "traps", POLICY_OVERRIDE_TRAPS },
	{ "agent-use", POLICY_OVERRIDE_AGENT_USE },
	{ "keep-patches", POLICY_OVERRIDE_KEEP_PATCHES },
	{ "atomic", POLICY_OVERRIDE_ATOMIC },
	{ "exclude", POLICY_OVERRIDE_EXCLUDE },
	{ "*", POLICY_OVERRIDE_ALL },
};

unsigned policy_override_from_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(overrides); i++)
		if (strcmp(overrides[i].name, name) == 0)
			return overrides[i].bit;
	return 0;
}

const char *policy_override_name(unsigned mask)
{
	for (size_t i = 0; i < ARRAY_SIZE(overrides); i++)
		if (overrides[i].bit & mask)
			return overrides[i].name;
	return "";
}

void policy_init(struct policy *p)
{
	*p = (struct policy){ .unsigned_ok = true };
}

void policy_clear(struct policy *p)
{
	free(p->rules);
	*p = (struct policy){ 0 };
}

/* Two languages of patterns cannot be compared cheaply; "PREFIX*" and equality are what people write. */
bool policy_pattern_covers(const char *pattern, const char *other)
{
	size_t len = strlen(pattern);

	if (!strpbrk(other, "*?[\\"))
		return fnmatch(pattern, other, 0) == 0;
	if (strcmp(pattern, other) == 0)
		return true;
	return len > 0 && strcspn(pattern, "*?[\\") == len - 1 && pattern[len - 1] == '*' &&
	       strncmp(pattern, other, len - 1) == 0;
}

static bool rule_is_for(const struct policy_rule *rule, const struct peer *peer)
{
	if (rule->everybody)
		return true;
	for (size_t i = 0; i < rule->n_uids; i++)
		if (rule->uids[i] == peer->uid)
			return true;
	for (size_t i = 0; i < rule->n_gids; i++)
		if (peer_in_group(peer, rule->gids[i]))
			return true;
	return false;
}

static bool rule_covers_vm(const struct policy_rule *rule, const char *vm, bool is_pattern)
{
	for (size_t i = 0; i < rule->n_vms; i++)
		if (is_pattern ? policy_pattern_covers(rule->vms[i], vm) : fnmatch(rule->vms[i], vm, 0) == 0)
			return true;
	return false;
}

static bool rule_unsigned_ok(const struct policy *p, const struct policy_rule *rule)
{
	return rule->unsigned_set ? rule->unsigned_ok : p->unsigned_ok;
}

/* How near a rule came to allowing: the sentence is about the one that came nearest. */
enum reached { REACHED_NOTHING, REACHED_USER, REACHED_CLASS, REACHED_VM, REACHED_OVERRIDES, REACHED_ALL };

/* The first class of the request that the rule does not give. */
static enum schema_class class_missing(const struct policy_rule *rule, const struct policy_request *r)
{
	if (!(rule->classes & 1u << r->class))
		return r->class;
	return r->also != SCHEMA_CLASS_NONE && !(rule->classes & 1u << r->also) ? r->also : SCHEMA_CLASS_NONE;
}

static enum reached rule_reaches(const struct policy *p, const struct policy_rule *rule, const struct policy_request *r)
{
	if (!rule_is_for(rule, r->peer))
		return REACHED_NOTHING;
	if (class_missing(rule, r) != SCHEMA_CLASS_NONE)
		return REACHED_USER;
	if (r->vm && !rule_covers_vm(rule, r->vm, r->vm_is_pattern))
		return REACHED_CLASS;
	if (r->overrides & ~rule->overrides)
		return REACHED_VM;
	return r->has_patch && !r->is_signed && !rule_unsigned_ok(p, rule) ? REACHED_OVERRIDES : REACHED_ALL;
}

static int refuse_unsigned(struct err *e)
{
	return err_set(e, ERR_REFUSED, EACCES, "unsigned",
		       "the patch is not signed, and unsigned patches are not allowed here; it needs a manifest and its signature");
}

static int refuse(const struct policy_request *r, enum reached best, const struct policy_rule *nearest, struct err *e)
{
	unsigned uid = r->peer->uid;

	switch (best) {
	case REACHED_OVERRIDES:
		return refuse_unsigned(e);
	case REACHED_VM:
		return err_set(e, ERR_REFUSED, EACCES, "override", "uid %u may not use the override '%s' on '%.64s'", uid,
			       policy_override_name(r->overrides & ~nearest->overrides), r->vm ? r->vm : "");
	case REACHED_CLASS:
		return err_set(e, ERR_REFUSED, EACCES, "policy", "uid %u may not do this (class %s) to '%.64s'", uid,
			       schema_class_name(r->class), r->vm);
	case REACHED_USER:
		return err_set(e, ERR_REFUSED, EACCES, "policy", "uid %u may not do this (class %s)", uid,
			       schema_class_name(class_missing(nearest, r)));
	default:
		return err_set(e, ERR_REFUSED, EACCES, "policy", "uid %u may do nothing here: no [allow] section is for it", uid);
	}
}

int policy_decide(const struct policy *p, const struct policy_request *r, const char **ret_rule, struct err *e)
{
	const struct policy_rule *nearest = NULL;
	enum reached best = REACHED_NOTHING;

	if (p->n_rules == 0) {
		if (r->has_patch && !r->is_signed && !p->unsigned_ok)
			return refuse_unsigned(e);
		*ret_rule = "default";
		return 0;
	}
	for (size_t i = 0; i < p->n_rules; i++) {
		enum reached reached = rule_reaches(p, &p->rules[i], r);

		if (reached == REACHED_ALL) {
			*ret_rule = p->rules[i].name;
			return 0;
		}
		if (reached > best) {
			best = reached;
			nearest = &p->rules[i];
		}
	}
	return refuse(r, best, nearest, e);
}

bool policy_sees(const struct policy *p, const struct peer *peer, const char *vm)
{
	struct policy_request r = { .peer = peer, .class = SCHEMA_CLASS_MONITOR, .vm = vm };
	const char *rule;

	return policy_decide(p, &r, &rule, NULL) == 0;
}
