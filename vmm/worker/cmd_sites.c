// SPDX-License-Identifier: GPL-2.0-or-later
/* query-sites: the places in its text that the guest keeps lists of. Reads the guest, changes nothing. */
#include <errno.h>
#include <string.h>

#include "vmm/guest/sites.h"
#include "vmm/worker/commands.h"

#define SITES_PER_REPLY 1024
/* Two or three names of up to 511 bytes each: stop a page before its JSON could pass QMP_MESSAGE_MAX. */
#define SITES_REPLY_TEXT (QMP_MESSAGE_MAX - 65536)

/* What is asked for: all, or what has to do with one symbol. */
struct filter {
	bool any;
	uint64_t start, end; /* a function */
	uint64_t key;	     /* 0: none */
};

static bool filter_takes(const struct filter *f, const struct guest_site *site)
{
	return f->any || (site->at >= f->start && site->at < f->end) || (f->key && site->key == f->key);
}

static int filter_make(const struct session *s, const char *symbol, struct filter *ret, struct err *e)
{
	struct filter f = { .any = !symbol };
	struct guest_symbol covering;
	char key[GUEST_SYMBOL_MAX + 8];
	uint64_t addr, size;

	if (symbol) {
		snprintf(key, sizeof(key), "__SCK__%s", symbol);
		if (guest_symbol_find(s->guest, key, &f.key, NULL, NULL) < 0)
			f.key = 0;
		int r = guest_symbol_find(s->guest, symbol, &addr, NULL, NULL);
		if (r < 0 && !f.key)
			return err_set(e, ERR_NOT_FOUND, -r, r == -ENOENT ? "unknown-symbol" : "ambiguous-symbol",
				       "%s '%s' in %s", r == -ENOENT ? "there is no symbol" : "there are several symbols",
				       symbol, guest_facts(s->guest)->release);
		if (r >= 0 && guest_is_text(s->guest, addr, 1) &&
		    guest_symbol_at(s->guest, addr, &covering, &size) == 0) {
			f.start = addr;
			f.end = addr + size;
		} else if (r >= 0) {
			f.key = addr;
		}
	}
	*ret = f;
	return 0;
}

static const char *state_of(const struct session *s, const struct guest_site *site)
{
	static const char *const flows[] = {
		[ARCH_FLOW_NONE] = "other", [ARCH_FLOW_JUMP] = "jump",	 [ARCH_FLOW_BRANCH] = "branch",
		[ARCH_FLOW_CALL] = "call",  [ARCH_FLOW_RETURN] = "return",
	};
	uint8_t code[8];
	struct arch_insn insn;
	struct err ignored;

	if (guest_read(s->guest, site->at, code, sizeof(code), &ignored) < 0 ||
	    arch_of(s->info.arch)->decode(code, sizeof(code), site->at, &insn) < 0)
		return "other";
	if (insn.trap || insn.nop)
		return insn.trap ? "trap" : "nop";
	if (memcmp(code, "\x2e\x2e\x2e\x31\xc0", 5) == 0)
		return "ret0";
	return insn.flow < ARRAY_SIZE(flows) && flows[insn.flow] ? flows[insn.flow] : "other";
}

/* Where a static call leads: the function its key names. */
static uint64_t target_of(const struct session *s, enum guest_site_kind kind, const struct guest_site *site)
{
	uint64_t function = 0;
	struct err ignored;

	if (kind != GUEST_SITE_STATIC_CALL)
		return site->target;
	return guest_read(s->guest, site->key, &function, sizeof(function), &ignored) < 0 ? 0 : function;
}

static void add_place(const struct session *s, json_t *o, const char *name, uint64_t addr)
{
	char text[GUEST_SYMBOL_MAX + 24];

	guest_format_addr(s->guest, addr, text, sizeof(text));
	json_t *value = json_string(text);
	/* The guest chooses the names; one that is not UTF-8 cannot be said in JSON. */
	json_object_set_new(o, name, value ? value : qmp_address(addr));
}

static json_t *site_json(const struct session *s, enum guest_site_kind kind, const struct guest_site *site)
{
	uint64_t target = target_of(s, kind, site);
	json_t *o = json_pack("{s:o, s:s, s:s}", "address", qmp_address(site->at), "kind", guest_site_kind_name(kind),
			      "state", site->init ? "init" : state_of(s, site));

	add_place(s, o, "symbol", site->at);
	if (site->key)
		add_place(s, o, "key", site->key);
	if (target)
		add_place(s, o, "target", target);
	if (site->tail)
		json_object_set_new(o, "tail", json_true());
	if (site->init)
		json_object_set_new(o, "init", json_true());
	return o;
}

struct page {
	const struct filter *filter;
	size_t start, count;
	size_t seen; /* sites that the filter took, of all kinds so far */
	size_t next; /* where the page ended; 0: it has not */
	size_t bytes;
	json_t *list;
};

static size_t site_bytes(json_t *o)
{
	return 160 + json_string_length(json_object_get(o, "symbol")) + json_string_length(json_object_get(o, "key")) +
	       json_string_length(json_object_get(o, "target"));
}

static void page_add(const struct session *s, struct page *p, enum guest_site_kind kind, const struct guest_sites *sites)
{
	for (size_t i = 0; i < sites->n; i++) {
		if (!filter_takes(p->filter, &sites->site[i]))
			continue;
		size_t index = p->seen++;
		if (index < p->start || p->next)
			continue;
		if (index - p->start >= p->count || p->bytes > SITES_REPLY_TEXT) {
			p->next = index;
			continue;
		}
		json_t *o = site_json(s, kind, &sites->site[i]);
		p->bytes += site_bytes(o);
		json_array_append_new(p->list, o);
	}
}

static int page_fill(struct session *s, struct page *p, int only, struct err *e)
{
	for (int kind = 0; kind < GUEST_SITE_KINDS; kind++) {
		__attribute__((cleanup(guest_sites_clear))) struct guest_sites sites = { 0 };

		/* What the guest rewrites by itself; the rest only by name. */
		if (only >= 0 ? kind != only : kind != GUEST_SITE_STATIC_KEY && kind != GUEST_SITE_STATIC_CALL)
			continue;
		int r = guest_sites_read(s->guest, (enum guest_site_kind)kind, &sites, e);
		if (r < 0)
			return r;
		page_add(s, p, (enum guest_site_kind)kind, &sites);
	}
	return 0;
}

int command_query_sites(struct session *s, json_t *args, json_t **ret, struct err *e)
{
	json_t *count = json_object_get(args, "count"), *kind = json_object_get(args, "kind");
	int only = kind ? guest_site_kind_from_name(json_string_value(kind)) : -1;
	struct filter filter = { 0 };
	int r = 0;

	if (kind && only < 0)
		return err_set(e, ERR_USAGE, EINVAL, NULL, "kind must be static_key, static_call, fentry or fixup");
	r = session_guest(s, NULL, e);
	if (r == 0)
		r = filter_make(s, json_string_value(json_object_get(args, "symbol")), &filter, e);
	if (r < 0)
		return r;
	struct page p = { .filter = &filter,
			  .start = (size_t)json_integer_value(json_object_get(args, "start")),
			  .count = count ? (size_t)json_integer_value(count) : SITES_PER_REPLY,
			  .list = json_array() };
	r = page_fill(s, &p, only, e);
	if (r < 0) {
		json_decref(p.list);
		return r;
	}
	*ret = json_pack("{s:o, s:I, s:I}", "sites", p.list, "next", p.next ? (json_int_t)p.next : (json_int_t)-1, "total",
			 (json_int_t)p.seen);
	return 0;
}
