// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Payloads of fixed shape: errors, quiesce, park, state, stats; and the cursors
 * that all payloads are read and written with. Must stay freestanding, must not
 * believe a length.
 */
#include <errno.h>
#include <string.h>

#include "protocol/agent_private.h"

uint64_t agent_get(struct agent_get *g, size_t bytes)
{
	const uint8_t *p = agent_get_bytes(g, bytes);
	uint64_t value = 0;

	for (size_t i = p ? bytes : 0; i-- > 0;)
		value = value << 8 | p[i];
	return value;
}

const uint8_t *agent_get_bytes(struct agent_get *g, size_t n)
{
	const uint8_t *p = g->p;

	if (g->bad || n > g->left) {
		g->bad = true;
		return NULL;
	}
	g->p += n;
	g->left -= n;
	return p;
}

/* n bytes of room, or NULL and bad. */
static uint8_t *room(struct agent_put *w, size_t n)
{
	if (w->bad || n > w->cap - w->len) {
		w->bad = true;
		return NULL;
	}
	w->len += n;
	return w->p + w->len - n;
}

void agent_put(struct agent_put *w, uint64_t value, size_t bytes)
{
	uint8_t *p = room(w, bytes);

	for (size_t i = 0; p && i < bytes; i++)
		p[i] = (uint8_t)(value >> 8 * i);
}

void agent_put_bytes(struct agent_put *w, const void *bytes, size_t n)
{
	uint8_t *p = room(w, n);

	if (p && n)
		memcpy(p, bytes, n);
}

size_t agent_put_end(const struct agent_put *w)
{
	return w->bad ? 0 : w->len;
}

size_t agent_text_length(const char *text)
{
	size_t n = 0;

	while (text[n])
		n++;
	return n;
}

bool agent_copy_text(char *out, size_t cap, const uint8_t *in, size_t n)
{
	if (n >= cap)
		return false;
	for (size_t i = 0; i < n; i++)
		out[i] = (char)(in[i] >= 0x20 && in[i] < 0x7f ? in[i] : '?');
	out[n] = '\0';
	return true;
}

/* A message of fixed size must have been read to its last byte. */
static int get_end(const struct agent_get *g)
{
	return g->bad || g->left ? -EBADMSG : 0;
}

/* --- errors --- */

size_t agent_failure_encode(uint8_t *out, size_t cap, const struct agent_failure *m)
{
	struct agent_put w = { .p = out, .cap = cap };

	agent_put(&w, m->guest_errno, 4);
	agent_put_bytes(&w, m->text, agent_text_length(m->text));
	return agent_put_end(&w);
}

int agent_failure_decode(const uint8_t *in, size_t len, struct agent_failure *ret)
{
	struct agent_get g = { .p = in, .left = len };
	struct agent_failure m = { .guest_errno = (uint32_t)agent_get(&g, 4) };

	if (g.bad || !agent_copy_text(m.text, sizeof(m.text), g.p, g.left))
		return -EBADMSG;
	*ret = m;
	return 0;
}

/* --- quiesce, park, state, stats --- */

size_t agent_quiesce_request_encode(uint8_t *out, size_t cap, uint32_t timeout_ms)
{
	struct agent_put w = { .p = out, .cap = cap };

	agent_put(&w, timeout_ms, 4);
	return agent_put_end(&w);
}

int agent_quiesce_request_decode(const uint8_t *in, size_t len, uint32_t *ret_timeout_ms)
{
	struct agent_get g = { .p = in, .left = len };
	uint32_t ms = (uint32_t)agent_get(&g, 4);

	if (get_end(&g) || !ms || ms > AGENT_QUIESCE_MAX_MS)
		return -EBADMSG;
	*ret_timeout_ms = ms;
	return 0;
}

size_t agent_quiesce_encode(uint8_t *out, size_t cap, const struct agent_quiesce *m)
{
	struct agent_put w = { .p = out, .cap = cap };

	agent_put(&w, m->online, 4);
	agent_put(&w, m->visited, 4);
	agent_put(&w, m->refused, 4);
	agent_put(&w, m->flags, 4);
	agent_put(&w, m->elapsed_us, 8);
	return agent_put_end(&w);
}

int agent_quiesce_decode(const uint8_t *in, size_t len, struct agent_quiesce *ret)
{
	struct agent_get g = { .p = in, .left = len };
	struct agent_quiesce m = { 0 };

	m.online = (uint32_t)agent_get(&g, 4);
	m.visited = (uint32_t)agent_get(&g, 4);
	m.refused = (uint32_t)agent_get(&g, 4);
	m.flags = (uint32_t)agent_get(&g, 4);
	m.elapsed_us = agent_get(&g, 8);
	if (get_end(&g))
		return -EBADMSG;
	*ret = m;
	return 0;
}

size_t agent_park_request_encode(uint8_t *out, size_t cap, const struct agent_park_request *m)
{
	struct agent_put w = { .p = out, .cap = cap };

	agent_put(&w, m->nonce[0], 8);
	agent_put(&w, m->nonce[1], 8);
	agent_put(&w, m->call, 2);
	agent_put(&w, m->interval_ms, 2);
	agent_put(&w, m->timeout_ms, 4);
	return agent_put_end(&w);
}

int agent_park_request_decode(const uint8_t *in, size_t len, struct agent_park_request *ret)
{
	struct agent_get g = { .p = in, .left = len };
	struct agent_park_request m = { 0 };

	m.nonce[0] = agent_get(&g, 8);
	m.nonce[1] = agent_get(&g, 8);
	m.call = (uint16_t)agent_get(&g, 2);
	m.interval_ms = (uint16_t)agent_get(&g, 2);
	m.timeout_ms = (uint32_t)agent_get(&g, 4);
	if (get_end(&g) || m.call >= AGENT_PARK_CALL_COUNT || !m.interval_ms || m.interval_ms > 1000 ||
	    !m.timeout_ms || m.timeout_ms > AGENT_PARK_MAX_MS)
		return -EBADMSG;
	*ret = m;
	return 0;
}

size_t agent_state_encode(uint8_t *out, size_t cap, const struct agent_state *m)
{
	struct agent_put w = { .p = out, .cap = cap };

	agent_put(&w, m->parked, 1);
	agent_put(&w, m->ended, 1);
	agent_put(&w, m->call, 2);
	agent_put(&w, m->tid, 4);
	agent_put(&w, m->nr, 4);
	agent_put(&w, m->left_ms, 4);
	agent_put(&w, m->nonce[0], 8);
	agent_put(&w, m->nonce[1], 8);
	agent_put(&w, m->calls, 8);
	agent_put_bytes(&w, m->function, agent_text_length(m->function));
	return agent_put_end(&w);
}

int agent_state_decode(const uint8_t *in, size_t len, struct agent_state *ret)
{
	struct agent_get g = { .p = in, .left = len };
	struct agent_state m = { 0 };

	m.parked = (uint8_t)agent_get(&g, 1);
	m.ended = (uint8_t)agent_get(&g, 1);
	m.call = (uint16_t)agent_get(&g, 2);
	m.tid = (uint32_t)agent_get(&g, 4);
	m.nr = (uint32_t)agent_get(&g, 4);
	m.left_ms = (uint32_t)agent_get(&g, 4);
	m.nonce[0] = agent_get(&g, 8);
	m.nonce[1] = agent_get(&g, 8);
	m.calls = agent_get(&g, 8);
	if (g.bad || m.parked > 1 || m.ended >= AGENT_PARK_END_COUNT || m.call >= AGENT_PARK_CALL_COUNT ||
	    !agent_copy_text(m.function, sizeof(m.function), g.p, g.left))
		return -EBADMSG;
	*ret = m;
	return 0;
}

size_t agent_stats_encode(uint8_t *out, size_t cap, const struct agent_stats *m)
{
	struct agent_put w = { .p = out, .cap = cap };

	agent_put(&w, m->cpu_us, 8);
	agent_put(&w, m->uptime_ms, 8);
	agent_put(&w, m->frames_in, 8);
	agent_put(&w, m->frames_out, 8);
	agent_put(&w, m->skipped, 8);
	agent_put(&w, m->damaged, 8);
	agent_put(&w, m->refused, 8);
	agent_put(&w, m->rss_kib, 4);
	agent_put(&w, m->sessions, 4);
	return agent_put_end(&w);
}

int agent_stats_decode(const uint8_t *in, size_t len, struct agent_stats *ret)
{
	struct agent_get g = { .p = in, .left = len };
	struct agent_stats m = { 0 };

	m.cpu_us = agent_get(&g, 8);
	m.uptime_ms = agent_get(&g, 8);
	m.frames_in = agent_get(&g, 8);
	m.frames_out = agent_get(&g, 8);
	m.skipped = agent_get(&g, 8);
	m.damaged = agent_get(&g, 8);
	m.refused = agent_get(&g, 8);
	m.rss_kib = (uint32_t)agent_get(&g, 4);
	m.sessions = (uint32_t)agent_get(&g, 4);
	if (get_end(&g))
		return -EBADMSG;
	*ret = m;
	return 0;
}
