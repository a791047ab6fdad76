// SPDX-License-Identifier: GPL-2.0-or-later
/* query-patches, patch-verify, query-history: the journal, and the guest's text against it. Changes nothing. */
#include <errno.h>
#include <string.h>

#include "vmm/worker/commands.h"
#include "vmm/worker/payloads.h"

#define HISTORY_DEFAULT 100
#define AGENT_BUDGET_US 5000000u

static json_t *patch_json(const struct patch_record *p, size_t *budget)
{
	const struct transaction *t = p->begin;
	json_t *o = json_pack("{s:s, s:s, s:I}", "name", t->patch, "state", patch_status_name(p->status),
			      "applied_at", t->time);

	sites_add_json(o, "sites", t->plan, budget);
	if (t->description[0])
		json_object_set_new(o, "description", json_string(t->description));
	return o;
}

int command_query_patches(struct session *s, json_t *args, json_t **ret, struct err *e)
{
	json_t *patches = json_array();
	size_t budget = SITES_REPLY_BYTES;
	const char *release = s->guest ? guest_facts(s->guest)->release : "";

	(void)args;
	(void)e;
	/* Answered from the journal, so that it works while the VM is away. */
	session_events(s);
	for (const struct patch_record *p = s->patches.first; p; p = p->next) {
		json_array_append_new(patches, patch_json(p, &budget));
		if (!release[0])
			release = p->begin->boot.release;
	}
	*ret = json_pack("{s:s, s:s, s:o, s:o}", "vm", s->target.vm, "release", release, "patches", patches, "payloads",
			 payloads_json(s));
	return 0;
}

static json_t *difference(const struct patch_record *p, const struct poke_site *site, enum poke_holds holds,
			  const uint8_t *found)
{
	static const char *const names[] = {
		[POKE_HOLDS_OLD] = "old", [POKE_HOLDS_MIX] = "mix", [POKE_HOLDS_FOREIGN] = "foreign",
	};
	char want_hex[2 * POKE_SITE_LEN_MAX + 1], found_hex[2 * POKE_SITE_LEN_MAX + 1];

	hex_encode(site->new_bytes, site->len, want_hex);
	hex_encode(found, site->len, found_hex);
	return json_pack("{s:s, s:o, s:s, s:s, s:s, s:s}", "patch", p->begin->patch, "address",
			 qmp_address(site->gva), "symbol", site->label, "expected", want_hex, "found", found_hex,
			 "holds", names[holds]);
}

static int verify_patch(struct session *s, const struct patch_record *p, json_t *differences, struct err *e)
{
	for (size_t i = 0; i < p->begin->plan->n_sites; i++) {
		const struct poke_site *site = &p->begin->plan->sites[i];
		uint8_t found[POKE_SITE_LEN_MAX];
		enum poke_holds holds;
		int r = poke_site_holds(s->backend, site, &holds, found, e);

		if (r < 0)
			return r;
		if (holds != POKE_HOLDS_NEW)
			json_array_append_new(differences, difference(p, site, holds, found));
	}
	return 0;
}

/* Nobody but us may write to a payload. */
static int verify_payloads(struct session *s, json_t *differences, struct err *e)
{
	char expected[16], found[16];
	int r = 0;

	for (const struct payload_memory *m = s->payloads.first; m && r >= 0; m = m->next) {
		uint32_t crc = 0;

		if (!payloads_in_use(s, m))
			continue;
		r = payloads_crc(s, m, &crc, e);
		if (r == -EFAULT)
			r = 0;
		if (r < 0 || crc == m->crc)
			continue;
		snprintf(expected, sizeof(expected), "%08x", m->crc);
		snprintf(found, sizeof(found), "%08x", crc);
		json_array_append_new(differences,
				      json_pack("{s:s, s:o, s:s, s:s, s:s, s:s}", "patch", m->patch, "address",
						qmp_address(m->gva), "symbol", "payload", "expected", expected, "found",
						found, "holds", "foreign"));
	}
	return r;
}

/* The same patches as the guest sees them, where it has an agent. */
static void ask_agent(struct session *s, json_t *reply)
{
	json_t *seen = json_array();
	uint64_t start = now_us(), deadline = start + AGENT_BUDGET_US;
	struct err why = { 0 };
	char text[256];
	struct agent_session *agent = worker_agent_ready(s, &why);
	const struct agent_hello *h = agent ? agent_session_hello(agent) : NULL;
	int r = h ? 0 : -ENOTCONN;

	if (h && !worker_agent_agrees(s, h, text, sizeof(text)))
		r = err_set(&why, ERR_INACTIVE, EPERM, "agent-disagrees", "the agent tells of another kernel: %s", text);
	for (const struct patch_record *p = s->patches.first; r == 0 && p; p = p->next)
		if (p->status != PATCH_LOST)
			r = worker_agent_verify(agent, p, deadline, seen, &why);
	json_t *o = json_pack("{s:b, s:[], s:I}", "used", r == 0, "warnings", "elapsed_us", (json_int_t)(now_us() - start));
	if (r < 0)
		json_object_set_new(o, "why", worker_agent_text(why.text));
	json_object_set_new(reply, "agent", o);
	json_object_set_new(reply, "agent_sees", seen);
}

int command_patch_verify(struct session *s, json_t *args, json_t **ret, struct err *e)
{
	json_int_t patches = 0, sites = 0;
	int r = session_guest(s, NULL, e);

	(void)args;
	if (r < 0)
		return r;
	json_t *differences = json_array();
	for (const struct patch_record *p = s->patches.first; r == 0 && p; p = p->next) {
		if (p->status == PATCH_LOST)
			continue;
		patches++;
		sites += (json_int_t)p->begin->plan->n_sites;
		r = verify_patch(s, p, differences, e);
	}
	if (r == 0)
		r = verify_payloads(s, differences, e);
	if (r < 0) {
		json_decref(differences);
		return r;
	}
	*ret = json_pack("{s:s, s:b, s:I, s:I, s:o}", "vm", s->target.vm, "ok", json_array_size(differences) == 0,
			 "patches", patches, "sites", sites, "differences", differences);
	if (strcmp(worker_agent_state(s), "none") != 0)
		ask_agent(s, *ret);
	return 0;
}

/* Pairs each end with its begin; the last ones are kept. */
struct history {
	struct journal_visitor visitor;
	json_t *entries;
	json_t *begin;
	size_t limit;
};

static int history_record(struct journal_visitor *v, json_t *record)
{
	struct history *h = container_of(v, struct history, visitor);
	const char *type = json_string_value(json_object_get(record, "type"));
	json_t *entry = NULL;

	if (type && strcmp(type, "begin") == 0) {
		json_decref(h->begin);
		h->begin = json_incref(record);
	} else if (type && strcmp(type, "end") == 0 && h->begin) {
		entry = transaction_history(h->begin, record);
	} else if (type && strcmp(type, "past") == 0) {
		entry = json_copy(record);
		json_object_del(entry, "type");
	}
	if (entry)
		json_array_append_new(h->entries, entry);
	if (json_array_size(h->entries) > h->limit)
		json_array_remove(h->entries, 0);
	return 0;
}

int command_query_history(struct session *s, json_t *args, json_t **ret, struct err *e)
{
	json_t *limit = json_object_get(args, "limit");
	struct history h = {
		.visitor.record = history_record,
		.entries = json_array(),
		.limit = limit ? (size_t)json_integer_value(limit) : HISTORY_DEFAULT,
	};
	int r = journal_replay(s->journal, &h.visitor, e);

	json_decref(h.begin);
	if (r < 0) {
		json_decref(h.entries);
		return r;
	}
	*ret = json_pack("{s:s, s:o}", "vm", s->target.vm, "entries", h.entries);
	return 0;
}
