// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * patch-check, patch-apply, patch-revert: plan, journal, poke, report. The order
 * is the promise: nothing of the guest changes before the begin record is on the disk.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "vmm/worker/agent_use.h"
#include "vmm/worker/choose.h"
#include "vmm/worker/commands.h"
#include "vmm/worker/payloads.h"
#include "vmm/worker/prepare.h"
#include "vmm/worker/probes.h"
#include "vmm/worker/slots.h"
#include "vmm/worker/trace.h"
#include "vmm/worker/txlog.h"

#define TIMEOUT_DEFAULT_MS 10000

/* plan and stats may be NULL: nothing had to be done. */
static json_t *result_json(const struct session *s, const char *patch, const char *state, bool changed,
			   const struct poke_plan *plan, const struct poke_stats *stats)
{
	static const struct poke_stats none;
	json_t *o = json_pack("{s:s, s:s, s:s, s:b, s:s, s:s, s:I}", "vm", s->target.vm, "patch", patch,
			      "state", state, "changed", (int)changed,
			      "mode", poke_mode_name(plan ? plan->mode : POKE_MODE_STOPPED),
			      "why", plan ? plan->why : "", "sites", (json_int_t)(plan ? plan->n_sites : 0));

	if (plan && (plan->mode == POKE_MODE_STAGED || plan->mode == POKE_MODE_HELD))
		json_object_set_new(o, "trap", json_string(poke_trap_name(plan->trap)));
	figures_add_json(o, plan && changed ? plan->mode : POKE_MODE_STOPPED, stats ? stats : &none);
	return o;
}

static uint64_t timeout_us(json_t *args)
{
	json_t *ms = json_object_get(args, "timeout");

	return (ms ? (uint64_t)json_integer_value(ms) : TIMEOUT_DEFAULT_MS) * 1000u;
}

/*
 * The engine lost its hold on the VM in the middle. Do at once what the next worker
 * would do: reach it again, look, finish or undo. Stays open while it cannot be reached.
 * 0 when it turns out that all was done.
 */
static int mend(struct session *s, const struct txlog *log, struct transaction *t, int r, struct err *e)
{
	bool apply = t->operation != OPERATION_REVERT;
	struct err ignored = { 0 };
	char name[sizeof(t->patch)];

	snprintf(name, sizeof(name), "%s", t->patch);
	s->open = t;
	s->open_state = log->state;
	s->open_running = log->running;
	if (session_attach(s, &ignored) < 0 || s->open)
		return r;
	struct patch_record *in = patch_list_find(&s->patches, name);
	if (apply ? in && in->status == PATCH_APPLIED : !in)
		return 0;
	if (e->kind == ERR_ATTENTION && !(in && in->status == PATCH_ATTENTION))
		e->kind = ERR_FAILED;
	return r;
}

/* Journal, poke, journal, in what context so ever. t is taken. */
static int carry_out_in(struct agent_use *use, struct transaction *t, json_t *args, uint64_t deadline_us,
			enum result good, struct poke_stats *stats, struct err *e)
{
	struct session *s = use->session;
	struct txlog log;
	struct err log_error = { 0 };
	int r = poke_plan_has_data(t->plan) ? guest_patching_prepare(s->guest, &use->patching, e) : 0;

	use->plan = t->plan;

	if (r == 0)
		r = txlog_begin(s, t, e);
	if (r < 0) {
		agent_use_end(use);
		transaction_free(t);
		return r;
	}
	uint64_t now = now_us();
	txlog_init(&log, s, t, json_string_value(json_object_get(args, "job-id")));
	log.ops.timeline = trace_begin(s);
	r = poke_run(s->backend, arch_of(s->info.arch), t->plan, &use->ops, &log.ops,
		     deadline_us > now ? deadline_us - now : 0, stats, e);
	agent_use_end(use);
	if (use->longest_stop_us > stats->longest_pause_us)
		stats->longest_pause_us = use->longest_stop_us;
	trace_end(s, t, log.ops.timeline, r);
	if (r == -ENOTCONN || r == -EUCLEAN)
		return mend(s, &log, t, r, e);
	int logged = txlog_end(s, t, r == 0 ? good : RESULT_UNDONE, stats, r < 0 ? e : NULL, &log_error);
	if (r == 0 && logged < 0) {
		err_set(e, ERR_ATTENTION, -logged, "journal", "the text is changed, but %s", log_error.text);
		r = logged;
	}
	return r;
}

/* What came of it is added to o. t is taken. */
static int carry_out(struct session *s, struct transaction *t, json_t *args, enum result good, json_t *o, struct err *e)
{
	uint64_t deadline = now_us() + timeout_us(args);
	bool needs_quiescence = t->plan->needs_quiescence;
	enum poke_mode mode = t->plan->mode;
	struct poke_stats stats = { 0 };
	struct agent_use use;
	int r = agent_use_begin(&use, s, args, t->plan, deadline, e);

	if (r < 0) {
		transaction_free(t);
		return r;
	}
	r = carry_out_in(&use, t, args, deadline, good, &stats, e);
	if (r < 0)
		return r;
	figures_add_json(o, mode, &stats);
	agent_use_add_json(&use, needs_quiescence, &stats, o);
	return 0;
}

/* The road that is taken, and what it needs. */
static int choose(struct session *s, json_t *args, struct poke_plan *plan, struct err *e)
{
	int r = choose_as_asked(args, plan, e);

	return r < 0 ? r : slots_give(s, plan, e);
}

/* Already in: 1 and *ret; with another text under the same name: refused. */
static int already_in(struct session *s, struct prepared *p, json_t **ret, struct err *e)
{
	struct patch_record *in = patch_list_find(&s->patches, p->file->name);

	if (in)
		session_lose_if_gone(s, in);
	if (!in || in->status == PATCH_LOST)
		return 0;
	if (in->status == PATCH_ATTENTION)
		return err_set(e, ERR_ATTENTION, EUCLEAN, "attention",
			       "patch '%s' needs attention: its sites hold bytes vmpoke did not write; see verify",
			       p->file->name);
	if (!prepare_same_text(s, p))
		return err_set(e, ERR_REFUSED, EEXIST, "name-in-use",
			       "a patch named '%s' with another content is in; revert it first", p->file->name);
	*ret = result_json(s, p->file->name, "applied", false, in->begin->plan, NULL);
	return 1;
}

static int check_words(json_t *args, struct err *e)
{
	int r = choose_check_words(args, e);

	return r < 0 ? r : agent_use_check_words(args, e);
}

/* What the plan says, then what the guest itself says of it: *ret is for the reply. */
static int plan_as_asked(struct session *s, struct prepared *p, json_t *args, json_t **ret, struct err *e)
{
	int r = prepare_vmlinux(s, args, p, e);

	if (r == 0)
		r = prepare_plan(s, p, e);
	if (r == 0)
		r = probes_check(s, p->plan, e);
	if (r < 0) {
		worker_agent_explain(s, args, e);
		return r;
	}
	session_progress(s, "check");
	r = p->plan->n_sites ? choose(s, args, p->plan, e) : 0;
	return r < 0 ? r : worker_agent_check(s, args, p->plan, ret, e);
}

static json_t *with_agent(json_t *result, json_t *agent)
{
	if (agent && result)
		json_object_set(result, "agent", agent);
	return result;
}

/* Memory in the guest, and the plan anew: now its jumps lead there. */
static int place_payload(struct session *s, struct prepared *p, json_t *args, struct err *e)
{
	if (agent_use_is(args, "none"))
		return err_set(e, ERR_REFUSED, EOPNOTSUPP, "borrow-agent",
			       "memory for code is to be had through the guest's agent only, which 'agent-use' forbids");
	int r = payloads_place(s, p, timeout_us(args), e);
	if (r < 0)
		return r;
	plan_free(p->plan);
	p->plan = NULL;
	r = prepare_plan(s, p, e);
	return r < 0 ? r : choose(s, args, p->plan, e);
}

/* What no patch needs any more goes back to the guest. What is said of it is for the reply. */
static void tidy_payloads(struct session *s, json_t *args, json_t *reply)
{
	json_t *told = payloads_release(s, timeout_us(args));

	if (reply && json_array_size(told))
		json_object_set(reply, "payloads", told);
	json_decref(told);
}

static int apply_plan(struct session *s, struct prepared *p, json_t *args, json_t **ret, struct err *e)
{
	struct transaction *t = NULL;
	int r = 0;

	if (p->plan->needs_quiescence)
		r = guest_stacks_prepare(s->guest, e);
	if (r == 0)
		r = prepare_store(s, p, e);
	if (r == 0)
		r = txlog_new(s, OPERATION_APPLY, p->file, p->plan, &t, e);
	if (!t)
		return r;
	json_t *o = result_json(s, p->file->name, "applied", true, p->plan, NULL);
	p->plan = NULL; /* the transaction's now */
	r = carry_out(s, t, args, RESULT_APPLIED, o, e);
	if (r < 0)
		json_decref(o);
	*ret = r == 0 ? o : NULL;
	return r;
}

int command_patch_apply(struct session *s, json_t *args, json_t **ret, struct err *e)
{
	__attribute__((cleanup(prepared_clear))) struct prepared p = { 0 };
	json_auto_t *agent = NULL;
	int r = check_words(args, e);

	session_progress(s, "resolve");
	if (r == 0)
		r = prepare_file(s, args, &p, e);
	if (r == 0)
		r = session_guest(s, NULL, e);
	if (r == 0)
		r = already_in(s, &p, ret, e);
	if (r != 0)
		return r < 0 ? r : 0;
	r = plan_as_asked(s, &p, args, &agent, e);
	if (r < 0)
		return r;
	if (p.plan->n_sites == 0) {
		snprintf(p.plan->why, sizeof(p.plan->why), "the guest holds these bytes already, and not from vmpoke: "
			 "there will be nothing to revert");
		*ret = result_json(s, p.file->name, "applied", false, p.plan, NULL);
		return 0;
	}
	if (p.object)
		r = place_payload(s, &p, args, e);
	if (r == 0)
		r = apply_plan(s, &p, args, ret, e);
	with_agent(*ret, agent);
	tidy_payloads(s, args, *ret);
	return r;
}

int command_patch_check(struct session *s, json_t *args, json_t **ret, struct err *e)
{
	size_t budget = SITES_REPLY_BYTES;
	__attribute__((cleanup(prepared_clear))) struct prepared p = { 0 };
	json_auto_t *agent = NULL;
	int r = check_words(args, e);

	session_progress(s, "resolve");
	if (r == 0)
		r = prepare_file(s, args, &p, e);
	if (r == 0)
		r = session_guest(s, NULL, e);
	if (r == 0)
		r = already_in(s, &p, ret, e);
	if (r < 0)
		return r;
	if (r > 0) {
		struct patch_record *in = patch_list_find(&s->patches, p.file->name);
		sites_add_json(*ret, "sites_detail", in->begin->plan, &budget);
		return 0;
	}
	r = plan_as_asked(s, &p, args, &agent, e);
	if (r == 0 && p.plan->needs_quiescence)
		r = guest_stacks_prepare(s->guest, e);
	if (r < 0)
		return r;
	*ret = result_json(s, p.file->name, p.plan->n_sites ? "applicable" : "applied", false, p.plan, NULL);
	with_agent(*ret, agent);
	sites_add_json(*ret, "sites_detail", p.plan, &budget);
	return 0;
}

static int revert_applied(struct session *s, struct patch_record *in, const struct patchfile *file, json_t *args,
			  json_t **ret, struct err *e)
{
	struct poke_plan *inverse = NULL;
	struct transaction *t = NULL;
	json_auto_t *agent = NULL;
	int r = prepare_inverse(in->begin->plan, s->info.caps, &inverse);

	if (r < 0)
		return err_set(e, ERR_FAILED, -r, NULL, "out of memory");
	session_progress(s, "check");
	r = choose(s, args, inverse, e);
	if (r == 0)
		r = probes_check(s, inverse, e);
	if (r == 0)
		r = worker_agent_check(s, args, inverse, &agent, e);
	if (r == 0 && inverse->needs_quiescence)
		r = guest_stacks_prepare(s->guest, e);
	if (r == 0)
		r = txlog_new(s, OPERATION_REVERT, file, inverse, &t, e);
	if (!t) {
		plan_free(inverse);
		return r;
	}
	/* The transaction is gone once it has ended, and with it the plan the figures are about. */
	json_t *o = result_json(s, file->name, "reverted", true, inverse, NULL);
	r = carry_out(s, t, args, RESULT_REVERTED, o, e);
	if (r < 0)
		json_decref(o);
	*ret = r == 0 ? with_agent(o, agent) : NULL;
	tidy_payloads(s, args, *ret);
	return r;
}

/* A patch of a former boot: there is nothing in the guest to take out, only the record goes. */
static int forget_lost(struct session *s, const char *name, json_t **ret, struct err *e)
{
	int r = journal_append(s->journal, json_pack("{s:s, s:s, s:I}", "type", "forget", "patch", name, "time",
						      (json_int_t)time(NULL)), true, e);

	if (r < 0)
		return r;
	*ret = result_json(s, name, "reverted", false, NULL, NULL);
	patch_list_remove(&s->patches, name);
	return 0;
}

static int revert_found(struct session *s, struct patch_record *in, const struct patchfile *file, json_t *args,
			json_t **ret, struct err *e)
{
	int r = 0;

	session_lose_if_gone(s, in);
	/* Somebody put all the original bytes back: nothing is left to do but forget it. */
	if (in->status == PATCH_ATTENTION)
		r = session_holds_old(s, in, e);
	if (r < 0)
		return r;
	if (r > 0 || in->status == PATCH_LOST)
		return forget_lost(s, file->name, ret, e);
	return revert_applied(s, in, file, args, ret, e);
}

/* A revert needs no text, only the name: the journal knows the bytes. */
static int revert_name(struct session *s, json_t *args, struct prepared *p, struct err *e)
{
	const char *name = json_string_value(json_object_get(args, "patch"));
	struct patch_record *in = name ? patch_list_find(&s->patches, name) : NULL;

	if (!in || json_object_get(args, "text"))
		return prepare_file(s, args, p, e);
	p->file = calloc(1, sizeof(*p->file));
	if (!p->file)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	snprintf(p->file->name, sizeof(p->file->name), "%s", name);
	return 0;
}

int command_patch_revert(struct session *s, json_t *args, json_t **ret, struct err *e)
{
	__attribute__((cleanup(prepared_clear))) struct prepared p = { 0 };
	int r = check_words(args, e);

	session_progress(s, "resolve");
	if (r == 0)
		r = revert_name(s, args, &p, e);
	if (r == 0)
		r = session_guest(s, NULL, e);
	if (r < 0)
		return r;
	struct patch_record *in = patch_list_find(&s->patches, p.file->name);
	if (in)
		return revert_found(s, in, p.file, args, ret, e);
	*ret = result_json(s, p.file->name, "reverted", false, NULL, NULL);
	return 0;
}
