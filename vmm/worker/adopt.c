// SPDX-License-Identifier: GPL-2.0-or-later
/* See adopt.h. Everything in a record is untrusted, its addresses before all. */
#include "vmm/worker/adopt.h"

#include <errno.h>
#include <string.h>

#include "vmm/payload/payload.h"
#include "vmm/worker/payloads.h"
#include "vmm/worker/prepare.h"
#include "vmm/worker/txlog.h"

static const char *const state_names[] = {
	[ADOPT_OPEN] = "open",	     [ADOPT_ADOPTED] = "adopted",     [ADOPT_ALREADY] = "already",
	[ADOPT_ABSENT] = "absent",   [ADOPT_ATTENTION] = "attention", [ADOPT_REFUSED] = "refused",
};

const char *adopt_state_name(enum adopt_state state)
{
	return state_names[state];
}

void adopt_list_clear(struct adopt_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		portable_clear(&l->list[i].record);
	free(l->list);
	*l = (struct adopt_list){ 0 };
}

static bool named_before(const struct adopt_list *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->list[i].record.t->patch, name) == 0)
			return true;
	return false;
}

static int parse_one(struct adopt_list *l, json_t *record, struct err *e)
{
	struct portable *p = &l->list[l->n].record;
	int r = portable_from_json(record, p, e);

	if (r == 0 && named_before(l, p->t->patch)) {
		portable_clear(p);
		r = err_set(e, ERR_USAGE, EBADMSG, NULL, "the patch is named twice");
	}
	if (r == 0) {
		l->n++;
		return 0;
	}
	err_prefix(e, "record %zu", l->n + 1);
	return r;
}

int adopt_list_parse(json_t *records, struct adopt_list *ret, struct err *e)
{
	__attribute__((cleanup(adopt_list_clear))) struct adopt_list l = { 0 };
	size_t n = json_array_size(records), i;
	json_t *record;
	int r = 0;

	if (n > PORTABLE_RECORDS_MAX)
		return err_set(e, ERR_USAGE, E2BIG, NULL, "'records' has more than %d elements", PORTABLE_RECORDS_MAX);
	l.list = calloc(n + 1, sizeof(*l.list));
	if (!l.list)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	json_array_foreach(records, i, record)
		if (r == 0)
			r = parse_one(&l, record, e);
	if (r < 0)
		return r;
	*ret = l;
	l = (struct adopt_list){ 0 };
	return 0;
}

static int refuse(struct adoption *a, const char *rule, const char *text)
{
	a->state = ADOPT_REFUSED;
	return err_set(&a->why, ERR_REFUSED, ESTALE, rule, "%s", text);
}

/* The same boot of the same kernel: a guest that was moved keeps both. */
static bool same_boot(const struct session *s, struct adoption *a)
{
	const struct guest_facts *f = guest_facts(s->guest);
	const struct boot *b = &a->record.t->boot;

	if (strcmp(b->build_id, f->build_id_hex) != 0)
		refuse(a, "build-id", "the record is of another kernel than the guest's");
	else if (b->base != f->base)
		refuse(a, "boot", "the record is of another boot: the kernel is at another address");
	return a->state == ADOPT_OPEN;
}

struct holdings {
	size_t old_sites, new_sites, other;
};

/* Through the guest's own page tables; where the record says a site is in memory is not looked at. */
static int look(struct session *s, struct adoption *a, struct holdings *ret, struct err *e)
{
	const struct poke_plan *plan = a->record.t->plan;
	uint8_t bytes[POKE_SITE_LEN_MAX];

	for (size_t i = 0; i < plan->n_sites; i++) {
		const struct poke_site *site = &plan->sites[i];
		int r = guest_read(s->guest, site->gva, bytes, site->len, e);

		if (r < 0 && r != -EFAULT)
			return r;
		bool is_new = r >= 0 && memcmp(bytes, site->new_bytes, site->len) == 0;
		bool is_old = r >= 0 && memcmp(bytes, site->old_bytes, site->len) == 0;
		ret->new_sites += is_new;
		ret->old_sites += is_old && !is_new;
		if (!is_new && !is_old && ret->other++ == 0)
			err_set_addr(&a->why, ERR_ATTENTION, EUCLEAN, "attention", site->gva,
				     "%.95s holds neither the patch's old nor its new bytes", site->label);
	}
	return 0;
}

static bool same_sites(const struct poke_plan *a, const struct poke_plan *b)
{
	if (a->n_sites != b->n_sites)
		return false;
	for (size_t i = 0; i < a->n_sites; i++) {
		const struct poke_site *x = &a->sites[i], *y = &b->sites[i];

		if (x->gva != y->gva || x->len != y->len || x->data != y->data ||
		    memcmp(x->old_bytes, y->old_bytes, x->len) != 0 || memcmp(x->new_bytes, y->new_bytes, x->len) != 0)
			return false;
	}
	return true;
}

/* What is in already keeps its record; another patch of that name is in the way. */
static bool known(const struct session *s, struct adoption *a)
{
	const struct patch_record *in = patch_list_find(&s->patches, a->record.t->patch);

	if (!in || in->status == PATCH_LOST)
		return false;
	if (in->status == PATCH_APPLIED && same_sites(in->begin->plan, a->record.t->plan))
		a->state = ADOPT_ALREADY;
	else
		refuse(a, "name-in-use", "a patch of that name with another content is in");
	return true;
}

static int first_look(struct session *s, struct adoption *a, struct err *e)
{
	struct holdings h = { 0 };
	size_t sites = a->record.t->plan->n_sites;
	int r = same_boot(s, a) && !known(s, a) ? look(s, a, &h, e) : 0;

	if (r < 0 || a->state != ADOPT_OPEN || h.new_sites == sites)
		return r;
	a->state = h.old_sites == sites ? ADOPT_ABSENT : ADOPT_ATTENTION;
	if (a->state == ADOPT_ABSENT)
		err_set(&a->why, ERR_FAILED, ENOENT, NULL, "the guest holds the old bytes: the patch is not in");
	else if (!h.other)
		err_set(&a->why, ERR_ATTENTION, EUCLEAN, "attention", "%zu of its sites are new and %zu are old", h.new_sites,
			h.old_sites);
	return 0;
}

/* Text, object and payload of a record, as a request would have brought them. */
static int prepare_record(struct session *s, struct portable *record, struct prepared *p, struct err *e)
{
	p->text = TAKE_PTR(record->text);
	p->text_len = record->text_len;
	p->object = TAKE_PTR(record->object);
	p->object_len = record->object_len;
	int r = patchfile_parse(p->text, p->text_len, "text", &p->file, e);
	if (r == 0 && strcmp(p->file->name, record->t->patch) != 0)
		r = err_set(e, ERR_REFUSED, EBADMSG, "record", "its text is that of the patch '%s'", p->file->name);
	if (r == 0 && (!p->file->object[0] != !p->object || !p->object != !record->payload))
		r = err_set(e, ERR_REFUSED, EBADMSG, "record", "object and payload go with sites of kind function, and only with those");
	if (r == 0 && p->object)
		r = prepare_payload(s, p, e);
	p->payload_base = record->payload;
	return r;
}

/* Where the plan, made with forged memory perhaps, would write: there the guest's page tables must lead as they are. */
static int check_places(struct session *s, const struct poke_plan *plan, struct err *e)
{
	for (size_t i = 0; i < plan->n_sites; i++) {
		const struct poke_site *site = &plan->sites[i];
		uint64_t gpa = 0, rest = 0, left;
		int r = guest_translate(s->guest, site->gva, &gpa, &left, e);

		if (r == 0 && site->split < site->len)
			r = guest_translate(s->guest, site->gva + site->split, &rest, &left, e);
		if (r == 0 && (gpa != site->gpa || (site->split < site->len && rest != site->gpa_rest)))
			r = err_set_addr(e, ERR_REFUSED, ESTALE, "record", site->gva, "%.95s is elsewhere in memory", site->label);
		if (r < 0)
			return r;
	}
	return 0;
}

static int plan_before(struct session *s, const struct overlay *overlay, struct prepared *p, struct err *e)
{
	s->overlay = overlay;
	int r = prepare_plan(s, p, e);
	s->overlay = NULL;
	return r;
}

static int plan_record(struct session *s, struct adoption *a, const struct overlay *overlay, struct prepared *p, struct err *e)
{
	int r = prepare_record(s, &a->record, p, e);

	if (r == 0)
		r = plan_before(s, overlay, p, e);
	if (r == 0)
		r = check_places(s, p->plan, e);
	if (r == 0 && !same_sites(p->plan, a->record.t->plan))
		r = err_set(e, ERR_REFUSED, ESTALE, "record", "its sites are not those that its text gives in this guest");
	return r;
}

static int journal_adopted(struct session *s, struct prepared *p, struct err *e)
{
	struct transaction *t = NULL;
	int r = prepare_store(s, p, e);

	if (r == 0 && p->object)
		r = payloads_adopt(s, p, e);
	if (r == 0)
		r = txlog_new(s, OPERATION_ADOPT, p->file, p->plan, &t, e);
	if (r < 0)
		return r;
	p->plan = NULL; /* the transaction's now */
	r = txlog_begin(s, t, e);
	if (r == 0)
		return txlog_end(s, t, RESULT_APPLIED, NULL, NULL, e);
	transaction_free(t);
	return r;
}

/* vmlinux is lent to each in turn. */
static int adopt_one(struct session *s, struct adoption *a, const struct overlay *overlay, struct vmlinux *vmlinux,
		     struct err *e)
{
	__attribute__((cleanup(prepared_clear))) struct prepared p = { .vmlinux = vmlinux };
	int r = plan_record(s, a, overlay, &p, &a->why);

	if (r < 0 && (a->why.kind == ERR_INACTIVE || r == -ENOMEM))
		*e = a->why;
	else if (r < 0)
		a->state = ADOPT_REFUSED;
	else
		r = journal_adopted(s, &p, e);
	if (r >= 0)
		a->state = ADOPT_ADOPTED;
	else if (e->kind == ERR_REFUSED) {
		a->why = *e;
		a->state = ADOPT_REFUSED;
	}
	p.vmlinux = NULL;
	return a->state == ADOPT_REFUSED ? 0 : r;
}

static int lay(struct session *s, struct adopt_list *l, struct overlay *o, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < l->n; i++) {
		const struct poke_plan *plan = l->list[i].record.t->plan;

		for (size_t k = 0; r == 0 && l->list[i].state == ADOPT_OPEN && k < plan->n_sites; k++)
			r = overlay_add(o, s->guest, &plan->sites[k], i, e);
	}
	return r < 0 ? r : overlay_close(o, e);
}

int adopt_judge(struct session *s, struct adopt_list *l, struct vmlinux *vmlinux, struct err *e)
{
	__attribute__((cleanup(overlay_clear))) struct overlay overlay = { 0 };
	int r = 0;

	for (size_t i = 0; r == 0 && i < l->n; i++)
		r = first_look(s, &l->list[i], e);
	if (r == 0)
		r = lay(s, l, &overlay, e);
	for (size_t i = 0; r == 0 && i < l->n; i++) {
		overlay.layer = i;
		if (l->list[i].state == ADOPT_OPEN)
			r = adopt_one(s, &l->list[i], &overlay, vmlinux, e);
	}
	return r;
}
