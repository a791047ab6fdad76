// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The journal read back into a session: which patches are in, which transaction
 * a dead predecessor left open. Touches no guest.
 */
#include <errno.h>
#include <string.h>

#include "vmm/worker/session.h"

struct loader {
	struct journal_visitor visitor;
	struct session *s;
};

/* May the next transaction begin without an end of this one? Only when it left no trace in the guest. */
static bool traceless(const struct session *s)
{
	return !s->open || s->open_state == POKE_PLANNED || s->open_state == POKE_UNDONE;
}

/* Is the record about the transaction that is open? */
static bool about_open(const struct session *s, json_t *record)
{
	json_t *txn = json_object_get(record, "txn");

	return s->open && json_is_integer(txn) && json_integer_value(txn) == (json_int_t)s->open->number;
}

static int load_begin(struct session *s, json_t *record)
{
	if (!traceless(s))
		return -EBADMSG;
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

	if (!about_open(s, record) || state < 0)
		return -EBADMSG;
	s->open_state = (enum poke_state)state;
	if (json_object_get(record, "running"))
		s->open_running = json_is_true(json_object_get(record, "running"));
	return 0;
}

static int load_end(struct session *s, json_t *record)
{
	int result = result_from_name(json_string_value(json_object_get(record, "result")));

	if (result < 0 || !about_open(s, record))
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
	s->orphan_hold = true;
	s->orphan_traps |= json_is_true(json_object_get(record, "traps"));
	return 0;
}

static int load_release(struct session *s, json_t *record)
{
	(void)record;
	s->orphan_hold = false;
	s->orphan_traps = false;
	return 0;
}

static int load_memory(struct session *s, json_t *record)
{
	return payload_list_load(&s->payloads, record);
}

static int load_memory_free(struct session *s, json_t *record)
{
	return payload_list_load_free(&s->payloads, record);
}

/* Only query-history wants to know. */
static int load_past(struct session *s, json_t *record)
{
	(void)s;
	(void)record;
	return 0;
}

static const struct {
	const char *type;
	int (*load)(struct session *s, json_t *record);
} loaders[] = {
	{ "begin", load_begin }, { "state", load_state }, { "end", load_end },
	{ "lost", load_lost },	 { "forget", load_forget }, { "hold", load_hold },
	{ "release", load_release }, { "past", load_past },
	{ "replace", replacing_load }, { "replaced", replacing_load_end },
	{ "memory", load_memory }, { "memory-free", load_memory_free },
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

int session_load(struct session *s, struct err *e)
{
	struct loader l = { .visitor.record = load_record, .s = s };

	s->next_txn = 1;
	return journal_replay(s->journal, &l.visitor, e);
}
