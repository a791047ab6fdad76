// SPDX-License-Identifier: GPL-2.0-or-later
/* Transactions as JSON and the list of patches; see record.h. Does no I/O. */
#include "vmm/worker/record.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "protocol/qmp.h"

static const char *const operation_names[] = {
	[OPERATION_APPLY] = "apply",
	[OPERATION_REVERT] = "revert",
	[OPERATION_ADOPT] = "adopt",
};

static const char *const status_names[] = {
	[PATCH_APPLIED] = "applied",
	[PATCH_LOST] = "lost",
	[PATCH_ATTENTION] = "attention",
};

static const char *const result_names[] = {
	[RESULT_APPLIED] = "applied",
	[RESULT_REVERTED] = "reverted",
	[RESULT_UNDONE] = "undone",
	[RESULT_LOST] = "lost",
	[RESULT_ATTENTION] = "attention",
};

const char *result_name(enum result r)
{
	return result_names[r];
}

int result_from_name(const char *name)
{
	for (size_t i = 0; name && i < ARRAY_SIZE(result_names); i++)
		if (strcmp(result_names[i], name) == 0)
			return (int)i;
	return -EINVAL;
}

const char *operation_name(enum operation op)
{
	return operation_names[op];
}

const char *patch_status_name(enum patch_status s)
{
	return status_names[s];
}

void transaction_free(struct transaction *t)
{
	if (!t)
		return;
	plan_free(t->plan);
	free(t);
}

json_t *site_to_json(const struct poke_site *site)
{
	char old_hex[2 * POKE_SITE_LEN_MAX + 1], new_hex[2 * POKE_SITE_LEN_MAX + 1];

	hex_encode(site->old_bytes, site->len, old_hex);
	hex_encode(site->new_bytes, site->len, new_hex);
	return json_pack("{s:o, s:s, s:s, s:s}", "address", qmp_address(site->gva), "symbol", site->label,
			 "old", old_hex, "new", new_hex);
}

void sites_add_json(json_t *o, const char *key, const struct poke_plan *plan, size_t *budget)
{
	json_t *sites = json_array();
	size_t i;

	for (i = 0; i < plan->n_sites; i++) {
		const struct poke_site *site = &plan->sites[i];
		/* Two hex strings; names of members, punctuation and the address are below 96 bytes. */
		size_t bytes = 4u * site->len + strlen(site->label) + 96;

		if (bytes > *budget)
			break;
		*budget -= bytes;
		json_array_append_new(sites, site_to_json(site));
	}
	json_object_set_new(o, key, sites);
	if (i < plan->n_sites)
		json_object_set_new(o, "sites_omitted", json_integer((json_int_t)(plan->n_sites - i)));
}

static json_t *site_record(const struct poke_site *site)
{
	json_t *o = site_to_json(site);
	int r = !o;

	r |= json_object_set_new(o, "gpa", qmp_address(site->gpa));
	r |= json_object_set_new(o, "gpa_rest", qmp_address(site->gpa_rest));
	r |= json_object_set_new(o, "split", json_integer(site->split));
	r |= json_object_set_new(o, "boundaries", qmp_address(site->boundaries));
	r |= json_object_set_new(o, "new_boundaries", qmp_address(site->new_boundaries));
	if (site->operand)
		r |= json_object_set_new(o, "operand", json_true());
	if (site->data)
		r |= json_object_set_new(o, "data", json_true());
	if (r) {
		json_decref(o);
		return NULL;
	}
	return o;
}

static json_t *exclusions_record(const struct poke_plan *plan)
{
	json_t *list = json_array();

	for (size_t i = 0; i < plan->n_exclusions; i++) {
		const struct poke_exclusion *x = &plan->exclusions[i];
		json_t *o = json_pack("{s:o, s:o}", "from", qmp_address(x->start), "to", qmp_address(x->end));

		if (x->gate)
			json_object_set_new(o, "gate", qmp_address(x->gate));
		json_array_append_new(list, o);
	}
	return list;
}

/* What they hold before and after is padding, by what a slot is; "old" says so to whoever reads the journal. */
static json_t *slots_record(const struct poke_plan *plan)
{
	uint8_t padding[POKE_SLOT_LEN];
	char hex[2 * POKE_SLOT_LEN + 1];
	json_t *list = json_array();

	memset(padding, POKE_SLOT_PADDING, sizeof(padding));
	hex_encode(padding, sizeof(padding), hex);
	for (size_t i = 0; i < plan->n_slots; i++)
		json_array_append_new(list, json_pack("{s:o, s:o, s:s}", "address", qmp_address(plan->slots[i].gva),
						      "gpa", qmp_address(plan->slots[i].gpa), "old", hex));
	return list;
}

json_t *transaction_to_json(const struct transaction *t)
{
	json_t *sites = json_array();

	for (size_t i = 0; i < t->plan->n_sites; i++) {
		if (json_array_append_new(sites, site_record(&t->plan->sites[i])) < 0) {
			json_decref(sites);
			return NULL;
		}
	}
	return json_pack("{s:s, s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:o, s:I, s:o, s:s, s:s, s:b, s:o, s:o, s:o}",
			 "type", "begin", "txn", (json_int_t)t->number, "time", t->time,
			 "operation", operation_name(t->operation), "patch", t->patch,
			 "description", t->description, "release", t->boot.release,
			 "build_id", t->boot.build_id, "base", qmp_address(t->boot.base),
			 "pid", (json_int_t)t->boot.pid, "pid_start", qmp_address(t->boot.pid_start),
			 "mode", poke_mode_name(t->plan->mode), "trap", poke_trap_name(t->plan->trap),
			 "atomic", (int)t->plan->atomic, "exclude", exclusions_record(t->plan), "slots",
			 slots_record(t->plan), "sites", sites);
}

/* Copies a string member that must fit; false when it is missing or too long. */
static bool get_text(json_t *o, const char *key, char *out, size_t cap)
{
	const char *s = json_string_value(json_object_get(o, key));

	if (!s || strlen(s) >= cap)
		return false;
	strcpy(out, s);
	return true;
}

static bool get_address(json_t *o, const char *key, uint64_t *ret)
{
	return qmp_address_parse(json_object_get(o, key), ret) == 0;
}

static bool site_from_json(json_t *o, struct poke_site *s)
{
	char old_hex[2 * POKE_SITE_LEN_MAX + 1], new_hex[2 * POKE_SITE_LEN_MAX + 1];
	json_t *split = json_object_get(o, "split");

	if (!get_text(o, "symbol", s->label, sizeof(s->label)) ||
	    !get_text(o, "old", old_hex, sizeof(old_hex)) || !get_text(o, "new", new_hex, sizeof(new_hex)) ||
	    !get_address(o, "address", &s->gva) || !get_address(o, "gpa", &s->gpa) ||
	    !get_address(o, "gpa_rest", &s->gpa_rest) || !get_address(o, "boundaries", &s->boundaries) ||
	    !get_address(o, "new_boundaries", &s->new_boundaries) || !json_is_integer(split))
		return false;
	ssize_t n_old = hex_decode(old_hex, s->old_bytes, sizeof(s->old_bytes));
	ssize_t n_new = hex_decode(new_hex, s->new_bytes, sizeof(s->new_bytes));
	json_int_t at = json_integer_value(split);
	if (n_old < 1 || n_old != n_new || at < 1 || at > n_old)
		return false;
	s->operand = json_is_true(json_object_get(o, "operand"));
	s->data = json_is_true(json_object_get(o, "data"));
	s->len = (uint8_t)n_old;
	s->split = (uint8_t)at;
	return true;
}

static bool exclusions_from_json(json_t *list, struct poke_plan *p)
{
	json_t *o;
	size_t i;

	if (json_array_size(list) > POKE_EXCLUSIONS_MAX)
		return false;
	json_array_foreach(list, i, o) {
		struct poke_exclusion *x = &p->exclusions[i];

		if (!get_address(o, "from", &x->start) || !get_address(o, "to", &x->end) || x->start >= x->end)
			return false;
		if (json_object_get(o, "gate") &&
		    (!get_address(o, "gate", &x->gate) || x->gate < x->start || x->gate >= x->end))
			return false;
	}
	p->n_exclusions = json_array_size(list);
	return true;
}

/* Journals from before there were slots have none. */
static int slots_from_json(json_t *list, struct poke_plan *p)
{
	struct poke_slot slots[POKE_SLOTS_MAX] = { 0 };
	struct err ignored;
	json_t *o;
	size_t i;

	if (list && (!json_is_array(list) || json_array_size(list) > POKE_SLOTS_MAX))
		return -EBADMSG;
	json_array_foreach(list, i, o)
		if (!get_address(o, "address", &slots[i].gva) || !get_address(o, "gpa", &slots[i].gpa))
			return -EBADMSG;
	int r = json_array_size(list) ? plan_set_slots(p, slots, json_array_size(list), &ignored) : 0;
	return r == -EINVAL ? -EBADMSG : r;
}

/* How it is carried out. Journals from before there was more than one mode lack all but "mode". */
static bool manner_from_json(json_t *record, struct poke_plan *p)
{
	json_t *mode = json_object_get(record, "mode"), *trap = json_object_get(record, "trap");
	json_t *exclude = json_object_get(record, "exclude");
	int m = mode ? poke_mode_from_name(json_string_value(mode)) : (int)POKE_MODE_STOPPED;
	int k = trap ? poke_trap_from_name(json_string_value(trap)) : (int)BACKEND_TRAP_KIND_INT3;

	if (m < 0 || k < 0 || (exclude && !json_is_array(exclude)) || !exclusions_from_json(exclude, p))
		return false;
	p->mode = (enum poke_mode)m;
	p->trap = (enum backend_trap)k;
	p->atomic = json_is_true(json_object_get(record, "atomic"));
	p->needs_quiescence = p->n_exclusions > 0;
	return true;
}

static int plan_from_json(json_t *record, struct poke_plan **ret)
{
	json_t *sites = json_object_get(record, "sites");
	size_t n = json_array_size(sites), i;
	_cleanup_(plan_free) struct poke_plan *p = NULL;
	json_t *o;

	if (n < 1 || n > POKE_SITES_MAX)
		return -EBADMSG;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->sites = calloc(n, sizeof(*p->sites));
	if (!p->sites)
		return -ENOMEM;
	p->n_sites = n;
	if (!manner_from_json(record, p))
		return -EBADMSG;
	int r = slots_from_json(json_object_get(record, "slots"), p);
	if (r < 0)
		return r;
	json_array_foreach(sites, i, o) {
		if (!site_from_json(o, &p->sites[i]))
			return -EBADMSG;
		if (__builtin_popcountll(p->sites[i].boundaries) > 1)
			p->needs_quiescence = true;
	}
	*ret = TAKE_PTR(p);
	return 0;
}

static bool boot_from_json(json_t *o, struct boot *b)
{
	json_t *pid = json_object_get(o, "pid");

	b->pid = (pid_t)json_integer_value(pid);
	return json_is_integer(pid) && get_text(o, "release", b->release, sizeof(b->release)) &&
	       get_text(o, "build_id", b->build_id, sizeof(b->build_id)) &&
	       get_address(o, "base", &b->base) && get_address(o, "pid_start", &b->pid_start);
}

static enum operation operation_from_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(operation_names); i++)
		if (strcmp(operation_names[i], name) == 0)
			return (enum operation)i;
	return OPERATION_APPLY;
}

int transaction_from_json(json_t *record, struct transaction **ret)
{
	_cleanup_(transaction_free) struct transaction *t = calloc(1, sizeof(*t));
	json_t *number = json_object_get(record, "txn");
	const char *operation = json_string_value(json_object_get(record, "operation"));

	if (!t)
		return -ENOMEM;
	if (!json_is_integer(number) || json_integer_value(number) < 0 ||
	    json_integer_value(number) > TRANSACTION_NUMBER_MAX || !operation ||
	    !get_text(record, "patch", t->patch, sizeof(t->patch)) || !patch_name_valid(t->patch) ||
	    !get_text(record, "description", t->description, sizeof(t->description)) ||
	    !boot_from_json(record, &t->boot))
		return -EBADMSG;
	t->number = (uint64_t)json_integer_value(number);
	t->time = json_integer_value(json_object_get(record, "time"));
	t->operation = operation_from_name(operation);
	int r = plan_from_json(record, &t->plan);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(t);
	return 0;
}

void figures_add_json(json_t *o, enum poke_mode mode, const struct poke_stats *s)
{
	json_t *all = json_pack("{s:i, s:i, s:i, s:i, s:I, s:I}", "barriers", (int)s->barriers, "forced_exits",
				(int)s->forced_exits, "steps", (int)s->steps, "retries", (int)s->retries,
				"longest_pause_us", (json_int_t)s->longest_pause_us, "elapsed_us",
				(json_int_t)s->elapsed_us);
	json_t *live = mode == POKE_MODE_STOPPED
			       ? NULL
			       : json_pack("{s:i, s:i, s:i, s:i, s:i, s:I, s:I}", "traps", (int)s->traps, "held",
					   (int)s->held, "copied", (int)s->copied, "kicked", (int)s->kicked, "already_out", (int)s->already_out, "waited_us",
					   (json_int_t)s->waited_us, "held_us", (json_int_t)s->held_us);

	if (s->gated)
		json_object_set_new(o, "gated", json_integer((json_int_t)s->gated));
	json_object_update(o, all);
	if (live)
		json_object_update(o, live);
	json_decref(all);
	json_decref(live);
}

json_t *transaction_history(json_t *begin, json_t *end)
{
	static const char *const copied[] = { "sites",	     "barriers", "forced_exits", "longest_pause_us", "elapsed_us",
					      "traps",	     "held",	 "copied",	 "kicked",	     "already_out",
					      "waited_us",   "held_us",	 "error" };
	const char *result = json_string_value(json_object_get(end, "result"));
	json_t *o = json_object();

	json_object_set(o, "transaction", json_object_get(begin, "txn"));
	json_object_set(o, "time", json_object_get(end, "time"));
	json_object_set(o, "operation", json_object_get(begin, "operation"));
	json_object_set(o, "patch", json_object_get(begin, "patch"));
	json_object_set(o, "mode", json_object_get(begin, "mode"));
	json_object_set(o, "result", json_object_get(end, "result"));
	json_object_set_new(o, "changed", json_boolean(result && strcmp(result, "undone") != 0));
	json_object_set(o, "by", json_object_get(begin, "by")); /* does nothing where there is none */
	for (size_t i = 0; i < ARRAY_SIZE(copied); i++)
		json_object_set(o, copied[i], json_object_get(end, copied[i]));
	return o;
}

struct patch_record *patch_list_find(const struct patch_list *l, const char *name)
{
	for (struct patch_record *p = l->first; p; p = p->next)
		if (strcmp(p->begin->patch, name) == 0)
			return p;
	return NULL;
}

int patch_list_add(struct patch_list *l, struct transaction *begin, enum patch_status status)
{
	struct patch_record *p = calloc(1, sizeof(*p));
	struct patch_record **end = &l->first;

	if (!p) {
		transaction_free(begin);
		return -ENOMEM;
	}
	*p = (struct patch_record){ .status = status, .begin = begin };
	while (*end)
		end = &(*end)->next;
	*end = p;
	return 0;
}

void patch_list_remove(struct patch_list *l, const char *name)
{
	for (struct patch_record **at = &l->first; *at; at = &(*at)->next) {
		struct patch_record *p = *at;

		if (strcmp(p->begin->patch, name) != 0)
			continue;
		*at = p->next;
		transaction_free(p->begin);
		free(p);
		return;
	}
}

int patch_list_end(struct patch_list *l, struct transaction *t, enum result result)
{
	struct patch_record *p = patch_list_find(l, t->patch);
	bool gone = result == RESULT_REVERTED || (result == RESULT_LOST && t->operation == OPERATION_REVERT);

	if (t->operation != OPERATION_REVERT && (result == RESULT_APPLIED || result == RESULT_ATTENTION)) {
		patch_list_remove(l, t->patch);
		return patch_list_add(l, t, result == RESULT_APPLIED ? PATCH_APPLIED : PATCH_ATTENTION);
	}
	if (p && result == RESULT_ATTENTION)
		p->status = PATCH_ATTENTION;
	if (gone)
		patch_list_remove(l, t->patch);
	transaction_free(t);
	return 0;
}

void patch_list_clear(struct patch_list *l)
{
	while (l->first)
		patch_list_remove(l, l->first->begin->patch);
}

size_t patch_list_count(const struct patch_list *l, enum patch_status status)
{
	size_t n = 0;

	for (const struct patch_record *p = l->first; p; p = p->next)
		n += p->status == status;
	return n;
}
