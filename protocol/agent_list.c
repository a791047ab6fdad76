// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Payloads that are lists: names, symbols, ranges, conflicts, bytes. Counts are
 * checked against their limit before anything is read, and a list must end where
 * the payload does. Must stay freestanding.
 */
#include <errno.h>
#include <string.h>

#include "protocol/agent_private.h"

static size_t name_length(const char *name)
{
	size_t n = 0;

	while (n <= AGENT_NAME_MAX && name[n])
		n++;
	return n;
}

/* A name of 1..AGENT_NAME_MAX, with its length before it. */
static void put_name(struct agent_put *w, const char *name)
{
	size_t n = name_length(name);

	if (!n || n > AGENT_NAME_MAX) {
		w->bad = true;
		return;
	}
	agent_put(w, n, 1);
	agent_put_bytes(w, name, n);
}

size_t agent_symbols_request_encode(uint8_t *out, size_t cap, const char *const *names, size_t n)
{
	struct agent_put w = { .p = out, .cap = cap };

	if (n > AGENT_SYMBOLS_MAX)
		return 0;
	agent_put(&w, n, 2);
	for (size_t i = 0; i < n; i++)
		put_name(&w, names[i]);
	return agent_put_end(&w);
}

int agent_symbols_request_begin(struct agent_get *g, size_t *ret_n)
{
	size_t n = (size_t)agent_get(g, 2);

	if (g->bad || !n || n > AGENT_SYMBOLS_MAX)
		return -EBADMSG;
	*ret_n = n;
	return 0;
}

/* Symbols are printable and without blanks; anything else is no name. */
static bool is_name(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] <= 0x20 || p[i] >= 0x7f)
			return false;
	return n > 0;
}

int agent_name_next(struct agent_get *g, const char **ret, size_t *ret_len)
{
	size_t n = (size_t)agent_get(g, 1);
	const uint8_t *p = agent_get_bytes(g, n);

	if (!p || !is_name(p, n))
		return -EBADMSG;
	*ret = (const char *)p;
	*ret_len = n;
	return 0;
}

size_t agent_symbols_encode(uint8_t *out, size_t cap, const struct agent_symbol *s, size_t n)
{
	struct agent_put w = { .p = out, .cap = cap };

	agent_put(&w, n, 2);
	for (size_t i = 0; i < n; i++) {
		agent_put(&w, s[i].status, 1);
		agent_put(&w, 0, 1);
		agent_put(&w, s[i].matches, 2);
		agent_put(&w, s[i].addr, 8);
	}
	return agent_put_end(&w);
}

int agent_symbols_decode(const uint8_t *in, size_t len, struct agent_symbol *ret, size_t n)
{
	struct agent_get g = { .p = in, .left = len };

	if (agent_get(&g, 2) != n || g.bad || g.left != n * 12)
		return -EBADMSG;
	for (size_t i = 0; i < n; i++) {
		ret[i].status = (uint8_t)agent_get(&g, 1);
		agent_get(&g, 1);
		ret[i].matches = (uint16_t)agent_get(&g, 2);
		ret[i].addr = agent_get(&g, 8);
		if (ret[i].status > AGENT_SYMBOL_HIDDEN)
			return -EBADMSG;
	}
	return 0;
}

size_t agent_ranges_encode(uint8_t *out, size_t cap, uint32_t first, const struct agent_range *r, size_t n)
{
	struct agent_put w = { .p = out, .cap = cap };

	if (!n || n > AGENT_RANGES_MAX)
		return 0;
	agent_put(&w, first, 4);
	agent_put(&w, n, 2);
	agent_put(&w, 0, 2);
	for (size_t i = 0; i < n; i++) {
		agent_put(&w, r[i].addr, 8);
		agent_put(&w, r[i].len, 4);
	}
	return agent_put_end(&w);
}

int agent_ranges_decode(const uint8_t *in, size_t len, uint32_t *ret_first, struct agent_range ret[AGENT_RANGES_MAX])
{
	struct agent_get g = { .p = in, .left = len };
	uint32_t first = (uint32_t)agent_get(&g, 4);
	size_t n = (size_t)agent_get(&g, 2);

	agent_get(&g, 2);
	if (g.bad || !n || n > AGENT_RANGES_MAX || g.left != n * 12)
		return -EBADMSG;
	for (size_t i = 0; i < n; i++) {
		ret[i].addr = agent_get(&g, 8);
		ret[i].len = (uint32_t)agent_get(&g, 4);
		if (!ret[i].len || ret[i].addr + ret[i].len < ret[i].addr)
			return -EBADMSG;
	}
	*ret_first = first;
	return (int)n;
}

#define CONFLICTS_HEAD 12

void agent_conflicts_begin(struct agent_put *w)
{
	for (size_t i = 0; i < CONFLICTS_HEAD; i++)
		agent_put(w, 0, 1);
}

bool agent_conflicts_add(struct agent_put *w, const struct agent_conflict *c)
{
	struct agent_put before = *w;

	agent_put(w, c->kind, 1);
	agent_put(w, 0, 1);
	agent_put(w, c->flags, 2);
	agent_put(w, c->addr, 8);
	put_name(w, c->name);
	if (!w->bad)
		return true;
	*w = before;
	return false;
}

size_t agent_conflicts_end(struct agent_put *w, const struct agent_conflicts *head)
{
	struct agent_put h = { .p = w->p, .cap = CONFLICTS_HEAD, .bad = w->bad };

	agent_put(&h, head->next, 4);
	agent_put(&h, head->sources, 4);
	agent_put(&h, head->count, 2);
	agent_put(&h, 0, 2);
	return h.bad ? 0 : w->len;
}

int agent_conflicts_decode(struct agent_get *g, struct agent_conflicts *ret)
{
	struct agent_conflicts m = { 0 };

	m.next = (uint32_t)agent_get(g, 4);
	m.sources = (uint32_t)agent_get(g, 4);
	m.count = (uint16_t)agent_get(g, 2);
	agent_get(g, 2);
	if (g->bad)
		return -EBADMSG;
	*ret = m;
	return 0;
}

int agent_conflict_next(struct agent_get *g, struct agent_conflict *ret)
{
	struct agent_conflict m = { 0 };
	const char *name;
	size_t n;

	m.kind = (uint8_t)agent_get(g, 1);
	agent_get(g, 1);
	m.flags = (uint16_t)agent_get(g, 2);
	m.addr = agent_get(g, 8);
	if (g->bad || !m.kind || m.kind >= AGENT_CONFLICT_KIND_COUNT || agent_name_next(g, &name, &n))
		return -EBADMSG;
	memcpy(m.name, name, n);
	*ret = m;
	return 0;
}

void agent_bytes_put(struct agent_put *w, const struct agent_bytes *b)
{
	agent_put(w, b->guest_errno, 4);
	agent_put(w, b->crc, 4);
	agent_put(w, b->len, 4);
	agent_put_bytes(w, b->bytes, b->len);
}

int agent_bytes_next(struct agent_get *g, struct agent_bytes *ret)
{
	struct agent_bytes m = { 0 };

	m.guest_errno = (uint32_t)agent_get(g, 4);
	m.crc = (uint32_t)agent_get(g, 4);
	m.len = (uint32_t)agent_get(g, 4);
	m.bytes = agent_get_bytes(g, m.len);
	if (g->bad)
		return -EBADMSG;
	*ret = m;
	return 0;
}
