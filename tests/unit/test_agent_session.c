// SPDX-License-Identifier: GPL-2.0-or-later
/* Host and agent over a socket pair: every operation, keys, an agent that dies, hangs, or is another one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "protocol/crc32c.h"
#include "tests/fake/agent_guest.h"
#include "tests/fake/fd_link.h"
#include "vmm/link/agent_ask.h"

#define WAIT_MS 20000 /* far more than anything takes */

static struct agent_roots roots;
static int ends[2]; /* host, guest */
static pid_t agent_pid;
static struct agent_session *session;
static const uint8_t key_a[AGENT_KEY_LEN] = "the key of this very machine...", key_b[AGENT_KEY_LEN] = "another one";

static void wire(void)
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
}

static void open_session(const uint8_t *host_key)
{
	struct err e = { 0 };
	struct link_target target = { .fd = ends[0] };

	assert_int_equal(agent_session_new(&(struct agent_session_config){ &fd_link, &target, host_key }, &session, &e), 0);
}

static void start(const uint8_t *host_key, const uint8_t *agent_key)
{
	wire();
	agent_pid = fake_agent_start(ends[1], &roots, agent_key);
	open_session(host_key);
}

static void ready(void)
{
	struct err e = { 0 };

	if (agent_session_wait_ready(session, WAIT_MS, &e))
		fail_msg("%s", e.text);
}

static int setup(void **state)
{
	(void)state;
	fake_kernel_make(&roots);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	agent_session_free(session);
	session = NULL;
	if (agent_pid)
		fake_agent_kill(agent_pid);
	agent_pid = 0;
	for (int i = 0; i < 2; i++)
		close(ends[i]);
	close(roots.root);
	close(roots.tracefs);
	close(roots.debugfs);
	fake_kernel_remove();
	return 0;
}

static void test_hello(void **state)
{
	(void)state;
	start(NULL, NULL);
	assert_null(agent_session_hello(session));
	ready();
	const struct agent_hello *h = agent_session_hello(session);
	assert_non_null(h);
	assert_string_equal(h->agent, VMPOKE_VERSION);
	assert_int_equal(h->build_id_len, 20);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(h->build_id[i], i);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(h->boot_id[i], i * 0x11);
	assert_int_equal(h->page_size, sysconf(_SC_PAGESIZE));
	assert_int_equal(h->lockdown, AGENT_LOCKDOWN_INTEGRITY);
	assert_int_equal(h->kaslr_off, 1);
	assert_true(h->kernel_text == FAKE_TEXT);
	assert_int_equal(h->sources, AGENT_SRC_KALLSYMS | AGENT_SRC_KPROBES | AGENT_SRC_FTRACE | AGENT_SRC_LIVEPATCH |
					     AGENT_SRC_KCORE);
	assert_int_equal(h->ops, (1u << AGENT_OP_COUNT) - 2);
	assert_int_equal(agent_session_generation(session), 1);
	assert_false(agent_session_authenticated(session));
	assert_int_equal(agent_ask_ping(session, WAIT_MS, NULL), 0);
}

static void test_symbols(void **state)
{
	static const char *const names[] = { "do_plain", "nobody", "twice", "fixed_percpu_data", "some_data_2999", "do_plain" };
	struct agent_symbol s[ARRAY_SIZE(names)];

	(void)state;
	start(NULL, NULL);
	ready();
	assert_int_equal(agent_ask_symbols(session, names, ARRAY_SIZE(names), s, WAIT_MS, NULL), 0);
	assert_int_equal(s[0].status, AGENT_SYMBOL_FOUND);
	assert_true(s[0].addr == FAKE_PLAIN && s[5].addr == FAKE_PLAIN);
	assert_int_equal(s[0].matches, 1);
	assert_int_equal(s[1].status, AGENT_SYMBOL_MISSING);
	assert_int_equal(s[2].matches, 2);
	assert_true(s[2].addr == FAKE_PLAIN + 0x100);
	assert_int_equal(s[3].status, AGENT_SYMBOL_HIDDEN);
	assert_true(s[4].addr == FAKE_TEXT + 0x100000 + 16 * 2999);
}

/* More names than one request holds. */
static void test_symbols_many(void **state)
{
	enum { N = 1000 };
	static char text[N][24];
	static const char *names[N];
	static struct agent_symbol s[N];

	(void)state;
	start(NULL, NULL);
	ready();
	for (unsigned i = 0; i < N; i++) {
		snprintf(text[i], sizeof(text[i]), "some_data_%u", 3 * i);
		names[i] = text[i];
	}
	assert_int_equal(agent_ask_symbols(session, names, N, s, WAIT_MS, NULL), 0);
	for (unsigned i = 0; i < N; i++)
		assert_true(s[i].addr == FAKE_TEXT + 0x100000 + 16 * 3 * i);
	names[7] = "";
	assert_int_equal(agent_ask_symbols(session, names, N, s, WAIT_MS, NULL), -EINVAL);
}

struct found {
	struct agent_conflict *item;
	size_t n;
	uint32_t sources;
};

static struct found conflicts(uint64_t addr, uint32_t len)
{
	struct agent_range r = { addr, len };
	struct found f = { 0 };
	struct err e = { 0 };

	if (agent_ask_conflicts(session, &r, 1, &f.item, &f.n, &f.sources, WAIT_MS, &e))
		fail_msg("%s", e.text);
	return f;
}

static void assert_conflict(const struct agent_conflict *c, unsigned kind, uint64_t addr, unsigned flags, const char *name)
{
	assert_int_equal(c->kind, kind);
	assert_true(c->addr == addr);
	assert_int_equal(c->flags, flags);
	assert_string_equal(c->name, name);
}

#define ALL_SOURCES (AGENT_SRC_KALLSYMS | AGENT_SRC_KPROBES | AGENT_SRC_FTRACE | AGENT_SRC_LIVEPATCH)

static void test_conflicts(void **state)
{
	struct found f;

	(void)state;
	start(NULL, NULL);
	ready();
	f = conflicts(FAKE_PLAIN + 3, 5);
	assert_int_equal(f.n, 0);
	assert_int_equal(f.sources, ALL_SOURCES);
	f = conflicts(FAKE_IDLE, 5);
	assert_int_equal(f.n, 2);
	assert_conflict(&f.item[0], AGENT_CONFLICT_KPROBE, FAKE_IDLE, AGENT_CONFLICT_VIA_FTRACE, "do_idle+0x0");
	assert_conflict(&f.item[1], AGENT_CONFLICT_FTRACE, FAKE_IDLE, 0, "do_idle");
	free(f.item);
	/* Behind the kprobe's one byte, but in the function that ftrace calls from. */
	f = conflicts(FAKE_IDLE + 0x20, 5);
	assert_int_equal(f.n, 1);
	assert_int_equal(f.item[0].kind, AGENT_CONFLICT_FTRACE);
	free(f.item);
	/* An optimized kprobe has copied what follows it. */
	f = conflicts(FAKE_OPEN + 20, 2);
	assert_int_equal(f.n, 1);
	assert_conflict(&f.item[0], AGENT_CONFLICT_KPROBE, FAKE_OPEN + 8, AGENT_CONFLICT_OPTIMIZED, "do_open+0x8");
	free(f.item);
	f = conflicts(FAKE_OPEN + 8 + 20, 2);
	assert_int_equal(f.n, 0);
	f = conflicts(FAKE_SLEEP + 4, 1);
	assert_int_equal(f.n, 1);
	assert_conflict(&f.item[0], AGENT_CONFLICT_BPF, FAKE_SLEEP, 0, "do_sleep");
	free(f.item);
	f = conflicts(FAKE_META, 12);
	assert_int_equal(f.n, 2);
	assert_conflict(&f.item[0], AGENT_CONFLICT_FTRACE, FAKE_META, AGENT_CONFLICT_IPMODIFY, "do_meta");
	assert_conflict(&f.item[1], AGENT_CONFLICT_LIVEPATCH, FAKE_META, AGENT_CONFLICT_IPMODIFY, "do_meta");
	free(f.item);
}

/* An answer of several pages. */
static void test_conflicts_pages(void **state)
{
	(void)state;
	fake_kernel_add_probes(900);
	start(NULL, NULL);
	ready();
	struct found f = conflicts(FAKE_PLAIN, 2000);
	assert_int_equal(f.n, 900);
	for (unsigned i = 0; i < 900; i++)
		assert_true(f.item[i].addr == FAKE_PLAIN + i && f.item[i].flags == AGENT_CONFLICT_DISABLED);
	free(f.item);
	f = conflicts(FAKE_PLAIN + 100, 10);
	assert_int_equal(f.n, 10);
	free(f.item);
}

/* A source that cannot be read is said to be missing, not empty. */
static void test_conflicts_sources(void **state)
{
	(void)state;
	close(roots.tracefs);
	roots.tracefs = -1;
	start(NULL, NULL);
	ready();
	struct found f = conflicts(FAKE_IDLE, 5);
	assert_int_equal(f.n, 1);
	assert_int_equal(f.sources, ALL_SOURCES & ~AGENT_SRC_FTRACE);
	assert_int_equal(agent_session_hello(session)->sources & AGENT_SRC_FTRACE, 0);
	free(f.item);
}

static void test_selfcheck(void **state)
{
	struct agent_range r[2] = { { FAKE_TEXT + 16, 64 }, { FAKE_TEXT + FAKE_TEXT_LEN - 8, 8 } };
	uint8_t want[64], got[64];
	uint32_t crc[2];
	struct err e = { 0 };

	(void)state;
	start(NULL, NULL);
	ready();
	for (unsigned i = 0; i < 64; i++)
		want[i] = (uint8_t)((i + 16) * 7);
	assert_int_equal(agent_ask_bytes(session, &r[0], got, WAIT_MS, NULL), 0);
	assert_memory_equal(got, want, 64);
	assert_int_equal(agent_ask_crcs(session, r, 2, crc, WAIT_MS, NULL), 0);
	assert_int_equal(crc[0], crc32c(want, 64));
	r[1].len = 9; /* one byte too far */
	assert_int_equal(agent_ask_crcs(session, r, 2, crc, WAIT_MS, &e), -EFAULT);
	assert_true(e.has_addr && e.addr == r[1].addr);
	r[0] = (struct agent_range){ 0xffff888000000000u, 16 }; /* the direct map: memory, not text */
	assert_int_equal(agent_ask_bytes(session, &r[0], got, WAIT_MS, NULL), -EPERM);
	r[0] = (struct agent_range){ FAKE_TEXT, AGENT_SELFCHECK_MAX + 1 };
	assert_int_equal(agent_ask_crcs(session, r, 1, crc, WAIT_MS, NULL), -E2BIG);
}

static void test_quiesce(void **state)
{
	struct agent_quiesce q;

	(void)state;
	start(NULL, NULL);
	ready();
	assert_int_equal(agent_ask_quiesce(session, 5000, &q, NULL), 0);
	assert_int_equal(q.online, 1); /* of the files' kernel */
	assert_int_equal(q.visited + q.refused, 1);
	assert_int_equal(agent_ask_quiesce(session, AGENT_QUIESCE_MAX_MS + 1, &q, NULL), -EINVAL);
}

static void test_park(void **state)
{
	struct agent_park_request r = { { 0x1122334455667788, 0x99aabbccddeeff00 }, AGENT_PARK_GETPGID, 1, 60000 };
	struct agent_quiesce q;
	struct agent_state s;

	(void)state;
	start(NULL, NULL);
	ready();
	assert_int_equal(agent_ask_state(session, &s, WAIT_MS, NULL), 0);
	assert_int_equal(s.parked, 0);
	assert_int_equal(s.ended, AGENT_PARK_NEVER);
	assert_int_equal(agent_ask_park(session, &r, &s, WAIT_MS, NULL), 0);
	assert_int_equal(s.parked, 1);
	assert_true(s.nonce[0] == r.nonce[0] && s.nonce[1] == r.nonce[1]);
	assert_true(s.tid > 0 && s.left_ms <= 60000);
	assert_non_null(strstr(s.function, "_sys_getpgid"));
	/* The same thread all the time, and it goes on by itself. */
	uint32_t tid = s.tid;
	while (s.calls < 20)
		assert_int_equal(agent_ask_state(session, &s, WAIT_MS, NULL), 0);
	assert_int_equal(s.tid, tid);
	assert_int_equal(agent_ask_park(session, &r, &s, WAIT_MS, NULL), -EBUSY);
	assert_int_equal(agent_ask_quiesce(session, 100, &q, NULL), -EBUSY);
	assert_int_equal(agent_ask_unpark(session, &s, WAIT_MS, NULL), 0);
	for (unsigned i = 0; s.parked && i < 1000; i++)
		assert_int_equal(agent_ask_unpark(session, &s, WAIT_MS, NULL), 0);
	assert_int_equal(s.parked, 0);
	assert_int_equal(s.ended, AGENT_PARK_UNPARKED);
	uint64_t calls = s.calls;
	poll(NULL, 0, 20);
	assert_int_equal(agent_ask_state(session, &s, WAIT_MS, NULL), 0);
	assert_true(s.calls == calls);
	/* It ends by itself. */
	r.timeout_ms = 5;
	assert_int_equal(agent_ask_park(session, &r, &s, WAIT_MS, NULL), 0);
	for (unsigned i = 0; s.parked && i < 10000; i++)
		assert_int_equal(agent_ask_state(session, &s, WAIT_MS, NULL), 0);
	assert_int_equal(s.ended, AGENT_PARK_TIMEOUT);
	r.call = AGENT_PARK_CALL_COUNT;
	assert_int_equal(agent_ask_park(session, &r, &s, WAIT_MS, NULL), -EINVAL);
}

static void test_stats(void **state)
{
	struct agent_stats s;

	(void)state;
	start(NULL, NULL);
	ready();
	assert_int_equal(agent_ask_ping(session, WAIT_MS, NULL), 0);
	assert_int_equal(agent_ask_stats(session, &s, WAIT_MS, NULL), 0);
	assert_int_equal(s.rss_kib, 100);
	assert_int_equal(s.sessions, 1);
	assert_int_equal(s.frames_in, 3);
	assert_int_equal(s.frames_out, 2);
	assert_int_equal(s.skipped + s.damaged + s.refused, 0);
}

/* The worst case: the agent is killed in the middle, another one reads what was meant for it. */
static void test_restart(void **state)
{
	struct agent_session_stats stats;

	(void)state;
	start(NULL, NULL);
	ready();
	for (unsigned round = 1; round <= 5; round++) {
		assert_int_equal(agent_session_generation(session), round);
		fake_agent_kill(agent_pid);
		agent_pid = fake_agent_start(ends[1], &roots, NULL);
		assert_int_equal(agent_ask_ping(session, WAIT_MS, NULL), -ESTALE);
		ready();
		assert_int_equal(agent_ask_ping(session, WAIT_MS, NULL), 0);
	}
	agent_session_stats(session, &stats);
	assert_int_equal(stats.restarts, 5);
	assert_int_equal(stats.reopened, 1);
}

/* Killed within an answer: its beginning is on the line, the rest never comes. */
static void test_restart_half_frame(void **state)
{
	uint8_t half[AGENT_FRAME_MAX];
	static uint8_t payload[5000];
	struct agent_frame f = { .op = AGENT_PING, .flags = AGENT_F_REPLY, .payload = payload, .length = sizeof(payload) };

	(void)state;
	start(NULL, NULL);
	ready();
	fake_agent_kill(agent_pid);
	assert_true(agent_frame_encode(half, sizeof(half), &f, NULL) > 1000);
	assert_int_equal(write(ends[1], half, 1000), 1000);
	agent_pid = fake_agent_start(ends[1], &roots, NULL);
	int r = agent_ask_ping(session, WAIT_MS, NULL);
	assert_int_equal(r, -ESTALE);
	ready();
	assert_int_equal(agent_ask_ping(session, WAIT_MS, NULL), 0);
	assert_int_equal(agent_session_generation(session), 2);
}

/* Stopped, not dead: the request times out, the session finds the same agent again. */
static void test_hang(void **state)
{
	struct agent_session_stats stats;
	struct err e = { 0 };

	(void)state;
	start(NULL, NULL);
	ready();
	kill(agent_pid, SIGSTOP);
	assert_int_equal(agent_ask_ping(session, 50, &e), -ETIMEDOUT);
	assert_int_equal(e.kind, ERR_TIMEOUT);
	assert_int_equal(agent_session_state(session), AGENT_SESSION_GREETING);
	assert_int_equal(agent_ask_ping(session, 50, &e), -ENOTCONN);
	kill(agent_pid, SIGCONT);
	ready();
	assert_int_equal(agent_ask_ping(session, WAIT_MS, NULL), 0);
	assert_int_equal(agent_session_generation(session), 1);
	agent_session_stats(session, &stats);
	assert_int_equal(stats.timeouts, 1);
	assert_int_equal(stats.restarts, 0);
}

/* Nobody there: hellos become rarer, nothing is waited for. */
static void test_nobody(void **state)
{
	struct err e = { 0 };

	(void)state;
	wire();
	open_session(NULL);
	struct link_target target = { .fd = ends[1] };
	struct agent_session *other;
	assert_int_equal(agent_session_new(&(struct agent_session_config){ &fd_link, &target, NULL }, &other, &e), 0);
	/* Two hosts that greet each other make no session. */
	assert_int_equal(agent_session_wait_ready(other, 100, &e), -ETIMEDOUT);
	assert_int_equal(agent_session_wait_ready(session, 100, &e), -ETIMEDOUT);
	agent_session_free(other);
	assert_true(agent_session_timeout_ms(session) <= (int)AGENT_HELLO_FIRST_MS);
}

static void test_closed(void **state)
{
	struct err e = { 0 };

	(void)state;
	start(NULL, NULL);
	ready();
	fake_agent_kill(agent_pid);
	agent_pid = 0;
	assert_int_equal(shutdown(ends[1], SHUT_RDWR), 0);
	assert_int_equal(agent_ask_ping(session, WAIT_MS, &e), -ECONNRESET);
	assert_int_equal(agent_session_state(session), AGENT_SESSION_DOWN);
	assert_int_equal(agent_session_fd(session), -1);
	assert_true(agent_session_timeout_ms(session) <= (int)AGENT_REOPEN_FIRST_MS);
}

static void test_garbage(void **state)
{
	static uint8_t noise[65536];
	struct err e = { 0 };

	(void)state;
	start(NULL, NULL);
	ready();
	kill(agent_pid, SIGSTOP);
	memset(noise, 0xf5, sizeof(noise));
	for (unsigned i = 0; i < 64 && agent_session_state(session) != AGENT_SESSION_DOWN; i++) {
		(void)send(ends[1], noise, sizeof(noise), MSG_DONTWAIT);
		agent_session_run(session);
	}
	assert_int_equal(agent_session_state(session), AGENT_SESSION_DOWN);
	assert_int_equal(agent_session_why(session)->error, EPROTO);
	assert_int_equal(agent_ask_ping(session, 50, &e), -ENOTCONN);
}

static void test_key(void **state)
{
	(void)state;
	start(key_a, key_a);
	ready();
	assert_true(agent_session_authenticated(session));
	assert_int_equal(agent_ask_ping(session, WAIT_MS, NULL), 0);
	/* Restarted: the new one cannot read MACs of the old session; both agree again. */
	fake_agent_kill(agent_pid);
	agent_pid = fake_agent_start(ends[1], &roots, key_a);
	assert_int_equal(agent_ask_ping(session, WAIT_MS, NULL), -ESTALE);
	ready();
	assert_int_equal(agent_ask_ping(session, WAIT_MS, NULL), 0);
}

static void refused(const uint8_t *host, const uint8_t *agent, const char *why)
{
	struct err e = { 0 };

	start(host, agent);
	assert_int_equal(agent_session_wait_ready(session, 300, &e), -ETIMEDOUT);
	if (!strstr(e.text, why))
		fail_msg("'%s' is not in: %s", why, e.text);
	assert_int_equal(agent_session_why(session)->error, EACCES);
}

static void test_key_wrong(void **state)
{
	(void)state;
	refused(key_a, key_b, "does not have this VM's key");
}

static void test_key_host_only(void **state)
{
	(void)state;
	refused(key_a, NULL, "the agent has no key");
}

static void test_key_agent_only(void **state)
{
	(void)state;
	refused(NULL, key_a, "wants to see the host's");
}

/* Someone on the line who has recorded a session plays it again to the same agent. */
static size_t record_ping(uint8_t *hello, size_t *hello_len, uint8_t *ping)
{
	struct agent_hello_request m = { .min_version = 1, .max_version = 1, .flags = AGENT_HELLO_KEY };
	static struct agent_decoder d;
	uint8_t payload[64], skey[AGENT_KEY_LEN], *p;
	struct agent_frame f = { .op = AGENT_HELLO, .seq = 5, .payload = payload };
	struct agent_hello h;

	f.length = agent_hello_request_encode(payload, sizeof(payload), &m);
	*hello_len = agent_frame_encode(hello, 128, &f, NULL);
	assert_int_equal(write(ends[0], hello, *hello_len), *hello_len);
	agent_decoder_init(&d);
	while (!agent_decoder_next(&d, &f)) {
		size_t space = agent_decoder_space(&d, &p);
		ssize_t n = read(ends[0], p, space);
		assert_true(n > 0);
		agent_decoder_fed(&d, (size_t)n);
	}
	assert_int_equal(agent_hello_decode(f.payload, f.length, &h), 0);
	agent_session_key(skey, key_a, m.nonce, h.nonce, f.session);
	assert_true(agent_frame_verify(&f, skey));
	f = (struct agent_frame){ .op = AGENT_PING, .seq = 6, .session = f.session };
	return agent_frame_encode(ping, 128, &f, skey);
}

static unsigned send_and_get_error(const uint8_t *bytes, size_t len)
{
	static struct agent_decoder d;
	struct agent_frame f;
	uint8_t *p;

	assert_int_equal(write(ends[0], bytes, len), len);
	agent_decoder_init(&d);
	while (!agent_decoder_next(&d, &f)) {
		size_t space = agent_decoder_space(&d, &p);
		ssize_t n = read(ends[0], p, space);
		assert_true(n > 0);
		agent_decoder_fed(&d, (size_t)n);
	}
	return f.error;
}

static void test_replay(void **state)
{
	uint8_t hello[128], ping[128];
	size_t hello_len;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	agent_pid = fake_agent_start(ends[1], &roots, key_a);
	size_t ping_len = record_ping(hello, &hello_len, ping);
	assert_int_equal(send_and_get_error(ping, ping_len), AGENT_E_NONE);
	assert_int_equal(send_and_get_error(ping, ping_len), AGENT_E_AUTH); /* the same once more */
	assert_int_equal(send_and_get_error(hello, hello_len), AGENT_E_NONE); /* anybody may say hello, ... */
	assert_int_equal(send_and_get_error(ping, ping_len), AGENT_E_AUTH);   /* ... but gets nowhere with it */
}

#define t(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(test_hello),		 t(test_symbols),	t(test_symbols_many),	    t(test_conflicts),
		t(test_conflicts_pages), t(test_conflicts_sources), t(test_selfcheck),	    t(test_quiesce),
		t(test_park),		 t(test_stats),		t(test_restart),	    t(test_restart_half_frame),
		t(test_hang),		 t(test_nobody),	t(test_closed),		    t(test_garbage),
		t(test_key),		 t(test_key_wrong),	t(test_key_host_only),	    t(test_key_agent_only),
		t(test_replay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
