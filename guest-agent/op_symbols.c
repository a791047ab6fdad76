// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Names to addresses by /proc/kallsyms, which is the truth about this boot and
 * these modules. One pass over the table whatever the number of names.
 */
#include <errno.h>
#include <string.h>

#include "guest-agent/agent.h"

#define SLOTS 1024u /* a power of two, well above AGENT_SYMBOLS_MAX */

static struct wanted {
	const char *name[AGENT_SYMBOLS_MAX]; /* in the request, not terminated */
	size_t len[AGENT_SYMBOLS_MAX];
	struct agent_symbol found[AGENT_SYMBOLS_MAX];
	uint16_t next[AGENT_SYMBOLS_MAX]; /* others of the same slot */
	uint16_t slot[SLOTS];		  /* index + 1; 0 none */
	size_t n;
} wanted;

static unsigned slot_of(const char *name, size_t len)
{
	return (unsigned)(lines_hash(name, len) & (SLOTS - 1));
}

static int take_names(const struct agent_frame *f)
{
	struct agent_get g = { .p = f->payload, .left = f->length };

	memset(&wanted, 0, sizeof(wanted));
	if (agent_symbols_request_begin(&g, &wanted.n))
		return -EBADMSG;
	for (size_t i = 0; i < wanted.n; i++) {
		if (agent_name_next(&g, &wanted.name[i], &wanted.len[i]))
			return -EBADMSG;
		unsigned s = slot_of(wanted.name[i], wanted.len[i]);
		wanted.next[i] = wanted.slot[s];
		wanted.slot[s] = (uint16_t)(i + 1);
		wanted.found[i].status = AGENT_SYMBOL_MISSING;
	}
	return g.left ? -EBADMSG : 0;
}

static void match(const struct kallsym *sym)
{
	for (unsigned i = wanted.slot[slot_of(sym->name, sym->len)]; i; i = wanted.next[i - 1]) {
		struct agent_symbol *s = &wanted.found[i - 1];
		if (wanted.len[i - 1] != sym->len || memcmp(wanted.name[i - 1], sym->name, sym->len))
			continue;
		if (s->matches < UINT16_MAX)
			s->matches++;
		if (s->matches > 1)
			continue;
		s->addr = sym->addr;
		s->status = sym->addr ? AGENT_SYMBOL_FOUND : AGENT_SYMBOL_HIDDEN;
	}
}

int op_symbols(struct agent *a, const struct agent_frame *f, struct agent_put *reply, struct agent_failure *why)
{
	struct kallsym sym;
	char *line;

	if (take_names(f))
		return agent_fail(why, AGENT_E_MALFORMED, 0, "not a list of names");
	int r = lines_open(&a->lines, a->roots.root, "proc/kallsyms");
	if (r)
		return agent_fail(why, AGENT_E_UNAVAILABLE, -r, "cannot read /proc/kallsyms");
	while ((line = lines_next(&a->lines)))
		if (lines_kallsym(line, &sym))
			match(&sym);
	lines_close(&a->lines);
	reply->len = agent_symbols_encode(reply->p, reply->cap, wanted.found, wanted.n);
	return 0;
}
