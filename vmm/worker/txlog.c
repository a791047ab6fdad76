// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Begin, states and end of a transaction in the journal; see txlog.h.
 *
 * The begin record is on the disk before the VM is stopped. State records inside
 * the pause are written but not synced: a killed process loses nothing of the page
 * cache, and a host that loses its page cache has lost the guest as well; a sync
 * would only lengthen the guest's pause (by milliseconds on a common disk). The
 * end record syncs them all.
 */
#include "vmm/worker/txlog.h"

#include <errno.h>
#include <time.h>

#include "vmm/fault.h"

const char *const txlog_fault_points[] = {
	"journal-begin", "journal-begun", "journal-paused", "journal-written", "journal-verified",
	"journal-done",	 "journal-end",	  "journal-ended",  NULL,
};

int txlog_begin(struct session *s, const struct transaction *t, struct err *e)
{
	json_t *record = transaction_to_json(t);

	if (!record)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	fault_point("journal-begin");
	int r = journal_append(s->journal, record, true, e);
	fault_point("journal-begun");
	return r;
}

static void state_fault_point(enum poke_state state)
{
	if (state == POKE_PAUSED)
		fault_point("journal-paused");
	else if (state == POKE_WRITTEN)
		fault_point("journal-written");
	else if (state == POKE_VERIFIED)
		fault_point("journal-verified");
	else if (state == POKE_DONE)
		fault_point("journal-done");
}

int txlog_state(struct session *s, uint64_t txn, enum poke_state state, bool was_running, struct err *e)
{
	json_t *record = json_pack("{s:s, s:I, s:s, s:b}", "type", "state", "txn", (json_int_t)txn,
				   "state", poke_state_name(state), "running", was_running);

	/* POKE_PAUSED comes before the stop: syncing it costs the guest nothing. */
	return journal_append(s->journal, record, state == POKE_PAUSED, e);
}

static int log_state(struct poke_log *log, enum poke_state state, bool was_running, struct err *e)
{
	struct txlog *l = container_of(log, struct txlog, ops);

	l->state = state;
	l->running = was_running;
	int r = txlog_state(l->session, l->txn, state, was_running, e);
	state_fault_point(state);
	return r;
}

static bool log_cancelled(struct poke_log *log)
{
	struct txlog *l = container_of(log, struct txlog, ops);

	return control_cancelled(l->session->control, l->job_id);
}

void txlog_init(struct txlog *l, struct session *s, uint64_t txn, const char *job_id)
{
	*l = (struct txlog){
		.ops = { .state = log_state, .cancelled = log_cancelled },
		.session = s, .txn = txn, .job_id = job_id, .state = POKE_PLANNED,
	};
}

static json_t *end_record(const struct transaction *t, enum result result, const struct poke_stats *stats,
			  const struct err *why)
{
	json_t *o = json_pack("{s:s, s:I, s:I, s:s, s:I}", "type", "end", "txn", (json_int_t)t->number,
			      "time", (json_int_t)time(NULL), "result", result_name(result),
			      "sites", (json_int_t)t->plan->n_sites);

	if (stats) {
		json_t *figures = json_pack("{s:i, s:i, s:I, s:I}", "barriers", (int)stats->barriers,
					    "forced_exits", (int)stats->forced_exits,
					    "longest_pause_us", (json_int_t)stats->longest_pause_us,
					    "elapsed_us", (json_int_t)stats->elapsed_us);
		json_object_update(o, figures);
		json_decref(figures);
	}
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
