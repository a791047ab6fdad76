// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The journal read back into a session: which patches are in, which transaction
 * a dead predecessor left open. Touches no guest.
 */
#include <errno.h>
#include <string.h>

#include "vmm/worker/session.h"

/* Above this the file is rewritten at start with what still matters. */
#define COMPACT_ABOVE (8u << 20)
#define COMPACT_HISTORY 1000

struct loader {
	struct journal_visitor visitor;
	struct session *s;
};

static int load_begin(struct session *s, json_t *record)
{
	transaction_free(s->open);
	s->open = NULL;
	int r = transaction_from_json(record, &s->open);
	if (r < 0)
		return r;
	s->open_state = POKE_PLANNED;
	s->open_running = false;
	if (s->open->number >= s->next_txn)
		s->next_txn = s->open->number + 1;
	return 0;
}

static int load_state(struct session *s, json_t *record)
{
	const char *name = json_string_value(json_object_get(record, "state"));
	int state = name ? poke_state_from_name(name) : -EINVAL;

	if (!s->open || state < 0)
		return -EBADMSG;
	s->open_state = (enum poke_state)state;
	if (json_object_get(record, "running"))
		s->open_running = json_is_true(json_object_get(record, "running"));
	return 0;
}

static int load_end(struct session *s, json_t *record)
{
	int result = result_from_name(json_string_value(json_object_get(record, "result")));

	if (result < 0 || !s->open)
		return -EBADMSG;
	return patch_list_end(&s->patches, TAKE_PTR(s->open), (enum result)result);
}

static int load_lost(struct session *s, json_t *record)
{
	const char *name = json_string_value(json_object_get(record, "patch"));
	struct patch_record *p = name ? patch_list_find(&s->patches, name) : NULL;

	if (p)
		p->status = PATCH_LOST;
	return name ? 0 : -EBADMSG;
}

static int load_forget(struct session *s, json_t *record)
{
	const char *name = json_string_value(json_object_get(record, "patch"));

	if (name)
		patch_list_remove(&s->patches, name);
	return name ? 0 : -EBADMSG;
}

static int load_hold(struct session *s, json_t *record)
{
	(void)record;
	s->orphan_hold = true;
	return 0;
}

static int load_release(struct session *s, json_t *record)
{
	(void)record;
	s->orphan_hold = false;
	return 0;
}

static const struct {
	const char *type;
	int (*load)(struct session *s, json_t *record);
} loaders[] = {
	{ "begin", load_begin }, { "state", load_state }, { "end", load_end },
	{ "lost", load_lost },	 { "forget", load_forget }, { "hold", load_hold },
	{ "release", load_release },
};

static int load_record(struct journal_visitor *v, json_t *record)
{
	struct session *s = container_of(v, struct loader, visitor)->s;
	const char *type = json_string_value(json_object_get(record, "type"));

	for (size_t i = 0; type && i < ARRAY_SIZE(loaders); i++)
		if (strcmp(loaders[i].type, type) == 0)
			return loaders[i].load(s, record);
	return -EBADMSG;
}

/* Keeps what replaying needs (begin and end of patches that are in) and the newest ends for the history. */
struct compactor {
	struct journal_visitor visitor;
	struct session *s;
	json_t *keep;
	json_t *begin;
	size_t skip_ends;
};

static int count_end(struct journal_visitor *v, json_t *record)
{
	struct compactor *c = container_of(v, struct compactor, visitor);
	const char *type = json_string_value(json_object_get(record, "type"));

	c->skip_ends += type && strcmp(type, "end") == 0;
	return 0;
}

static int keep_record(struct journal_visitor *v, json_t *record)
{
	struct compactor *c = container_of(v, struct compactor, visitor);
	const char *type = json_string_value(json_object_get(record, "type"));

	if (strcmp(type, "begin") == 0) {
		json_decref(c->begin);
		c->begin = json_incref(record);
		return 0;
	}
	if (strcmp(type, "lost") == 0 || strcmp(type, "forget") == 0)
		return json_array_append(c->keep, record);
	if (strcmp(type, "end") != 0)
		return 0;
	const char *name = json_string_value(json_object_get(c->begin, "patch"));
	bool old = c->skip_ends > COMPACT_HISTORY;
	if (c->skip_ends)
		c->skip_ends--;
	if (old && !(name && patch_list_find(&c->s->patches, name)))
		return 0;
	if (json_array_append(c->keep, c->begin) < 0)
		return -ENOMEM;
	return json_array_append(c->keep, record) < 0 ? -ENOMEM : 0;
}

static int compact(struct session *s, struct err *e)
{
	struct compactor c = { .visitor.record = count_end, .s = s, .keep = json_array() };
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

int session_load(struct session *s, struct err *e)
{
	struct loader l = { .visitor.record = load_record, .s = s };
	int r;

	s->next_txn = 1;
	r = journal_replay(s->journal, &l.visitor, e);
	/* Never while something is open: its records are what recovery works from. */
	if (r == 0 && !s->open && !s->orphan_hold && journal_size(s->journal) > COMPACT_ABOVE)
		r = compact(s, e);
	return r;
}
