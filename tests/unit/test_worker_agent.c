// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A worker and the agent of its made-up guest: what an honest, a silent, a lying, a dying
 * and a babbling one can bring about. Whatever they do, the text is what the client was told.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "protocol/crc32c.h"
#include "tests/fake/image_vm.h"
#include "vmm/worker/commands.h"

#define PLACE (IMAGE_FUNC + 8)

/* What the agent does; set before its thread runs. */
struct behaviour {
	bool no_hello, other_build_id, other_base, other_release;
	bool symbol_elsewhere, symbol_missing, symbol_hidden, symbol_twice;
	unsigned conflict, flags; /* enum agent_conflict_kind; 0: none */
	uint64_t conflict_at;
	const char *name;
	bool blind;
	enum agent_op dies_at, babbles_at, stalls_at;
	bool sees_other, no_park;
};

static struct {
	char dir[64];
	int peer;
	struct image_vm vm;
	struct session s;
	struct behaviour b;
	int agent_fd;
	pthread_t thread;
	bool started, parked;
	unsigned parks;
	json_t *reply; /* of the last apply */
} w;

/* --- the agent --- */

static size_t say_hello(uint8_t *out, size_t cap)
{
	const struct guest_facts *f = guest_facts(w.s.guest);
	struct agent_hello m = { .version = AGENT_VERSION, .ops = UINT32_MAX >> 1, .build_id_len = 20, .kernel_text = f->base,
				 .page_size = 4096, .cpus = 1, .sources = 0x1f, .agent = "1.0" };

	snprintf(m.release, sizeof(m.release), "%s", w.b.other_release ? "9.9" : f->release);
	memcpy(m.build_id, f->build_id, sizeof(f->build_id));
	m.build_id[0] = (uint8_t)(m.build_id[0] ^ (w.b.other_build_id ? 1 : 0));
	m.kernel_text += w.b.other_base ? 0x200000 : 0;
	return agent_hello_encode(out, cap, &m);
}

static size_t say_symbols(const struct agent_frame *f, uint8_t *out, size_t cap)
{
	struct agent_symbol found[AGENT_SYMBOLS_MAX] = { 0 };
	struct agent_get g = { .p = f->payload, .left = f->length };
	size_t n = 0;

	if (agent_symbols_request_begin(&g, &n) < 0)
		return 0;
	for (size_t i = 0; i < n; i++)
		found[i] = (struct agent_symbol){ w.b.symbol_missing ? AGENT_SYMBOL_MISSING :
						  w.b.symbol_hidden  ? AGENT_SYMBOL_HIDDEN :
								       AGENT_SYMBOL_FOUND,
						  w.b.symbol_twice ? 2 : 1,
						  IMAGE_FUNC + (w.b.symbol_elsewhere ? 16 : 0) };
	return agent_symbols_encode(out, cap, found, n);
}

static uint64_t func_addr(void)
{
	uint64_t addr = 0;

	assert_int_equal(guest_symbol_find(w.s.guest, "do_nothing", &addr, NULL, NULL), 0);
	return addr;
}

static size_t say_conflicts(uint8_t *out, size_t cap)
{
	struct agent_put p = { .p = out, .cap = cap };
	struct agent_conflicts head = { .sources = w.b.blind ? 0 : 0xf, .count = w.b.conflict ? 1 : 0 };
	struct agent_conflict c = { .kind = (uint8_t)w.b.conflict, .flags = (uint16_t)w.b.flags, .addr = w.b.conflict_at };

	snprintf(c.name, sizeof(c.name), "%s", w.b.name ? w.b.name : "do_nothing");
	agent_conflicts_begin(&p);
	if (w.b.conflict)
		agent_conflicts_add(&p, &c);
	return agent_conflicts_end(&p, &head);
}

static size_t say_bytes(const struct agent_frame *f, uint8_t *out, size_t cap)
{
	static uint8_t text[AGENT_SELFCHECK_MAX];
	struct agent_range r[AGENT_RANGES_MAX];
	struct agent_put p = { .p = out, .cap = cap };
	uint32_t with_bytes;
	int n = agent_ranges_decode(f->payload, f->length, &with_bytes, r);

	for (int i = 0; i < n; i++) {
		memset(text, w.b.sees_other ? 0x90 : 0xc3, r[i].len);
		agent_bytes_put(&p, &(struct agent_bytes){ 0, crc32c(text, r[i].len), with_bytes ? r[i].len : 0, text });
	}
	return p.len;
}

static size_t answer(const struct agent_frame *f, uint8_t *out, size_t cap)
{
	switch (f->op) {
	case AGENT_HELLO: return say_hello(out, cap);
	case AGENT_SYMBOLS: return say_symbols(f, out, cap);
	case AGENT_CONFLICTS: return say_conflicts(out, cap);
	case AGENT_SELFCHECK: return say_bytes(f, out, cap);
	case AGENT_PARK:
	case AGENT_UNPARK:
	case AGENT_STATE:
		w.parks += f->op == AGENT_PARK;
		if (f->op != AGENT_STATE)
			w.parked = f->op == AGENT_PARK;
		return agent_state_encode(out, cap, &(struct agent_state){ .parked = w.parked && !w.b.no_park });
	case AGENT_STATS: return agent_stats_encode(out, cap, &(struct agent_stats){ .cpu_us = UINT64_MAX, .rss_kib = 7 });
	default: memcpy(out, f->payload, f->length); return f->length;
	}
}

/* False: its end. */
static bool obey(const struct agent_frame *f)
{
	static uint8_t payload[AGENT_PAYLOAD_MAX], frame[AGENT_FRAME_MAX];
	struct agent_frame reply = { .op = f->op, .flags = AGENT_F_REPLY, .seq = f->seq, .session = 77, .payload = payload };

	if (w.b.dies_at == f->op)
		return false;
	if (w.b.stalls_at == f->op || (w.b.no_hello && f->op == AGENT_HELLO))
		return true;
	reply.length = answer(f, payload, sizeof(payload));
	if (w.b.babbles_at == f->op) {
		memset(payload, 0xa5, 400);
		reply.length = 400;
	}
	size_t n = agent_frame_encode(frame, sizeof(frame), &reply, NULL);
	return write_full(w.agent_fd, frame, n) == 0;
}

static void *agent_run(void *arg) /* pthread's signature */
{
	static struct agent_decoder in;
	struct agent_frame f;
	bool alive = true;
	uint8_t *p;

	agent_decoder_init(&in);
	while (alive) {
		size_t space = agent_decoder_space(&in, &p);
		ssize_t n = read(w.agent_fd, p, space);
		if (n <= 0)
			break;
		agent_decoder_fed(&in, (size_t)n);
		while (alive && agent_decoder_next(&in, &f) > 0)
			alive = obey(&f);
	}
	shutdown(w.agent_fd, SHUT_RDWR);
	return arg;
}

static void agent_begin(struct behaviour b)
{
	struct err e = { 0 };
	int pair[2];

	assert_int_equal(session_guest(&w.s, NULL, &e), 0);
	w.b = b;
	w.parked = false;
	if (!w.b.conflict_at)
		w.b.conflict_at = func_addr() + 8;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	w.agent_fd = pair[1];
	w.s.agent.addr.kind = AGENT_ADDR_UNIX;
	strcpy(w.s.agent.address, "unix:/agent");
	w.s.agent.target = (struct link_target){ .vm = "web1", .fd = pair[0] };
	assert_int_equal(pthread_create(&w.thread, NULL, agent_run, NULL), 0);
	w.started = true;
}

static int setup(void **state)
{
	struct err e = { 0 };
	int pair[2];

	(void)state;
	memset(&w, 0, sizeof(w));
	strcpy(w.dir, "/tmp/vmpoke-agent-XXXXXX");
	if (!mkdtemp(w.dir) || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return -1;
	image_vm_init(&w.vm);
	w.peer = pair[1];
	w.s = (struct session){ .target.vm = "web1", .target.qmp = "q", .backend_name = "none", .state_dir = w.dir };
	session_init(&w.s);
	w.s.control = control_new(pair[0]);
	w.s.backend = &w.vm.base;
	return journal_open(w.dir, "web1", 0, &w.s.journal, &e) < 0 || session_load(&w.s, &e) < 0 ? -1 : 0;
}

static void agent_end(void)
{
	if (!w.started)
		return;
	worker_agent_stop(&w.s);
	close(w.s.agent.target.fd);
	shutdown(w.agent_fd, SHUT_RDWR);
	pthread_join(w.thread, NULL);
	close(w.agent_fd);
	w.started = false;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	agent_end();
	json_decref(w.reply);
	session_clear(&w.s);
	journal_close(w.s.journal);
	control_free(w.s.control);
	close(w.peer);
	snprintf(command, sizeof(command), "rm -rf %s", w.dir);
	return system(command);
}

static const char text[] = "vmpoke: 1\nname: p\nsites:\n  - { at: do_nothing+0x8, kind: bytes, old: \"90\", new: \"c3\" }\n";

static json_t *args_new(const char *use, int timeout_ms)
{
	json_t *args = json_pack("{s:s, s:s, s:i}", "vm", "web1", "text", text, "timeout", timeout_ms);

	if (use)
		json_object_set_new(args, "agent-use", json_string(use));
	return args;
}

/* The "agent" of the reply of an apply that must succeed; and back again. */
static json_t *apply(const char *use)
{
	json_t *args = args_new(use, 600), *value = NULL;
	struct err e = { 0 };

	if (command_patch_apply(&w.s, args, &value, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(*guest_image_at(&w.vm.image, PLACE), 0xc3);
	assert_true(w.vm.running);
	json_t *agent = json_incref(json_object_get(value, "agent"));
	json_decref(w.reply);
	w.reply = value;
	value = NULL;
	if (command_patch_revert(&w.s, args, &value, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(*guest_image_at(&w.vm.image, PLACE), 0x90);
	json_decref(value);
	json_decref(args);
	return agent;
}

static void refused(const char *rule, const char *sentence)
{
	json_t *args = args_new(NULL, 2000), *value = NULL;
	struct err e = { 0 };

	assert_true(command_patch_apply(&w.s, args, &value, &e) < 0);
	assert_int_equal(e.kind, ERR_REFUSED);
	assert_string_equal(e.rule, rule);
	if (!strstr(e.text, sentence))
		fail_msg("%s", e.text);
	for (const char *p = e.text; *p; p++)
		assert_in_range((unsigned char)*p, 0x20, 0x7e);
	assert_int_equal(*guest_image_at(&w.vm.image, PLACE), 0x90);
	assert_true(w.vm.running);
	json_decref(args);
}

static void used(json_t *agent, bool want, const char *why)
{
	assert_non_null(agent);
	assert_int_equal(json_is_true(json_object_get(agent, "used")), want);
	const char *said = json_string_value(json_object_get(agent, "why"));
	if (why ? !said || !strstr(said, why) : said != NULL)
		fail_msg("why: %s", said);
	json_decref(agent);
}

static void test_none(void **state)
{
	(void)state;
	assert_null(apply(NULL)); /* no agent is known: not a word about one */
	assert_string_equal(worker_agent_state(&w.s), "none");
}

static void test_honest(void **state)
{
	json_t *value = NULL, *agent;
	struct err e = { 0 };

	(void)state;
	agent_begin((struct behaviour){ 0 });
	agent = apply(NULL);
	assert_int_equal(json_array_size(json_object_get(agent, "warnings")), 0);
	used(agent, true, NULL);
	used(apply("none"), false, "not wanted");
	assert_int_equal(command_query_agent(&w.s, NULL, &value, &e), 0);
	assert_string_equal(json_string_value(json_object_get(value, "state")), "ready");
	assert_true(json_is_true(json_object_get(value, "agrees")));
	assert_int_equal(json_integer_value(json_object_get(json_object_get(value, "stats"), "cpu_us")), INT64_C(1) << 53);
	json_decref(value);
}

static void without_text_mutex(const char *why)
{
	const char *said = json_string_value(json_object_get(w.reply, "text_mutex_why"));

	assert_true(json_is_false(json_object_get(w.reply, "text_mutex")));
	if (!said || !strstr(said, why))
		fail_msg("text_mutex: %s, not %s", said, why);
}

/* What cannot be borrowed is done without, and said; the thread is not left parked. */
static void test_full(void **state)
{
	static const struct {
		struct behaviour b;
		const char *why;
	} rows[] = {
		{ { 0 }, "no debug-register traps" },
		{ { .other_build_id = true }, "another kernel" },
		{ { .no_park = true }, "does not park" },
		{ { .dies_at = AGENT_PARK }, "" },
		{ { .stalls_at = AGENT_PARK }, "" },
		{ { .babbles_at = AGENT_PARK }, "" },
		{ { .dies_at = AGENT_UNPARK }, "no debug-register traps" },
		{ { .dies_at = AGENT_HELLO }, "" },
	};

	(void)state;
	json_decref(apply("full")); /* no agent is known */
	without_text_mutex("no way to an agent");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		agent_begin(rows[i].b);
		json_decref(apply("full"));
		without_text_mutex(rows[i].why);
		if (i == 0)
			assert_true(w.parks == 2 && !w.parked);
		agent_end();
	}
	agent_begin((struct behaviour){ 0 });
	json_decref(apply("facts"));
	assert_null(json_object_get(w.reply, "text_mutex"));
}

/* Facts that do not fit make it useless, never harmful. */
static void test_disagrees(void **state)
{
	static const struct {
		struct behaviour b;
		const char *why;
	} rows[] = {
		{ { .other_build_id = true }, "build-id" }, { { .other_base = true }, "_text" }, { { .other_release = true }, "release 9.9" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		agent_begin(rows[i].b);
		json_t *agent = apply(NULL);
		json_t *warning = json_array_get(json_object_get(agent, "warnings"), 0);
		assert_string_equal(json_string_value(json_object_get(warning, "rule")), "agent-disagrees");
		used(agent, false, rows[i].why);
		agent_end();
	}
}

static void test_symbols(void **state)
{
	(void)state;
	agent_begin((struct behaviour){ .symbol_missing = true });
	refused("agent-symbols", "finds no symbol 'do_nothing'");
	agent_end();
	agent_begin((struct behaviour){ .symbol_elsewhere = true });
	refused("agent-symbols", "says that 'do_nothing' is at");
	used(apply("none"), false, "not wanted"); /* who does not ask is not refused */
	agent_end();
	agent_begin((struct behaviour){ .symbol_elsewhere = true, .symbol_twice = true });
	used(apply(NULL), true, NULL);
	agent_end();
	agent_begin((struct behaviour){ .symbol_hidden = true });
	used(apply(NULL), true, NULL);
}

static void test_conflicts(void **state)
{
	static const struct {
		struct behaviour b;
		const char *rule, *sentence;
	} rows[] = {
		{ { .conflict = AGENT_CONFLICT_KPROBE }, "kprobe", "reports kprobe do_nothing at 0x" },
		{ { .conflict = AGENT_CONFLICT_KPROBE, .flags = AGENT_CONFLICT_OPTIMIZED | AGENT_CONFLICT_DISABLED }, "kprobe",
		  "optimised to a jump, disabled for now" },
		{ { .conflict = AGENT_CONFLICT_LIVEPATCH }, "livepatch", "livepatch" },
		{ { .conflict = AGENT_CONFLICT_FTRACE, .flags = AGENT_CONFLICT_IPMODIFY }, "livepatch", "runs a replacement" },
		{ { .conflict = AGENT_CONFLICT_FTRACE }, "traced", "stop tracing" },
		{ { .conflict = AGENT_CONFLICT_BPF }, "traced", "stop tracing" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		agent_begin(rows[i].b);
		refused(rows[i].rule, rows[i].sentence);
		agent_end();
	}
	/* The call that ftrace wrote is not where the patch goes. */
	agent_begin((struct behaviour){ .conflict = AGENT_CONFLICT_FTRACE, .conflict_at = 0x1000 });
	json_t *agent = apply(NULL);
	assert_int_equal(json_array_size(json_object_get(agent, "warnings")), 1);
	used(agent, true, NULL);
	agent_end();
	agent_begin((struct behaviour){ .blind = true });
	agent = apply(NULL);
	assert_int_equal(json_array_size(json_object_get(agent, "warnings")), 3);
	used(agent, true, NULL);
}

/* Escape sequences for somebody's terminal. */
static void test_control_characters(void **state)
{
	(void)state;
	agent_begin((struct behaviour){ .conflict = AGENT_CONFLICT_FTRACE, .conflict_at = 0x1000, .name = "\033]0;x\007\xff\xfe\n" });
	json_t *agent = apply(NULL);
	char *dump = json_dumps(agent, 0);
	assert_non_null(dump);
	assert_null(strstr(dump, "\\u001b"));
	for (const char *p = dump; *p; p++)
		assert_in_range((unsigned char)*p, 0x20, 0x7e);
	free(dump);
	json_decref(agent);
	agent_end();
	agent_begin((struct behaviour){ .conflict = AGENT_CONFLICT_KPROBE, .name = "\033]0;x\007\xff\xfe\n" });
	json_t *args = args_new(NULL, 600), *value = NULL;
	struct err e = { 0 };
	/* Refused, or the answer was no answer; no bytes of it either way. */
	if (command_patch_apply(&w.s, args, &value, &e) < 0)
		for (const char *p = e.text; *p; p++)
			assert_in_range((unsigned char)*p, 0x20, 0x7e);
	json_decref(value);
	json_decref(args);
}

/* At each question: gone, silent, or babbling. The patch goes in, without it. */
static void test_unreliable(void **state)
{
	static const enum agent_op ops[] = { AGENT_HELLO, AGENT_PING, AGENT_SYMBOLS, AGENT_CONFLICTS };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		agent_begin((struct behaviour){ .dies_at = ops[i] });
		if (ops[i] == AGENT_PING) /* asked from the second time on */
			json_decref(apply(NULL));
		used(apply(NULL), false, "");
		agent_end();
		agent_begin((struct behaviour){ .stalls_at = ops[i] });
		if (ops[i] == AGENT_PING)
			json_decref(apply(NULL));
		used(apply(NULL), false, "");
		agent_end();
		agent_begin((struct behaviour){ .babbles_at = ops[i] });
		if (ops[i] == AGENT_PING)
			json_decref(apply(NULL));
		used(apply(NULL), false, "");
		agent_end();
	}
}

static void test_verify(void **state)
{
	json_t *args = args_new(NULL, 2000), *value = NULL;
	struct err e = { 0 };

	(void)state;
	agent_begin((struct behaviour){ .sees_other = true });
	assert_int_equal(command_patch_apply(&w.s, args, &value, &e), 0);
	json_decref(value);
	value = NULL;
	assert_int_equal(command_patch_verify(&w.s, NULL, &value, &e), 0);
	/* Memory is what was written: the guest's word does not change that. */
	assert_true(json_is_true(json_object_get(value, "ok")));
	json_t *seen = json_object_get(value, "agent_sees");
	assert_int_equal(json_array_size(seen), 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(seen, 0), "found")), "90");
	assert_string_equal(json_string_value(json_object_get(json_array_get(seen, 0), "expected")), "c3");
	json_decref(value);
	json_decref(args);
}

static void test_paused(void **state)
{
	json_t *value = NULL;
	struct err e = { 0 };

	(void)state;
	agent_begin((struct behaviour){ 0 });
	w.vm.running = false;
	assert_int_equal(session_attach(&w.s, &e), 0);
	assert_int_equal(command_query_agent(&w.s, NULL, &value, &e), 0);
	assert_string_equal(json_string_value(json_object_get(value, "why")), "the VM does not run");
	json_decref(value);
	w.vm.running = true;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_none), T(test_honest), T(test_full), T(test_disagrees), T(test_symbols), T(test_conflicts),
		T(test_control_characters), T(test_unreliable), T(test_verify), T(test_paused),
	};

	signal(SIGPIPE, SIG_IGN); /* as the worker does */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
