// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a request asks for, in the terms of the policy; see authorize.h. Must never let a
 * command pass because something about it could not be found out.
 */
#include "vmm/control/authorize.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>

#include "vmm/control/author.h"
#include "vmm/control/daemon.h"
#include "vmm/control/session.h"
#include "vmm/control/trust.h"
#include "vmm/control/vm.h"

/* What is allowed and changes nothing is not worth a line: a dashboard asks each second. */
static bool worth_noting(enum schema_class class)
{
	return class != SCHEMA_CLASS_MONITOR && class != SCHEMA_CLASS_SESSION;
}

static void entry_begin(const struct session *s, const struct schema_command *cmd, struct audit_entry *x)
{
	*x = (struct audit_entry){
		.pid = s->peer.pid, .uid = s->peer.uid, .gid = s->peer.gid, .command = cmd->name, .class = cmd->class,
	};
}

int authorize_socket(struct daemon *d, struct session *s, const struct schema_command *cmd, struct err *e)
{
	struct audit_entry x;

	if (!s->read_only || schema_on_read_only_socket(cmd))
		return 0;
	entry_begin(s, cmd, &x);
	int r = err_set(e, ERR_REFUSED, EACCES, "read-only",
			"%s does more than look at what is known, and this is the read-only socket; use control.sock", cmd->name);
	audit_write(&d->audit, &x, AUDIT_REFUSED, e, NULL);
	return r;
}

static const char *arg_text(json_t *args, const char *name)
{
	return json_string_value(json_object_get(args, name));
}

/* Rules are about names: a VM may be asked for by other words, too. What is not there has no other name. */
static const char *canonical_name(struct daemon *d, const char *vm)
{
	const struct vm *found = vm ? vm_find(d, vm, NULL) : NULL;

	return found ? found->entry.name : vm;
}

/* The VM is called "name" where it is about to be one, "pattern" where it may be several. */
static void entry_vm(struct daemon *d, struct audit_entry *x, json_t *args, struct policy_request *r)
{
	const char *vm = canonical_name(d, arg_text(args, "vm"));

	if (!vm && x->class == SCHEMA_CLASS_MANAGE)
		vm = arg_text(args, "name");
	if (!vm && x->class == SCHEMA_CLASS_RULES) {
		vm = arg_text(args, "pattern");
		r->vm_is_pattern = vm;
	}
	if (vm)
		snprintf(x->vm, sizeof(x->vm), "%s", vm);
	r->vm = vm ? x->vm : NULL;
}

/* A command on a job is judged as the job's own command on the job's VM. */
static void entry_job(struct daemon *d, struct audit_entry *x, json_t *args)
{
	const struct job *job = jobs_find(&d->jobs, arg_text(args, "id"), NULL);
	const struct schema_command *cmd = job ? schema_command_find(job->type) : NULL;

	x->class = cmd ? cmd->class : SCHEMA_CLASS_SESSION; /* no such job: the command says so */
	if (job)
		snprintf(x->vm, sizeof(x->vm), "%s", job->vm);
}

static unsigned arg_overrides(const struct schema_command *cmd, json_t *args)
{
	unsigned mask = 0;

	for (const struct schema_arg *a = cmd->args; a < cmd->args + SCHEMA_ARGS_MAX && a->name; a++)
		if (a->override && json_object_get(args, a->name))
			mask |= policy_override_from_name(a->name);
	return mask;
}

static unsigned patch_overrides(const struct patchfile *patch)
{
	return (patch->n_sites > 1 && !patch->atomic ? POLICY_OVERRIDE_ATOMIC : 0u) |
	       (patch->n_exclusions ? POLICY_OVERRIDE_EXCLUDE : 0u);
}

/* The text of a patch that was applied before, as its worker keeps it; malloc'ed. -ENOENT: there is none. */
static int stored_text(const struct daemon *d, const struct audit_entry *x, const char *name, char **ret, size_t *ret_len)
{
	char path[PATH_MAX];

	if (!patch_name_valid(name) || !patch_name_valid(x->vm))
		return -ENOENT;
	int n = snprintf(path, sizeof(path), "%s/patches/%s/%s.yaml", d->worker_config.state_dir, x->vm, name);
	return n < 0 || (size_t)n >= sizeof(path) ? -ENAMETOOLONG : read_file(path, PATCHFILE_SIZE_MAX, ret, ret_len);
}

/*
 * Name and overrides of the patch. A text that does not parse has neither: the worker, which has the same
 * parser, refuses it and says why.
 */
static int entry_patch(struct daemon *d, struct audit_entry *x, const struct schema_command *cmd, json_t *args,
		       struct policy_request *r, struct err *e)
{
	_cleanup_(patchfile_free) struct patchfile *patch = NULL;
	const char *text = arg_text(args, "text"), *name = arg_text(args, "patch");
	_cleanup_free_ char *stored = NULL;
	size_t len = text ? strlen(text) : 0;

	if (name)
		snprintf(x->patch, sizeof(x->patch), "%s", name);
	/* The text of a revert only names the patch, and so does what takes no text: patch-export, rule-remove. */
	if (x->class != SCHEMA_CLASS_REVERT && schema_takes(cmd, "text"))
		r->has_patch = text || name;
	/* Nobody but a record says which bytes reverting its patch will write, and none is signed. */
	r->has_patch |= schema_takes(cmd, "records");
	if (!text && name && r->has_patch) {
		int error = stored_text(d, x, name, &stored, &len);
		if (error < 0 && error != -ENOENT)
			return err_set(e, ERR_FAILED, -error, NULL, "the stored text of patch '%s' cannot be read: %s", name, strerror(-error));
		text = stored;
	}
	int error = text ? patchfile_parse(text, len, "patch", &patch, NULL) : -ENOENT;
	if (error < 0)
		return error == -ENOMEM ? err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory") : 0;
	snprintf(x->patch, sizeof(x->patch), "%s", patch->name);
	if (r->has_patch)
		r->overrides |= patch_overrides(patch);
	return 0;
}

/* A revert needs no signature: what takes a patch out again must never be in its way. */
static int check_signature(const struct trust_store *store, struct audit_entry *x, json_t *args, struct policy_request *r,
			   struct trust_result *trust, struct err *e)
{
	int error = trust_check(store, args, r->vm_is_pattern ? NULL : r->vm, trust, e);

	memcpy(x->key, trust->key, sizeof(x->key));
	if (error < 0)
		return error;
	r->is_signed = trust->is_signed;
	x->serial = trust->is_signed ? trust->manifest.serial : 0;
	return 0;
}

static int decide(struct daemon *d, struct audit_entry *x, struct session *s, const struct schema_command *cmd, json_t *args,
		  struct err *e)
{
	struct trust_store store = { .keys = d->keys, .serials_fd = d->serials_fd, .now = (int64_t)time(NULL) };
	struct policy_request r = { .peer = &s->peer };
	struct trust_result trust = { 0 };
	const char *rule = "";

	if (cmd->class == SCHEMA_CLASS_JOB)
		entry_job(d, x, args);
	if (x->class == SCHEMA_CLASS_SESSION)
		return 0;
	entry_vm(d, x, args, &r);
	if (cmd->class == SCHEMA_CLASS_JOB && x->vm[0])
		r.vm = x->vm;
	r.class = x->class;
	r.also = cmd->also;
	r.overrides = arg_overrides(cmd, args);
	int error = cmd->class != SCHEMA_CLASS_JOB ? entry_patch(d, x, cmd, args, &r, e) : 0;
	if (error == 0)
		error = check_signature(&store, x, args, &r, &trust, e);
	if (error == 0)
		error = policy_decide(&d->config->policy, &r, &rule, e);
	if (error < 0 && e && strcmp(e->rule, "unsigned") == 0 && schema_takes(cmd, "records"))
		error = err_set(e, ERR_REFUSED, EACCES, "unsigned", "records are not signed, and unsigned patches are not allowed here");
	snprintf(x->rule, sizeof(x->rule), "%s", rule);
	if (error == 0 && trust.is_signed && x->class != SCHEMA_CLASS_CHECK)
		error = trust_take(&store, &trust, e);
	return error;
}

int authorize(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args, struct err *e)
{
	struct audit_entry *x = &s->asked;

	entry_begin(s, cmd, x);
	int r = decide(d, x, s, cmd, args, e);
	if (r < 0) {
		audit_write(&d->audit, x, AUDIT_REFUSED, e, NULL);
		return r;
	}
	return worth_noting(x->class) ? audit_write(&d->audit, x, AUDIT_ALLOWED, NULL, e) : 0;
}

/* Whoever added it may have lost the right since, and unsigned patches theirs. */
static int decide_author(struct daemon *d, const struct rule *rule, struct policy_request *r, struct err *e)
{
	const struct policy *policy = &d->config->policy;
	struct peer author = { 0 };
	const char *ignored;

	if (policy->n_rules && !rule->has_author)
		return err_set(e, ERR_REFUSED, EACCES, "policy", "it is not known who added rule %u; add it again", rule->number);
	int error = policy->n_rules ? author_read(rule->author, &author, e) : 0;
	if (error < 0)
		return error;
	r->peer = &author;
	error = policy_decide(policy, r, &ignored, e);
	if (error < 0 && strcmp(e->rule, "unsigned") != 0)
		err_prefix(e, "whoever added rule %u may not do so now", rule->number);
	r->peer = NULL;
	peer_clear(&author);
	return error;
}

static int decide_rule(struct daemon *d, struct audit_entry *x, const struct rule *rule, json_t *args, struct err *e)
{
	struct trust_store store = { .keys = d->keys, .serials_fd = d->serials_fd, .now = (int64_t)time(NULL) };
	const struct schema_command *cmd = schema_command_find("patch-apply");
	struct policy_request r = { .class = SCHEMA_CLASS_RULES, .vm = x->vm, .overrides = arg_overrides(cmd, args) };
	struct trust_result trust = { 0 };

	int error = entry_patch(d, x, cmd, args, &r, e);
	if (error == 0)
		error = check_signature(&store, x, args, &r, &trust, e);
	if (error == 0)
		error = decide_author(d, rule, &r, e);
	if (error == 0 && trust.is_signed)
		error = trust_take(&store, &trust, e);
	return error;
}

int authorize_rule(struct daemon *d, const char *vm, const struct rule *rule, json_t *args, struct audit_entry *ret, struct err *e)
{
	struct audit_entry *x = ret;

	*x = (struct audit_entry){ .pid = getpid(), .uid = geteuid(), .gid = getegid(), .command = "patch-apply",
				   .class = SCHEMA_CLASS_APPLY };
	snprintf(x->vm, sizeof(x->vm), "%s", vm);
	int r = decide_rule(d, x, rule, args, e);
	snprintf(x->rule, sizeof(x->rule), "install-rule-%u", rule->number);
	if (r < 0) {
		audit_write(&d->audit, x, AUDIT_REFUSED, e, NULL);
		return r;
	}
	return audit_write(&d->audit, x, AUDIT_ALLOWED, NULL, e);
}

bool authorize_sees(const struct daemon *d, const struct session *s, const char *vm)
{
	return policy_sees(&d->config->policy, &s->peer, vm);
}
