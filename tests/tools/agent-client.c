// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The host's side of an agent for tests: agent-client SOCKET [KEY IN HEX], then
 * one command a line on stdin, one line "OK ..." or "ERR ERRNO SENTENCE" each:
 *   ready MS | hello | ping | symbols NAME... | conflicts ADDR LEN | bytes ADDR LEN
 *   quiesce MS | park NONCE NONCE MS [CALL] | unpark | state | stats | idle MS
 * Nothing but the session's own code talks to the agent.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake/fd_link.h"
#include "vmm/link/agent_ask.h"

#define ASK_MS 20000

static int show_hello(struct agent_session *s, struct err *e)
{
	const struct agent_hello *h = agent_session_hello(s);
	struct agent_session_stats stats;
	char id[65];

	if (!h)
		return err_set(e, ERR_INACTIVE, ENOTCONN, NULL, "not ready: %s", agent_session_why(s)->text);
	agent_session_stats(s, &stats);
	hex_encode(h->build_id, h->build_id_len, id);
	printf("OK release=%s machine=%s agent=%s build-id=%s page=%u cpus=%u lockdown=%u sources=0x%x text=0x%" PRIx64
	       " generation=%u authenticated=%d hello_us=%" PRIu64 "\n",
	       h->release, h->machine, h->agent, id, h->page_size, h->cpus, h->lockdown, h->sources, h->kernel_text,
	       agent_session_generation(s), agent_session_authenticated(s), stats.hello_us);
	return 0;
}

static int show_ping(struct agent_session *s, struct err *e)
{
	uint64_t start = now_us();
	int r = agent_ask_ping(s, ASK_MS, e);

	if (!r)
		printf("OK us=%" PRIu64 "\n", now_us() - start);
	return r;
}

static int show_symbols(struct agent_session *s, char *arguments, struct err *e)
{
	static const char *names[4096];
	static struct agent_symbol found[4096];
	size_t n = 0;

	for (char *name = strtok(arguments, " "); name && n < ARRAY_SIZE(names); name = strtok(NULL, " "))
		names[n++] = name;
	int r = agent_ask_symbols(s, names, n, found, ASK_MS, e);
	if (r)
		return r;
	printf("OK");
	for (size_t i = 0; i < n; i++)
		printf(" %016" PRIx64 "/%u", found[i].addr, found[i].matches);
	printf("\n");
	return 0;
}

static int show_conflicts(struct agent_session *s, const struct agent_range *r, struct err *e)
{
	struct agent_conflict *c = NULL;
	uint32_t sources;
	size_t n;
	int result = agent_ask_conflicts(s, r, 1, &c, &n, &sources, ASK_MS, e);

	if (result)
		return result;
	printf("OK sources=0x%x n=%zu", sources, n);
	for (size_t i = 0; i < n; i++)
		printf(" %s:%s:0x%x", agent_conflict_name(c[i].kind), c[i].name, c[i].flags);
	printf("\n");
	free(c);
	return 0;
}

static int show_bytes(struct agent_session *s, const struct agent_range *r, struct err *e)
{
	uint8_t bytes[64];
	char hex[2 * sizeof(bytes) + 1];
	struct agent_range some = { r->addr, r->len < sizeof(bytes) ? r->len : (uint32_t)sizeof(bytes) };
	int result = agent_ask_bytes(s, &some, bytes, ASK_MS, e);

	if (result)
		return result;
	hex_encode(bytes, some.len, hex);
	printf("OK %s\n", hex);
	return 0;
}

static int show_quiesce(struct agent_session *s, unsigned ms, struct err *e)
{
	struct agent_quiesce q;
	int r = agent_ask_quiesce(s, ms, &q, e);

	if (!r)
		printf("OK online=%u visited=%u refused=%u rcu=%u us=%" PRIu64 "\n", q.online, q.visited, q.refused,
		       q.flags & AGENT_QUIESCE_RCU, q.elapsed_us);
	return r;
}

static int show_state(int r, const struct agent_state *st)
{
	if (!r)
		printf("OK parked=%u ended=%u tid=%u nr=%u function=%s calls=%" PRIu64 "\n", st->parked, st->ended, st->tid,
		       st->nr, st->function, st->calls);
	return r;
}

static int show_stats(struct agent_session *s, struct err *e)
{
	struct agent_stats st;
	int r = agent_ask_stats(s, &st, ASK_MS, e);

	if (!r)
		printf("OK rss_kib=%u cpu_us=%" PRIu64 " in=%" PRIu64 " out=%" PRIu64 " damaged=%" PRIu64 " sessions=%u\n",
		       st.rss_kib, st.cpu_us, st.frames_in, st.frames_out, st.damaged, st.sessions);
	return r;
}

/* The session lives on while nobody asks. */
static int idle(struct agent_session *s, unsigned ms)
{
	uint64_t until = now_us() + ms * (uint64_t)1000;

	while (now_us() < until) {
		struct pollfd p = { .fd = agent_session_fd(s), .events = agent_session_events(s) };
		int wait = agent_session_timeout_ms(s);
		(void)poll(&p, 1, wait < 0 || wait > 20 ? 20 : wait);
		agent_session_run(s);
	}
	printf("OK\n");
	return 0;
}

static int command(struct agent_session *s, const char *verb, char *rest, struct err *e)
{
	struct agent_park_request park = { .interval_ms = 1 };
	struct agent_range r = { 0 };
	struct agent_state st;
	char *p = rest;

	if (!strcmp(verb, "hello"))
		return show_hello(s, e);
	if (!strcmp(verb, "ping"))
		return show_ping(s, e);
	if (!strcmp(verb, "symbols"))
		return show_symbols(s, rest, e);
	if (!strcmp(verb, "stats"))
		return show_stats(s, e);
	if (!strcmp(verb, "state"))
		return show_state(agent_ask_state(s, &st, ASK_MS, e), &st);
	if (!strcmp(verb, "unpark"))
		return show_state(agent_ask_unpark(s, &st, ASK_MS, e), &st);
	uint64_t a = strtoull(p, &p, 0), b = strtoull(p, &p, 0), c = strtoull(p, &p, 0);
	r = (struct agent_range){ a, (uint32_t)b };
	if (!strcmp(verb, "idle"))
		return idle(s, (unsigned)a);
	if (!strcmp(verb, "quiesce"))
		return show_quiesce(s, (unsigned)a, e);
	if (!strcmp(verb, "conflicts"))
		return show_conflicts(s, &r, e);
	if (!strcmp(verb, "bytes"))
		return show_bytes(s, &r, e);
	if (!strcmp(verb, "ready")) {
		int result = agent_session_wait_ready(s, (unsigned)a, e);
		return result ? result : (puts("OK"), 0);
	}
	if (!strcmp(verb, "park")) {
		park.nonce[0] = a;
		park.nonce[1] = b;
		park.timeout_ms = (uint32_t)c;
		park.call = (uint16_t)strtoul(p, NULL, 0);
		return show_state(agent_ask_park(s, &park, &st, ASK_MS, e), &st);
	}
	return err_set(e, ERR_USAGE, EINVAL, NULL, "no command '%s'", verb);
}

static void serve(struct agent_session *s)
{
	static char line[65536];

	while (fgets(line, sizeof(line), stdin)) {
		struct err e = { 0 };
		line[strcspn(line, "\n")] = '\0';
		char *rest = line + strcspn(line, " ");
		if (*rest)
			*rest++ = '\0';
		int r = command(s, line, rest, &e);
		if (r < 0)
			printf("ERR %d %s\n", -r, e.text);
	}
}

int main(int argc, char **argv)
{
	_cleanup_(agent_session_free) struct agent_session *s = NULL;
	_cleanup_close_ int fd = -1;
	uint8_t key[AGENT_KEY_LEN];
	struct err e = { 0 };

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 2 || (argc > 2 && hex_decode(argv[2], key, sizeof(key)) != sizeof(key))) {
		fprintf(stderr, "usage: agent-client SOCKET [KEY]\n");
		return 2;
	}
	fd = unix_connect(argv[1], 10000000);
	struct link_target target = { .fd = fd };
	struct agent_session_config config = { &fd_link, &target, argc > 2 ? key : NULL };
	if (fd < 0 || agent_session_new(&config, &s, &e)) {
		fprintf(stderr, "agent-client: %s\n", fd < 0 ? strerror(-fd) : e.text);
		return 1;
	}
	serve(s);
	return 0;
}
