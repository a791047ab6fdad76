// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reaching the VM and knowing its kernel; see session.h. Must never leave a VM
 * paused that ran, and must never believe facts of an earlier boot.
 */
#include "vmm/worker/session.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "vmm/worker/recover.h"

static const char *const state_names[] = {
	[BACKEND_RUNNING] = "running",
	[BACKEND_PAUSED] = "paused",
	[BACKEND_SHUTDOWN] = "shutdown",
	[BACKEND_BROKEN] = "broken",
};

const char *session_state(const struct session *s)
{
	return s->backend ? state_names[s->info.state] : "unreachable";
}

void session_tell_state(struct session *s)
{
	const char *now = session_state(s);

	/* Before WORKER_READY, which tells the state itself, clients have heard nothing. */
	if (!s->told_state || strcmp(now, s->told_state) == 0)
		return;
	s->told_state = now;
	json_t *data = json_pack("{s:s, s:s}", "vm", s->target.vm, "state", now);
	if (!s->backend)
		json_object_set_new(data, "reason", json_string(s->reason));
	control_event(s->control, "VM_STATE_CHANGE", data);
}

void session_tell_patch(struct session *s, const char *patch, const char *state, bool changed)
{
	json_t *data = json_pack("{s:s, s:s, s:s, s:b}", "vm", s->target.vm, "patch", patch, "state", state,
				 "changed", changed);

	if (s->told_state)
		control_event(s->control, "PATCH_STATUS_CHANGE", data);
	else
		json_array_append_new(s->early, data);
}

void session_tell_ready(struct session *s)
{
	json_t *data = json_pack("{s:s, s:s, s:i}", "vm", s->target.vm, "state", session_state(s), "recovered",
				 s->recovered);
	size_t i;

	if (!s->backend)
		json_object_set_new(data, "reason", json_string(s->reason));
	s->told_state = session_state(s);
	control_event(s->control, "WORKER_READY", data);
	json_array_foreach(s->early, i, data)
		control_event(s->control, "PATCH_STATUS_CHANGE", json_incref(data));
	json_array_clear(s->early);
}

static int memory_read(struct guest_memory *m, uint64_t gpa, void *buf, size_t len, struct err *e)
{
	struct session *s = container_of(m, struct session_memory, ops)->session;

	if (!s->backend)
		return err_set(e, ERR_INACTIVE, ENOTCONN, NULL, "%s", s->reason);
	return s->backend->ops->read(s->backend, gpa, buf, len, e);
}

void session_init(struct session *s)
{
	s->memory = (struct session_memory){ .ops.read = memory_read, .session = s };
	snprintf(s->reason, sizeof(s->reason), "not connected yet");
	s->early = json_array();
}

static void detach(struct session *s, const char *reason)
{
	snprintf(s->reason, sizeof(s->reason), "%s", reason);
	guest_free(s->guest);
	s->guest = NULL;
	backend_close(s->backend);
	s->backend = NULL;
}

void session_clear(struct session *s)
{
	detach(s, "the worker is ending");
	patch_list_clear(&s->patches);
	transaction_free(s->open);
	s->open = NULL;
	json_decref(s->early);
	s->early = NULL;
}

void session_lose_patches(struct session *s)
{
	struct err e = { 0 };

	for (struct patch_record *p = s->patches.first; p; p = p->next) {
		if (p->status == PATCH_LOST)
			continue;
		p->status = PATCH_LOST;
		journal_append(s->journal,
			       json_pack("{s:s, s:s, s:I}", "type", "lost", "patch", p->begin->patch, "time",
					 (json_int_t)time(NULL)),
			       true, &e);
		session_tell_patch(s, p->begin->patch, "lost", true);
	}
}

/* Another VMM process than the one the patches were put into: its guest booted anew. */
static bool other_process(const struct session *s, const struct boot *b)
{
	return b->pid != s->info.pid || b->pid_start != s->info.pid_start;
}

static void lose_patches_of_other_process(struct session *s)
{
	for (struct patch_record *p = s->patches.first; p; p = p->next)
		if (p->status != PATCH_LOST && other_process(s, &p->begin->boot)) {
			session_lose_patches(s);
			return;
		}
}

static int refresh_info(struct session *s, struct err *e)
{
	int r = s->backend->ops->info(s->backend, &s->info, e);

	if (r < 0)
		detach(s, e->text);
	return r;
}

static int open_backend(struct session *s, struct err *e)
{
	const struct backend_ops *ops = backend_find(s->backend_name);
	int r;

	if (!ops)
		return err_set(e, ERR_FAILED, EOPNOTSUPP, NULL, "there is no backend named '%s'", s->backend_name);
	r = ops->open(&s->target, &s->backend, e);
	if (r < 0)
		snprintf(s->reason, sizeof(s->reason), "%s", e->text);
	return r;
}

void session_events(struct session *s)
{
	struct err e = { 0 };
	enum backend_event_kind kind = BACKEND_EVENT_NONE;

	while (s->backend) {
		int r = s->backend->ops->event(s->backend, &kind, &e);
		if (r < 0 || kind == BACKEND_EVENT_GONE) {
			detach(s, r < 0 ? e.text : "the VM's monitor closed the connection");
			return;
		}
		if (kind == BACKEND_EVENT_NONE)
			return;
		if (kind == BACKEND_EVENT_RESET) {
			guest_free(s->guest);
			s->guest = NULL;
			session_lose_patches(s);
		}
		refresh_info(s, &e);
	}
}

int session_attach(struct session *s, struct err *e)
{
	int r;

	session_events(s);
	r = s->backend ? 0 : open_backend(s, e);
	if (r == 0)
		r = refresh_info(s, e);
	if (r == 0) {
		lose_patches_of_other_process(s);
		r = recover_session(s, e);
		if (r < 0)
			detach(s, e->text);
	}
	session_tell_state(s);
	return r;
}

int session_regs(struct session *s, struct vcpu_regs *regs, struct err *e)
{
	size_t n = s->info.vcpus < VCPU_MAX ? s->info.vcpus : VCPU_MAX;

	for (size_t i = 0; i < n; i++) {
		int r = s->backend->ops->regs_get(s->backend, i, &regs[i], e);
		if (r < 0)
			return r;
	}
	return (int)n;
}

/* A kernel at another base or with another build-id than a patch was made for: that boot is over. */
static void lose_patches_of_other_kernel(struct session *s)
{
	const struct guest_facts *f = guest_facts(s->guest);

	for (struct patch_record *p = s->patches.first; p; p = p->next) {
		const struct boot *b = &p->begin->boot;

		if (p->status != PATCH_LOST &&
		    (b->base != f->base || strcmp(b->build_id, f->build_id_hex) != 0)) {
			session_lose_patches(s);
			return;
		}
	}
}

int session_guest(struct session *s, bool *ret_cached, struct err *e)
{
	_cleanup_free_ struct vcpu_regs *regs = calloc(VCPU_MAX, sizeof(*regs));
	int n, r;

	if (!regs)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	r = session_attach(s, e);
	if (r < 0)
		return r;
	r = session_hold(s, e);
	if (r < 0)
		return r;
	n = session_regs(s, regs, e);
	if (n < 0)
		return n;
	if (ret_cached)
		*ret_cached = false;
	if (s->guest && guest_revalidate(s->guest, regs, (size_t)n, e) == 0) {
		if (ret_cached)
			*ret_cached = true;
		return 0;
	}
	guest_free(s->guest);
	s->guest = NULL;
	r = guest_probe(&s->memory.ops, regs, (size_t)n, &s->guest, e);
	if (r < 0)
		return r;
	lose_patches_of_other_kernel(s);
	return 0;
}

struct boot session_boot(const struct session *s)
{
	const struct guest_facts *f = guest_facts(s->guest);
	struct boot b = { .base = f->base, .pid = s->info.pid, .pid_start = s->info.pid_start };

	snprintf(b.release, sizeof(b.release), "%s", f->release);
	snprintf(b.build_id, sizeof(b.build_id), "%s", f->build_id_hex);
	return b;
}

int session_hold(struct session *s, struct err *e)
{
	if (s->held || !s->backend || s->info.state != BACKEND_RUNNING ||
	    ((s->info.caps & BACKEND_LIVE_READ) && (s->info.caps & BACKEND_LIVE_REGS)))
		return 0;
	int r = journal_append(s->journal, json_pack("{s:s, s:I}", "type", "hold", "time", (json_int_t)time(NULL)),
			       true, e);
	s->held = r == 0;
	return r;
}

void session_release(struct session *s)
{
	struct err e = { 0 };

	if (!s->held)
		return;
	s->held = false;
	journal_append(s->journal, json_pack("{s:s, s:I}", "type", "release", "time", (json_int_t)time(NULL)), true, &e);
}
