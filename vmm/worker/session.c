// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reaching the VM and knowing its kernel; see session.h. Must never leave a VM
 * paused that ran, and must never believe facts of an earlier boot.
 */
#include "vmm/worker/session.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "vmm/kvm/machine.h"
#include "vmm/worker/payloads.h"
#include "vmm/worker/recover.h"

#define EARLY_MAX 256
#define SLOW_US 500000u		/* an attempt to reach the VM that took longer ... */
#define SLOW_PAUSE_US 10000000u /* ... is not repeated for a mere look at the state before this has passed */
#define IMAGE_MAP 0xffffffff80000000ull /* see guest_facts.phys_base */

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

const char *session_reason(const struct session *s)
{
	if (!s->backend)
		return s->reason;
	return s->info.state_why[0] ? s->info.state_why : NULL;
}

static void add_reason(const struct session *s, json_t *data)
{
	const char *reason = session_reason(s);

	if (reason)
		json_object_set_new(data, "reason", json_string(reason));
}

void session_tell_state(struct session *s)
{
	const char *now = session_state(s);

	/* Before WORKER_READY, which tells the state itself, clients have heard nothing. */
	if (!s->told_state || strcmp(now, s->told_state) == 0)
		return;
	s->told_state = now;
	json_t *data = json_pack("{s:s, s:s}", "vm", s->target.vm, "state", now);
	add_reason(s, data);
	control_event(s->control, "VM_STATE_CHANGE", data);
}

void session_tell_patch(struct session *s, const char *patch, const char *state, bool changed)
{
	json_t *data = json_pack("{s:s, s:s, s:s, s:b}", "vm", s->target.vm, "patch", patch, "state", state,
				 "changed", changed);

	/* The daemon ends a worker whose first message is not WORKER_READY. */
	if (s->told_state)
		control_event(s->control, "PATCH_STATUS_CHANGE", data);
	else if (!s->early || json_array_size(s->early) >= EARLY_MAX)
		json_decref(data);
	else
		json_array_append_new(s->early, data);
}

void session_tell_ready(struct session *s)
{
	json_t *data = json_pack("{s:s, s:s, s:i}", "vm", s->target.vm, "state", session_state(s), "recovered",
				 s->recovered);
	size_t i;

	add_reason(s, data);
	if (!s->backend && s->refusal[0])
		json_object_set_new(data, "refusal", json_string(s->refusal));
	s->recovered = 0; /* told; the next daemon hears of what came after */
	s->told_state = session_state(s);
	control_event(s->control, "WORKER_READY", data);
	json_array_foreach(s->early, i, data)
		control_event(s->control, "PATCH_STATUS_CHANGE", json_incref(data));
	json_decref(s->early);
	s->early = NULL;
}

static int memory_read(struct guest_memory *m, uint64_t gpa, void *buf, size_t len, struct err *e)
{
	struct session *s = container_of(m, struct session_memory, ops)->session;

	if (!s->backend)
		return err_set(e, ERR_INACTIVE, ENOTCONN, NULL, "%s", s->reason);
	int r = s->backend->ops->read(s->backend, gpa, buf, len, e);
	if (r >= 0 && s->overlay)
		overlay_show(s->overlay, gpa, buf, len);
	return r;
}

void session_init(struct session *s)
{
	s->memory = (struct session_memory){ .ops.read = memory_read, .session = s };
	s->early = json_array();
	snprintf(s->reason, sizeof(s->reason), "not connected yet");
}

static void forget_guest(struct session *s)
{
	guest_free(s->guest);
	s->guest = NULL;
	kind_image_clear(&s->image);
}

static void detach(struct session *s, const char *reason)
{
	snprintf(s->reason, sizeof(s->reason), "%s", reason);
	worker_agent_stop(s);
	forget_guest(s);
	backend_close(s->backend);
	s->backend = NULL;
}

void session_clear(struct session *s)
{
	detach(s, "the worker is ending");
	patch_list_clear(&s->patches);
	payload_list_clear(&s->payloads);
	trace_clear(&s->trace);
	transaction_free(s->open);
	s->open = NULL;
	json_decref(s->early);
	s->early = NULL;
}

static void lose_patch(struct session *s, struct patch_record *p)
{
	struct err ignored = { 0 };

	p->status = PATCH_LOST;
	journal_owe(s->journal,
		    json_pack("{s:s, s:s, s:I}", "type", "lost", "patch", p->begin->patch, "time",
			      (json_int_t)time(NULL)),
		    &ignored);
	session_tell_patch(s, p->begin->patch, "lost", true);
}

void session_lose_patches(struct session *s)
{
	payloads_lose(s);
	for (struct patch_record *p = s->patches.first; p; p = p->next)
		if (p->status != PATCH_LOST)
			lose_patch(s, p);
}

int session_holds_old(struct session *s, const struct patch_record *p, struct err *e)
{
	const struct poke_plan *plan = p->begin->plan;

	for (size_t i = 0; i < plan->n_sites; i++) {
		enum poke_holds holds;
		int r = poke_site_holds(s->backend, &plan->sites[i], &holds, NULL, e);

		if (r < 0)
			return r;
		if (holds != POKE_HOLDS_OLD)
			return 0;
	}
	return 1;
}

void session_lose_if_gone(struct session *s, struct patch_record *p)
{
	struct err ignored = { 0 };

	if (p->status == PATCH_APPLIED && session_holds_old(s, p, &ignored) > 0)
		lose_patch(s, p);
}

bool session_other_process(const struct session *s, const struct boot *b)
{
	return b->pid && s->info.pid && (b->pid != s->info.pid || b->pid_start != s->info.pid_start);
}

bool session_other_kernel(const struct transaction *t, const struct guest_facts *f)
{
	const struct poke_site *site = &t->plan->sites[0];

	return t->boot.base != f->base || strcmp(t->boot.build_id, f->build_id_hex) != 0 ||
	       site->gpa != site->gva - IMAGE_MAP + (uint64_t)f->phys_base;
}

/* Another VMM process than the one the patches were put into: its guest booted anew. */
static void lose_patches_of_other_process(struct session *s)
{
	for (struct patch_record *p = s->patches.first; p; p = p->next)
		if (p->status != PATCH_LOST && session_other_process(s, &p->begin->boot)) {
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
	if (s->machine) { /* the VM is in this process: nothing to connect to */
		s->backend = machine_backend(s->machine);
		return 0;
	}
	const struct backend_ops *ops = backend_find(s->backend_name);
	uint64_t began = now_us();
	int r;

	if (!ops)
		return err_set(e, ERR_FAILED, EOPNOTSUPP, NULL, "there is no backend named '%s'", s->backend_name);
	r = ops->open(&s->target, &s->backend, e);
	if (r < 0) {
		snprintf(s->reason, sizeof(s->reason), "%s", e->text);
		snprintf(s->refusal, sizeof(s->refusal), "%s", e->kind == ERR_REFUSED ? e->rule : "");
	}
	if (r < 0 && now_us() - began > SLOW_US)
		s->no_attach_before = now_us() + SLOW_PAUSE_US;
	return r;
}

/* Also when no patch was lost: who wants some in has to know that there is a new boot. */
static void tell_reset(struct session *s)
{
	if (s->told_state)
		control_event(s->control, "GUEST_RESET", json_pack("{s:s}", "vm", s->target.vm));
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
			forget_guest(s);
			session_lose_patches(s);
			tell_reset(s);
			worker_agent_stop(s); /* what it said is of the last boot */
			worker_agent_start(s);
		}
		refresh_info(s, &e);
	}
}

/* What happened while nobody watched; only where looking does not stop the VM. */
static void catch_up(struct session *s)
{
	if (!(s->info.caps & BACKEND_LIVE_READ))
		return;
	for (struct patch_record *p = s->patches.first; p; p = p->next)
		session_lose_if_gone(s, p);
}

int session_attach(struct session *s, struct err *e)
{
	bool known;
	int r;

	session_events(s);
	known = s->backend;
	r = known ? 0 : open_backend(s, e);
	if (r == 0)
		r = refresh_info(s, e);
	if (r == 0) {
		lose_patches_of_other_process(s);
		r = recover_session(s, e);
		/* A VM that cannot be paused as it is now (powered off, broken) has not gone away. */
		if (r < 0 && r != -EHOSTDOWN)
			detach(s, e->text);
	}
	if (r == 0 && !known)
		catch_up(s);
	if (r == 0)
		worker_agent_start(s);
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

/* Another kernel, or the same at another place, than a patch was made for: that boot is over. */
static void lose_patches_of_other_kernel(struct session *s)
{
	const struct guest_facts *f = guest_facts(s->guest);

	for (struct patch_record *p = s->patches.first; p; p = p->next)
		if (p->status != PATCH_LOST && session_other_kernel(p->begin, f)) {
			session_lose_patches(s);
			return;
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
	forget_guest(s);
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

static int append_hold(struct session *s, bool traps, struct err *e)
{
	int r = journal_append(s->journal, json_pack("{s:s, s:b, s:I}", "type", "hold", "traps", (int)traps, "time",
						     (json_int_t)time(NULL)), true, e);

	s->held |= r == 0;
	return r;
}

int session_hold_paused(struct session *s, struct err *e)
{
	if (s->held || !s->backend || s->info.state != BACKEND_RUNNING)
		return 0;
	return append_hold(s, false, e);
}

int session_hold_traps(struct session *s, struct err *e)
{
	return append_hold(s, true, e);
}

int session_hold(struct session *s, struct err *e)
{
	if ((s->info.caps & BACKEND_LIVE_READ) && (s->info.caps & BACKEND_LIVE_REGS))
		return 0;
	return session_hold_paused(s, e);
}

void session_release(struct session *s)
{
	struct err ignored = { 0 };

	if (!s->held)
		return;
	s->held = false;
	journal_owe(s->journal, json_pack("{s:s, s:I}", "type", "release", "time", (json_int_t)time(NULL)), &ignored);
}
