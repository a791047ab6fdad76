// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Begin, states and end of a transaction in the journal; see txlog.h.
 *
 * The begin record is on the disk before the VM is stopped or a byte of it changed.
 * State records inside a pause, and those while vCPUs may be held at traps, are written
 * but not synced: a killed process loses nothing of the page cache, and a host that
 * loses its page cache has lost the guest as well; a sync would only lengthen what the
 * guest feels (by milliseconds on a common disk). The end record syncs them all.
 */
#include "vmm/worker/txlog.h"

#include <errno.h>
#include <time.h>

#include "vmm/fault.h"

/* Not "tailed" and "paused" of the live modes: only some transactions have these states. */
static const char *const points_stopped[] = {
	"journal-begin", "journal-begun", "journal-paused", "journal-written", "journal-verified",
	"journal-done",	 "journal-end",	  "journal-ended",  NULL,
};
static const char *const points_flipped[] = {
	"journal-begin", "journal-begun", "journal-written", "journal-verified",
	"journal-done",	 "journal-end",	  "journal-ended",   NULL,
};
static const char *const points_staged[] = {
	"journal-begin",    "journal-begun", "journal-trapped", "journal-headed",
	"journal-verified", "journal-done",  "journal-end",	"journal-ended",
	NULL,
};

const char *const *txlog_fault_points(enum poke_mode mode)
{
	switch (mode) {
	case POKE_MODE_FLIPPED:
		return points_flipped;
	case POKE_MODE_STAGED:
	case POKE_MODE_HELD:
		return points_staged;
	default:
		return points_stopped;
	}
}

int txlog_new(struct session *s, enum operation operation, const struct patchfile *file, struct poke_plan *plan,
	      struct transaction **ret, struct err *e)
{
	struct transaction *t = calloc(1, sizeof(*t));

	if (!t)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	*t = (struct transaction){ .number = s->next_txn++, .operation = operation, .plan = plan,
				   .time = (json_int_t)time(NULL), .boot = session_boot(s) };
	snprintf(t->patch, sizeof(t->patch), "%s", file->name);
	snprintf(t->description, sizeof(t->description), "%s", file->description);
	*ret = t;
	return 0;
}

int txlog_begin(struct session *s, const struct transaction *t, struct err *e)
{
	json_t *record = transaction_to_json(t);

	if (!record)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	if (s->by)
		json_object_set(record, "by", s->by);
	fault_point("journal-begin");
	int r = journal_append(s->journal, record, true, e);
	fault_point("journal-begun");
	return r;
}

static void state_fault_point(enum poke_state state)
{
	static const char *const points[POKE_STATE_COUNT] = {
		[POKE_PAUSED] = "journal-paused",     [POKE_TRAPPED] = "journal-trapped",
		[POKE_TAILED] = "journal-tailed",     [POKE_HEADED] = "journal-headed",
		[POKE_WRITTEN] = "journal-written",   [POKE_VERIFIED] = "journal-verified",
		[POKE_DONE] = "journal-done",
	};

	if (points[state])
		fault_point(points[state]);
}

int txlog_state(struct session *s, uint64_t txn, enum poke_state state, bool was_running, struct err *e)
{
	json_t *record = json_pack("{s:s, s:I, s:s, s:b}", "type", "state", "txn", (json_int_t)txn,
				   "state", poke_state_name(state), "running", was_running);

	/* These come before the guest feels anything: syncing them costs it nothing. */
	return journal_append(s->journal, record, state == POKE_PAUSED || state == POKE_TRAPPED, e);
}

static int log_state(struct poke_log *log, enum poke_state state, bool was_running, struct err *e)
{
	struct txlog *l = container_of(log, struct txlog, ops);

	l->state = state;
	l->running = was_running;
	session_progress_state(l->session, l->mode, state);
	int r = txlog_state(l->session, l->txn, state, was_running, e);
	state_fault_point(state);
	return r;
}

static bool log_cancelled(struct poke_log *log)
{
	struct txlog *l = container_of(log, struct txlog, ops);

	return control_cancelled(l->session->control, l->job_id);
}

void txlog_init(struct txlog *l, struct session *s, const struct transaction *t, const char *job_id)
{
	*l = (struct txlog){
		.ops = { .state = log_state, .cancelled = log_cancelled },
		.session = s, .txn = t->number, .mode = t->plan->mode, .job_id = job_id, .state = POKE_PLANNED,
	};
}

static json_t *end_record(const struct transaction *t, enum result result, const struct poke_stats *stats,
			  const struct err *why)
{
	json_t *o = json_pack("{s:s, s:I, s:I, s:s, s:I}", "type", "end", "txn", (json_int_t)t->number,
			      "time", (json_int_t)time(NULL), "result", result_name(result),
			      "sites", (json_int_t)t->plan->n_sites);

	if (stats)
		figures_add_json(o, t->plan->mode, stats);
	if (why && why->kind != ERR_NONE)
		json_object_set_new(o, "error", json_string(why->text));
	return o;
}

int txlog_end(struct session *s, struct transaction *t, enum result result, const struct poke_stats *stats,
	      const struct err *why, struct err *e)
{
	json_t *record = end_record(t, result, stats, why);
	bool changed = result != RESULT_UNDONE;
	char patch[sizeof(t->patch)];
	int r, added;

	snprintf(patch, sizeof(patch), "%s", t->patch);
	fault_point("journal-end");
	r = journal_owe(s->journal, record, e);
	fault_point("journal-ended");
	added = patch_list_end(&s->patches, t, result);
	if (changed)
		session_tell_patch(s, patch, result_name(result), changed);
	if (r == 0 && added < 0)
		r = err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	return r;
}
