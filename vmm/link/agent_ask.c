// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Questions to an agent; see agent_ask.h. Must not trust a count, a length or a
 * page number, and must come to an end whatever is answered.
 */
#include "vmm/link/agent_ask.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int nonsense(enum agent_op op, struct err *e)
{
	return err_set(e, ERR_FAILED, EBADMSG, "agent", "the agent's answer to %s makes no sense", agent_op_name(op));
}

static int too_many(enum agent_op op, struct err *e)
{
	return err_set(e, ERR_USAGE, E2BIG, "agent", "too much for one question of %s to the agent", agent_op_name(op));
}

int agent_ask_ping(struct agent_session *s, unsigned timeout_ms, struct err *e)
{
	uint64_t token = now_us(), reply = 0;
	ssize_t n = agent_session_ask(s, AGENT_PING, &token, sizeof(token), &reply, sizeof(reply), timeout_ms, e);

	if (n < 0)
		return (int)n;
	return n == sizeof(reply) && reply == token ? 0 : nonsense(AGENT_PING, e);
}

static int ask_names(struct agent_session *s, const char *const *names, size_t n, struct agent_symbol *ret,
		     unsigned timeout_ms, struct err *e)
{
	uint8_t ask[AGENT_PAYLOAD_MAX], reply[2 + 12 * AGENT_SYMBOLS_MAX];
	struct agent_symbol found[AGENT_SYMBOLS_MAX];
	size_t length = agent_symbols_request_encode(ask, sizeof(ask), names, n);

	if (!length)
		return err_set(e, ERR_USAGE, EINVAL, "agent", "a symbol's name has 1 to %d characters", AGENT_NAME_MAX);
	ssize_t got = agent_session_ask(s, AGENT_SYMBOLS, ask, length, reply, sizeof(reply), timeout_ms, e);
	if (got < 0)
		return (int)got;
	if (agent_symbols_decode(reply, (size_t)got, found, n))
		return nonsense(AGENT_SYMBOLS, e);
	memcpy(ret, found, n * sizeof(*ret));
	return 0;
}

/* How many of the names fit one request. */
static size_t portion(const char *const *names, size_t n)
{
	size_t i = 0;

	for (size_t length = 2; i < n && i < AGENT_SYMBOLS_MAX; i++) {
		length += 1 + strlen(names[i]);
		if (length > AGENT_PAYLOAD_MAX)
			break;
	}
	return i ? i : 1; /* one that is too long is refused by its encoder */
}

int agent_ask_symbols(struct agent_session *s, const char *const *names, size_t n, struct agent_symbol *ret,
		      unsigned timeout_ms, struct err *e)
{
	int r = 0;

	for (size_t i = 0, now; i < n && !r; i += now) {
		now = portion(names + i, n - i);
		r = ask_names(s, names + i, now, ret + i, timeout_ms, e);
	}
	return r;
}

struct conflicts {
	struct agent_conflict *item;
	size_t n, cap;
};

static int add_conflict(struct conflicts *all, const struct agent_conflict *c)
{
	if (all->n == all->cap) {
		size_t cap = all->cap ? all->cap * 2 : 16;
		struct agent_conflict *grown = reallocarray(all->item, cap, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		all->item = grown;
		all->cap = cap;
	}
	all->item[all->n++] = *c;
	return 0;
}

/* One page into all. *first becomes where the next begins, 0 at the end. */
static int take_page(const uint8_t *reply, size_t len, struct conflicts *all, uint32_t *first, uint32_t *sources,
		     struct err *e)
{
	struct agent_get g = { .p = reply, .left = len };
	struct agent_conflicts head;
	struct agent_conflict c;

	if (agent_conflicts_decode(&g, &head) || (head.next && (head.next <= *first || !head.count)))
		return nonsense(AGENT_CONFLICTS, e);
	for (unsigned i = 0; i < head.count; i++) {
		if (agent_conflict_next(&g, &c))
			return nonsense(AGENT_CONFLICTS, e);
		if (all->n == AGENT_ASK_CONFLICTS_MAX)
			return err_set(e, ERR_REFUSED, E2BIG, "agent", "the agent tells of more than %d conflicts",
				       AGENT_ASK_CONFLICTS_MAX);
		if (add_conflict(all, &c))
			return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	}
	if (g.left)
		return nonsense(AGENT_CONFLICTS, e);
	*first = head.next;
	*sources &= head.sources;
	return 0;
}

int agent_ask_conflicts(struct agent_session *s, const struct agent_range *r, size_t n, struct agent_conflict **ret,
			size_t *ret_n, uint32_t *ret_sources, unsigned timeout_ms, struct err *e)
{
	uint8_t ask[8 + 12 * AGENT_RANGES_MAX], reply[AGENT_PAYLOAD_MAX];
	struct conflicts all = { 0 };
	uint32_t first = 0, sources = UINT32_MAX;
	int result = 0;

	for (int page = 0; page == 0 || (first && !result); page++) {
		size_t length = agent_ranges_encode(ask, sizeof(ask), first, r, n);
		if (!length || page == AGENT_ASK_PAGES_MAX) {
			result = too_many(AGENT_CONFLICTS, e);
			break;
		}
		ssize_t got = agent_session_ask(s, AGENT_CONFLICTS, ask, length, reply, sizeof(reply), timeout_ms, e);
		result = got < 0 ? (int)got : take_page(reply, (size_t)got, &all, &first, &sources, e);
	}
	if (result) {
		free(all.item);
		return result;
	}
	*ret = all.item;
	*ret_n = all.n;
	*ret_sources = sources;
	return 0;
}

/* The answer to a selfcheck of n ranges, CRCs and perhaps the bytes of the only one. */
static int take_checks(const uint8_t *reply, size_t len, const struct agent_range *r, size_t n, uint32_t *crcs,
		       uint8_t *bytes, struct err *e)
{
	struct agent_get g = { .p = reply, .left = len };
	struct agent_bytes b;

	for (size_t i = 0; i < n; i++) {
		if (agent_bytes_next(&g, &b))
			return nonsense(AGENT_SELFCHECK, e);
		if (b.guest_errno)
			return err_set_addr(e, ERR_FAILED, b.guest_errno < 4096 ? (int)b.guest_errno : EIO, "agent", r[i].addr,
					    "the guest cannot read its own text at 0x%llx: %s", (unsigned long long)r[i].addr,
					    strerror((int)(b.guest_errno & 4095)));
		if (b.len != (bytes ? r[i].len : 0))
			return nonsense(AGENT_SELFCHECK, e);
		if (bytes)
			memcpy(bytes, b.bytes, b.len);
		crcs[i] = b.crc;
	}
	return g.left ? nonsense(AGENT_SELFCHECK, e) : 0;
}

static int ask_check(struct agent_session *s, const struct agent_range *r, size_t n, uint32_t *crcs, uint8_t *bytes,
		     unsigned timeout_ms, struct err *e)
{
	uint8_t ask[8 + 12 * AGENT_RANGES_MAX], reply[AGENT_PAYLOAD_MAX];
	size_t length = agent_ranges_encode(ask, sizeof(ask), bytes ? 1 : 0, r, n);

	if (!length)
		return too_many(AGENT_SELFCHECK, e);
	ssize_t got = agent_session_ask(s, AGENT_SELFCHECK, ask, length, reply, sizeof(reply), timeout_ms, e);
	return got < 0 ? (int)got : take_checks(reply, (size_t)got, r, n, crcs, bytes, e);
}

int agent_ask_bytes(struct agent_session *s, const struct agent_range *r, uint8_t *ret, unsigned timeout_ms,
		    struct err *e)
{
	uint32_t crc;

	return ask_check(s, r, 1, &crc, ret, timeout_ms, e);
}

int agent_ask_crcs(struct agent_session *s, const struct agent_range *r, size_t n, uint32_t *ret, unsigned timeout_ms,
		   struct err *e)
{
	uint32_t crcs[AGENT_RANGES_MAX];

	if (n > AGENT_RANGES_MAX)
		return too_many(AGENT_SELFCHECK, e);
	int result = ask_check(s, r, n, crcs, NULL, timeout_ms, e);
	if (!result)
		memcpy(ret, crcs, n * sizeof(*ret));
	return result;
}

int agent_ask_quiesce(struct agent_session *s, unsigned quiesce_ms, struct agent_quiesce *ret, struct err *e)
{
	uint8_t ask[8], reply[64];
	size_t length = agent_quiesce_request_encode(ask, sizeof(ask), quiesce_ms);
	ssize_t got = agent_session_ask(s, AGENT_QUIESCE, ask, length, reply, sizeof(reply), quiesce_ms + 1000, e);

	if (got < 0)
		return (int)got;
	return agent_quiesce_decode(reply, (size_t)got, ret) ? nonsense(AGENT_QUIESCE, e) : 0;
}

static int ask_state(struct agent_session *s, enum agent_op op, const void *payload, size_t length,
		     struct agent_state *ret, unsigned timeout_ms, struct err *e)
{
	uint8_t reply[128];
	ssize_t got = agent_session_ask(s, op, payload, length, reply, sizeof(reply), timeout_ms, e);

	if (got < 0)
		return (int)got;
	return agent_state_decode(reply, (size_t)got, ret) ? nonsense(op, e) : 0;
}

int agent_ask_park(struct agent_session *s, const struct agent_park_request *r, struct agent_state *ret,
		   unsigned timeout_ms, struct err *e)
{
	uint8_t ask[32];

	return ask_state(s, AGENT_PARK, ask, agent_park_request_encode(ask, sizeof(ask), r), ret, timeout_ms, e);
}

int agent_ask_unpark(struct agent_session *s, struct agent_state *ret, unsigned timeout_ms, struct err *e)
{
	return ask_state(s, AGENT_UNPARK, NULL, 0, ret, timeout_ms, e);
}

int agent_ask_state(struct agent_session *s, struct agent_state *ret, unsigned timeout_ms, struct err *e)
{
	return ask_state(s, AGENT_STATE, NULL, 0, ret, timeout_ms, e);
}

int agent_ask_stats(struct agent_session *s, struct agent_stats *ret, unsigned timeout_ms, struct err *e)
{
	uint8_t reply[128];
	ssize_t got = agent_session_ask(s, AGENT_STATS, NULL, 0, reply, sizeof(reply), timeout_ms, e);

	if (got < 0)
		return (int)got;
	return agent_stats_decode(reply, (size_t)got, ret) ? nonsense(AGENT_STATS, e) : 0;
}
