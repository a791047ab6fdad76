// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * patch-replace: one patch out, another in. Two transactions, one after the other: in between the guest runs
 * without either, never with half of one. What can be known to go wrong with the second is found out
 * before the first; when it fails all the same the first is undone, also by the next worker where this one dies.
 */
#include <errno.h>
#include <string.h>

#include "vmm/fault.h"
#include "vmm/worker/commands.h"
#include "vmm/worker/prepare.h"

#define TIMEOUT_DEFAULT_MS 10000

/* The new patch is planned against memory without the old one. */
static int plan_without(struct session *s, const struct patch_record *old, struct prepared *p, struct err *e)
{
	__attribute__((cleanup(overlay_clear))) struct overlay overlay = { 0 };
	const struct poke_plan *plan = old->begin->plan;
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->n_sites; i++)
		r = overlay_add(&overlay, s->guest, &plan->sites[i], 0, e);
	if (r == 0)
		r = overlay_close(&overlay, e);
	if (r < 0)
		return r;
	s->overlay = &overlay;
	s->without = old;
	r = prepare_plan(s, p, e);
	s->without = NULL;
	s->overlay = NULL;
	return r;
}

static json_t *revert_args(json_t *args, const char *old)
{
	static const char *const shared[] = { "vm", "timeout", "agent-use", "job-id" };
	json_t *o = json_pack("{s:s}", "patch", old);

	for (size_t i = 0; i < ARRAY_SIZE(shared); i++)
		if (json_object_get(args, shared[i]))
			json_object_set(o, shared[i], json_object_get(args, shared[i]));
	return o;
}

/* The old one again, from what was stored of it. */
static int put_back(struct session *s, json_t *args, const char *old, struct err *e)
{
	json_auto_t *back = revert_args(args, old);
	json_auto_t *ignored = NULL;
	struct err why = { 0 };

	json_object_del(back, "timeout");
	json_object_del(back, "job-id"); /* cancelling is what may have brought us here */
	if (command_patch_apply(s, back, &ignored, &why) >= 0) {
		err_prefix(e, "the old patch was put back");
		return -e->error;
	}
	if (why.kind == ERR_INACTIVE)
		return err_set(e, ERR_INACTIVE, ENOTCONN, "replace", "the old patch '%s' is out, and is put back when the VM can be "
			       "reached: %.150s (%.150s)", old, why.text, e->text);
	return err_set(e, ERR_ATTENTION, EUCLEAN, "replace", "the old patch '%s' is out and cannot be put back: %.150s (%.150s)",
		       old, why.text, e->text);
}

/* With the monitor gone in the middle of either it is open still: then whoever reaches the VM again goes on (replacing.h). */
static void settled(struct session *s, const struct err *e)
{
	bool open = s->open || (e && e->kind == ERR_INACTIVE);

	if (!open)
		replacing_end(s);
}

static int transactions(struct session *s, const char *old, json_t *args, json_t **ret, struct err *e)
{
	json_auto_t *back = revert_args(args, old);
	json_auto_t *reverted = NULL;
	int r = command_patch_revert(s, back, &reverted, e);

	if (r < 0)
		return r;
	fault_point("replace-between");
	r = command_patch_apply(s, args, ret, e);
	return r < 0 ? put_back(s, args, old, e) : r;
}

static int replace(struct session *s, const char *old, const char *new, json_t *args, json_t **ret, struct err *e)
{
	int r = replacing_begin(s, old, new, e);

	if (r < 0)
		return r;
	r = transactions(s, old, args, ret, e);
	settled(s, r < 0 ? e : NULL);
	if (r < 0)
		return r;
	json_object_set_new(*ret, "replaced", json_string(old));
	json_object_set_new(*ret, "transactions", json_integer(2));
	return 0;
}

static int find_old(struct session *s, const char *name, struct patch_record **ret, struct err *e)
{
	struct patch_record *in = patch_list_find(&s->patches, name);

	if (in)
		session_lose_if_gone(s, in);
	if (!in || in->status == PATCH_LOST)
		return err_set(e, ERR_NOT_FOUND, ENOENT, NULL, "no patch named '%s' is applied here", name);
	if (in->status == PATCH_ATTENTION)
		return err_set(e, ERR_ATTENTION, EUCLEAN, "attention", "patch '%s' needs attention; see verify", name);
	*ret = in;
	return 0;
}

static int check_name(const struct prepared *p, const char *old, struct err *e)
{
	if (strcmp(p->file->name, old) != 0)
		return 0;
	return err_set(e, ERR_REFUSED, EEXIST, "name-in-use", "the new patch is named '%s' as well: what is kept of the old one "
		       "would be lost; give it another name", old);
}

/* Everything that can be known to be wrong with it while the old one is still in. */
static int check(struct session *s, const char *old, json_t *args, char new[static PATCHFILE_NAME_MAX + 1], struct err *e)
{
	__attribute__((cleanup(prepared_clear))) struct prepared p = { 0 };
	struct patch_record *in = NULL;
	int r = prepare_file(s, args, &p, e);

	if (r >= 0)
		r = check_name(&p, old, e);
	if (r >= 0)
		strcpy(new, p.file->name);
	if (r >= 0)
		r = session_guest(s, NULL, e);
	if (r >= 0)
		r = find_old(s, old, &in, e);
	if (r >= 0)
		r = prepare_vmlinux(s, args, &p, e);
	return r < 0 ? r : plan_without(s, in, &p, e);
}

/* Each of the two has half of the time. */
static int halve_timeout(json_t *args)
{
	json_t *ms = json_object_get(args, "timeout");
	json_int_t half = ms ? json_integer_value(ms) / 2 : TIMEOUT_DEFAULT_MS / 2;

	return json_object_set_new(args, "timeout", json_integer(half));
}

int command_patch_replace(struct session *s, json_t *args, json_t **ret, struct err *e)
{
	_cleanup_free_ char *old = strdup(json_string_value(json_object_get(args, "old")));
	json_auto_t *rest = json_copy(args);
	char new[PATCHFILE_NAME_MAX + 1];

	if (!old || !rest || halve_timeout(rest) < 0)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	json_object_del(rest, "old");
	int r = check(s, old, rest, new, e);
	return r < 0 ? r : replace(s, old, new, rest, ret, e);
}
