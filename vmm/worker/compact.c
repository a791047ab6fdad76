// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Keeps the journal small: what replaying it needs stays as it is, the newest of
 * the other transactions stay as one short line each for the history. Must never
 * drop a record that the list of patches follows from.
 */
#include <errno.h>
#include <string.h>

#include "vmm/worker/session.h"

#define COMPACT_ABOVE (8u << 20)
#define COMPACT_HISTORY 1000 /* the most that query-history gives */

struct compactor {
	struct journal_visitor visitor;
	struct session *s;
	json_t *keep;
	json_t *begin; /* of the transaction whose end comes next */
	size_t n_past; /* transactions from here to the end of the file */
};

static bool has_type(json_t *record, const char *type)
{
	const char *found = json_string_value(json_object_get(record, "type"));

	return found && strcmp(found, type) == 0;
}

static struct patch_record *listed_patch(const struct compactor *c, json_t *record)
{
	const char *name = json_string_value(json_object_get(record, "patch"));

	return name ? patch_list_find(&c->s->patches, name) : NULL;
}

static int count_past(struct journal_visitor *v, json_t *record)
{
	struct compactor *c = container_of(v, struct compactor, visitor);

	c->n_past += has_type(record, "end") || has_type(record, "past");
	return 0;
}

/* The apply that brought a listed patch in, and whatever made one need attention. */
static bool still_matters(const struct compactor *c, json_t *end)
{
	const struct patch_record *p = listed_patch(c, c->begin);
	json_int_t txn = json_integer_value(json_object_get(end, "txn"));

	return p && (p->begin->number == (uint64_t)txn ||
		     result_from_name(json_string_value(json_object_get(end, "result"))) == RESULT_ATTENTION);
}

static int keep(struct compactor *c, json_t *record)
{
	return json_array_append(c->keep, record) < 0 ? -ENOMEM : 0;
}

static int keep_past(struct compactor *c, json_t *end)
{
	json_t *past = transaction_history(c->begin, end);
	int r = json_object_set_new(past, "type", json_string("past"));

	r |= json_array_append_new(c->keep, past);
	return r < 0 ? -ENOMEM : 0;
}

static int keep_end(struct compactor *c, json_t *end, bool recent)
{
	if (!still_matters(c, end))
		return recent ? keep_past(c, end) : 0;
	int r = keep(c, c->begin);
	return r < 0 ? r : keep(c, end);
}

static int keep_record(struct journal_visitor *v, json_t *record)
{
	struct compactor *c = container_of(v, struct compactor, visitor);
	bool recent = c->n_past <= COMPACT_HISTORY;

	if (has_type(record, "begin")) {
		json_decref(c->begin);
		c->begin = json_incref(record);
	} else if (has_type(record, "lost") || has_type(record, "forget")) {
		return listed_patch(c, record) ? keep(c, record) : 0;
	} else if (has_type(record, "memory")) {
		return payload_list_has(&c->s->payloads, record) ? keep(c, record) : 0;
	} else if (has_type(record, "end")) {
		c->n_past--;
		return keep_end(c, record, recent);
	} else if (has_type(record, "past")) {
		c->n_past--;
		return recent ? keep(c, record) : 0;
	}
	return 0; /* states, holds and releases of what is over */
}

static int compact(struct session *s, struct err *e)
{
	struct compactor c = { .visitor.record = count_past, .s = s, .keep = json_array() };
	int r = journal_replay(s->journal, &c.visitor, e);

	c.visitor.record = keep_record;
	if (r == 0)
		r = journal_replay(s->journal, &c.visitor, e);
	if (r == 0)
		r = journal_rewrite(s->journal, c.keep, e);
	json_decref(c.keep);
	json_decref(c.begin);
	return r;
}

void session_compact(struct session *s)
{
	struct err ignored = { 0 };

	if (s->compact_above < COMPACT_ABOVE)
		s->compact_above = COMPACT_ABOVE;
	/* Never while something is open: its records are what recovery works from. */
	if (s->open || s->orphan_hold || s->held || s->replacing.old[0] || journal_size(s->journal) <= s->compact_above)
		return;
	/* A failure leaves the old file, which is as good; either way the next time is far off. */
	compact(s, &ignored);
	s->compact_above = 2 * journal_size(s->journal);
}
