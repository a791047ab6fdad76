// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See replacing.h. Must never put a patch into another boot than the one it was taken out of, nor beside the patch that
 * was to take its place.
 */
#include "vmm/worker/replacing.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "protocol/qmp.h"
#include "vmm/worker/commands.h"

#define TRIES_MAX 10
#define RETRY_US (3 * 1000000ull)

static bool one_is_in(const struct session *s)
{
	return patch_list_find(&s->patches, s->replacing.old) || patch_list_find(&s->patches, s->replacing.new);
}

int replacing_begin(struct session *s, const char *old, const char *new, struct err *e)
{
	if (s->replacing.old[0] && !one_is_in(s))
		return err_set(e, ERR_TIMEOUT, EBUSY, "busy", "patch '%s' is to be put back first, which was being replaced when a worker "
			       "ended or the VM could not be reached; try again", s->replacing.old);
	struct boot boot = session_boot(s);
	struct replacing r = { .base = boot.base, .pid = boot.pid, .pid_start = boot.pid_start };

	snprintf(r.old, sizeof(r.old), "%s", old);
	snprintf(r.new, sizeof(r.new), "%s", new);
	json_t *record = json_pack("{s:s, s:s, s:s, s:o, s:I, s:o, s:I}", "type", "replace", "old", old, "new", new, "base",
				   qmp_address(boot.base), "pid", (json_int_t)boot.pid, "pid_start", qmp_address(boot.pid_start),
				   "time", (json_int_t)time(NULL));
	if (!record)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	int error = journal_append(s->journal, record, true, e);
	if (error == 0)
		s->replacing = r;
	return error;
}

void replacing_end(struct session *s)
{
	struct err ignored = { 0 };

	journal_owe(s->journal, json_pack("{s:s, s:I}", "type", "replaced", "time", (json_int_t)time(NULL)), &ignored);
	s->replacing = (struct replacing){ 0 };
}

static bool name_take(json_t *record, const char *key, char *out, size_t cap)
{
	const char *name = json_string_value(json_object_get(record, key));

	if (!name || !patch_name_valid(name))
		return false;
	snprintf(out, cap, "%s", name);
	return true;
}

int replacing_load(struct session *s, json_t *record)
{
	json_t *pid = json_object_get(record, "pid");
	struct replacing r = { .pid = (pid_t)json_integer_value(pid) };

	if (!name_take(record, "old", r.old, sizeof(r.old)) || !name_take(record, "new", r.new, sizeof(r.new)) ||
	    !json_is_integer(pid) || qmp_address_parse(json_object_get(record, "base"), &r.base) < 0 ||
	    qmp_address_parse(json_object_get(record, "pid_start"), &r.pid_start) < 0)
		return -EBADMSG;
	s->replacing = r;
	return 0;
}

int replacing_load_end(struct session *s, json_t *record)
{
	(void)record;
	s->replacing = (struct replacing){ 0 };
	return 0;
}

static bool same_boot(const struct session *s)
{
	const struct replacing *r = &s->replacing;
	struct boot now = session_boot(s), then = { .pid = r->pid, .pid_start = r->pid_start };

	return now.base == r->base && !session_other_process(s, &then);
}

/* 0: it is settled. */
static int resume(struct session *s, struct err *e)
{
	json_auto_t *args = json_pack("{s:s, s:s}", "vm", s->target.vm, "patch", s->replacing.old);
	json_auto_t *ignored = NULL;

	if (one_is_in(s))
		return 0;
	int r = session_guest(s, NULL, e);
	if (r < 0 || !same_boot(s))
		return r < 0 ? r : 0;
	r = command_patch_apply(s, args, &ignored, e);
	return r < 0 ? r : 0;
}

int replacing_resume(struct session *s, struct err *e)
{
	struct replacing *r = &s->replacing;
	int error = 0;

	if (!r->old[0] || !s->backend || s->open || now_us() < r->due_us)
		return 0;
	error = resume(s, e);
	if (error < 0 && ++r->tries < TRIES_MAX) {
		r->due_us = now_us() + RETRY_US;
		return 0;
	}
	if (error < 0)
		err_prefix(e, "patch '%s' was being replaced when a worker ended, and cannot be put back", r->old);
	replacing_end(s);
	return error;
}

int replacing_wait_ms(const struct session *s)
{
	uint64_t now = now_us();

	if (!s->replacing.old[0] || !s->backend || s->open)
		return -1;
	return s->replacing.due_us > now ? (int)((s->replacing.due_us - now) / 1000) + 1 : 0;
}
