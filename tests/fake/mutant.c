// SPDX-License-Identifier: GPL-2.0-or-later
/* A hostile agent; see mutant.h. Must not wait: its link is memory, and it has always something to say or closes. */
#include "tests/fake/mutant.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/link/agent_ask.h"

#define SESSION 77u

struct mutant {
	struct link link;
	struct mutant_choices *choices;
	struct agent_decoder in; /* what the host says */
	uint8_t out[4 * AGENT_FRAME_MAX];
	size_t out_len, out_pos;
	bool closed, given_up;
};

static struct mutant *current; /* link_ops.open() has no other way to it */
static int always_ready = -1;  /* a descriptor that poll() finds ready, so that nothing waits */

static void check(bool ok)
{
	if (!ok)
		abort();
}

static unsigned choose(struct mutant *m, unsigned n)
{
	return n ? m->choices->next(m->choices) % n : 0;
}

static struct mutant *mutant_of(const struct link *link)
{
	return container_of(link, struct mutant, link);
}

/* --- true answers --- */

static size_t truth(struct mutant *m, const struct agent_frame *f, uint8_t *out, size_t cap)
{
	struct agent_hello h = { .version = 1, .ops = 0x7fe, .release = "6.1.0-44-cloud-amd64", .page_size = 4096 };
	struct agent_conflict c = { .kind = AGENT_CONFLICT_KPROBE, .addr = 0xffffffff81000000u, .name = "do_idle+0x0" };
	struct agent_symbol symbols[AGENT_SYMBOLS_MAX] = { 0 };
	struct agent_state s = { .parked = 1, .function = "__x64_sys_getpgid" };
	struct agent_put w = { .p = out, .cap = cap };
	struct agent_bytes b = { .bytes = out };
	struct agent_quiesce q = { .online = 2 };
	struct agent_stats stats = { .rss_kib = 300 };
	struct agent_get g = { .p = f->payload, .left = f->length };
	size_t n = 0;

	switch (f->op) {
	case AGENT_HELLO:
		return agent_hello_encode(out, cap, &h);
	case AGENT_PING:
		memcpy(out, f->payload, f->length);
		return f->length;
	case AGENT_SYMBOLS:
		return agent_symbols_request_begin(&g, &n) ? 0 : agent_symbols_encode(out, cap, symbols, n);
	case AGENT_CONFLICTS:
		agent_conflicts_begin(&w);
		n = choose(m, 4);
		for (size_t i = 0; i < n; i++)
			agent_conflicts_add(&w, &c);
		return agent_conflicts_end(&w, &(struct agent_conflicts){ .count = (uint16_t)n, .next = choose(m, 3) });
	case AGENT_SELFCHECK:
		for (g.left = 2; g.left; g.left--)
			agent_bytes_put(&w, &b);
		return w.len;
	case AGENT_QUIESCE:
		return agent_quiesce_encode(out, cap, &q);
	case AGENT_STATS:
		return agent_stats_encode(out, cap, &stats);
	default:
		return agent_state_encode(out, cap, &s);
	}
}

/* --- lies --- */

static void append(struct mutant *m, const uint8_t *bytes, size_t n)
{
	size_t room = sizeof(m->out) - m->out_len;

	n = n < room ? n : room;
	memcpy(m->out + m->out_len, bytes, n);
	m->out_len += n;
}

/* A payload that is wrong inside a frame that is right: only so the decoders of payloads see it. */
static void spoil_payload(struct mutant *m, struct agent_frame *f, uint8_t *payload)
{
	for (unsigned n = choose(m, 4); n && f->length; n--) {
		size_t at = (choose(m, 256) << 8 | choose(m, 256)) % f->length;
		payload[at] = m->choices->next(m->choices);
	}
	switch (choose(m, 8)) {
	case 0:
		f->length = f->length * choose(m, 256) / 256;
		break;
	case 1:
		f->length += choose(m, 200); /* what was there before */
		break;
	case 2:
		f->flags |= AGENT_F_ERROR;
		f->error = (uint16_t)choose(m, AGENT_E_COUNT + 2);
		break;
	case 3:
		f->session += choose(m, 2);
		break;
	case 4:
		f->seq += choose(m, 3) - 1;
		break;
	case 5:
		f->op = (uint8_t)choose(m, AGENT_OP_COUNT + 1);
		break;
	}
}

/* Bytes of frames changed, lost, repeated; or no frame at all. */
static void spoil_stream(struct mutant *m, uint8_t *frame, size_t len)
{
	uint8_t noise[64];

	switch (choose(m, 12)) {
	case 0:
		frame[choose(m, 256) % len] ^= (uint8_t)(1u << choose(m, 8));
		break;
	case 1:
		len = len * choose(m, 256) / 256;
		break;
	case 2:
		append(m, frame, len);
		break;
	case 3:
		for (size_t i = 0; i < sizeof(noise); i++)
			noise[i] = m->choices->next(m->choices);
		append(m, noise, choose(m, sizeof(noise)));
		break;
	case 4:
		append(m, frame, len / 2);
		break;
	case 5:
		m->closed = true;
		break;
	case 6:
		return; /* says nothing */
	}
	append(m, frame, len);
}

static void answer(struct mutant *m, const struct agent_frame *request)
{
	static uint8_t payload[AGENT_PAYLOAD_MAX + 256], frame[AGENT_FRAME_MAX + 256];
	struct agent_frame f = {
		.op = request->op, .flags = AGENT_F_REPLY, .seq = request->seq, .session = SESSION, .payload = payload,
	};

	f.length = truth(m, request, payload, AGENT_PAYLOAD_MAX);
	bool honest = choose(m, 4) != 0; /* else hardly a session comes up */
	if (!honest)
		spoil_payload(m, &f, payload);
	size_t n = agent_frame_encode(frame, sizeof(frame), &f, NULL);
	check(n || f.length > AGENT_PAYLOAD_MAX);
	if (n && honest)
		append(m, frame, n);
	else if (n)
		spoil_stream(m, frame, n);
}

/* --- the link --- */

static int mutant_open(const struct link_target *target, struct link **ret, struct err *e)
{
	(void)target;
	if (current->given_up || current->closed)
		return err_set(e, ERR_INACTIVE, ENOENT, "link", "the guest is gone");
	*ret = &current->link;
	return 0;
}

static int mutant_fd(const struct link *link)
{
	(void)link;
	return always_ready;
}

static short mutant_events(const struct link *link)
{
	(void)link;
	return POLLIN;
}

static int mutant_timeout_ms(const struct link *link)
{
	(void)link;
	return -1;
}

static int mutant_tick(struct link *link, struct err *e)
{
	(void)link;
	(void)e;
	return 0;
}

static ssize_t mutant_read(struct link *link, void *buf, size_t cap, struct err *e)
{
	struct mutant *m = mutant_of(link);
	size_t n = m->out_len - m->out_pos;

	(void)e;
	if (!n)
		return m->closed ? 0 : -EAGAIN;
	n = n < cap ? n : cap;
	size_t piece = 1u + choose(m, 256) * 64u;
	n = n < piece ? n : piece;
	memcpy(buf, m->out + m->out_pos, n);
	m->out_pos += n;
	if (m->out_pos == m->out_len)
		m->out_pos = m->out_len = 0;
	return (ssize_t)n;
}

static ssize_t mutant_write(struct link *link, const void *buf, size_t len, struct err *e)
{
	struct mutant *m = mutant_of(link);
	struct agent_frame f;
	uint8_t *p;
	size_t space = agent_decoder_space(&m->in, &p);

	(void)e;
	len = len < space ? len : space;
	memcpy(p, buf, len);
	agent_decoder_fed(&m->in, len);
	while (agent_decoder_next(&m->in, &f))
		answer(m, &f);
	/* The host may cut its own frames nowhere. */
	check(m->in.skipped == 0);
	return (ssize_t)len;
}

static void mutant_close(struct link *link)
{
	struct mutant *m = mutant_of(link);

	m->given_up = true;
}

static const struct link_ops mutant_link = {
	.name = "mutant",
	.open = mutant_open,
	.fd = mutant_fd,
	.events = mutant_events,
	.timeout_ms = mutant_timeout_ms,
	.tick = mutant_tick,
	.read = mutant_read,
	.write = mutant_write,
	.close = mutant_close,
};

/* --- the host's questions --- */

static int question(struct agent_session *s, unsigned which, struct err *e)
{
	static const char *const names[] = { "do_idle", "do_open", "x" };
	struct agent_range r[2] = { { 0xffffffff81000000u, 16 }, { 0xffffffff81001000u, 5 } };
	struct agent_park_request park = { { 1, 2 }, AGENT_PARK_GETPGID, 1, 1000 };
	struct agent_conflict *conflicts = NULL;
	struct agent_symbol symbols[3];
	struct agent_quiesce quiesce;
	struct agent_state state;
	struct agent_stats stats;
	uint32_t crcs[2], sources;
	uint8_t bytes[16];
	size_t n = 0;
	int result;

	switch (which) {
	case 0:
		return agent_ask_ping(s, 1, e);
	case 1:
		return agent_ask_symbols(s, names, 3, symbols, 1, e);
	case 2:
		result = agent_ask_conflicts(s, r, 2, &conflicts, &n, &sources, 1, e);
		check(result == 0 || !conflicts);
		for (size_t i = 0; i < n; i++)
			check(conflicts[i].name[0] && strlen(conflicts[i].name) <= AGENT_NAME_MAX);
		free(conflicts);
		return result;
	case 3:
		return agent_ask_bytes(s, r, bytes, 1, e);
	case 4:
		return agent_ask_crcs(s, r, 2, crcs, 1, e);
	case 5:
		return agent_session_ask(s, AGENT_QUIESCE, "\1\0\0\0", 4, &quiesce, sizeof(quiesce), 1, e) < 0;
	case 6:
		return agent_ask_park(s, &park, &state, 1, e);
	case 7:
		return agent_ask_stats(s, &stats, 1, e);
	default:
		return agent_ask_unpark(s, &state, 1, e);
	}
}

/* What the guest said may be shown to a person. */
static void check_text(const char *text)
{
	for (; *text; text++)
		check(*text >= 0x20 && *text < 0x7f);
}

void mutant_session(struct mutant_choices *c, struct mutant_figures *f)
{
	struct mutant *m = calloc(1, sizeof(*m));
	struct link_target target = LINK_TARGET_NONE;
	struct agent_session *s = NULL;
	struct err e = { 0 };

	check(m);
	if (always_ready < 0)
		always_ready = open("/dev/null", O_RDONLY | O_CLOEXEC);
	m->link.ops = &mutant_link;
	m->choices = c;
	agent_decoder_init(&m->in);
	current = m;
	check(agent_session_new(&(struct agent_session_config){ &mutant_link, &target, NULL }, &s, &e) == 0);
	for (unsigned i = 0; i < 8 && agent_session_state(s) == AGENT_SESSION_GREETING; i++)
		agent_session_run(s);
	f->ready += agent_session_state(s) == AGENT_SESSION_READY;
	for (unsigned i = 0; i < 12 && agent_session_state(s) == AGENT_SESSION_READY; i++) {
		e = (struct err){ 0 };
		check_text(agent_session_hello(s)->release);
		int r = question(s, choose(m, 9), &e);
		check(r >= 0 || e.text[0]);
		check_text(e.text);
		f->answered += r == 0;
		f->failed += r != 0;
	}
	check_text(agent_session_why(s)->text);
	agent_session_free(s);
	free(m);
}
