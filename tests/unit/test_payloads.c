// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A payload on its way into a made-up guest whose thread an agent lends, and out of it again:
 * what is in the guest's memory, in the journal and in the list is the same at any time,
 * also when the agent, the kernel or its page tables do not do as they should.
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

#include "tests/fake/elf_object.h"
#include "tests/fake/fake_borrow.h"
#include "vmm/payload/payload.h"
#include "vmm/worker/payloads.h"
#include "vmm/worker/session.h"

#define LONG_US 20000000u

static struct {
	char dir[64];
	int peer, agent_fd;
	struct fake_borrow f;
	struct backend_ops ops;
	struct session s;
	struct prepared p;
	pthread_t thread;
	uint32_t agent_ops;
	bool never_parks;
} w;

static int vm_event(struct backend *b, enum backend_event_kind *ret, struct err *e)
{
	(void)b, (void)e;
	*ret = BACKEND_EVENT_NONE;
	return 0;
}

static void vm_close(struct backend *b)
{
	(void)b;
}

/* --- the agent: says hello, parks and unparks --- */

static size_t say_hello(uint8_t *out, size_t cap)
{
	const struct guest_facts *k = guest_facts(w.s.guest);
	struct agent_hello m = { .version = AGENT_VERSION, .ops = w.agent_ops, .build_id_len = 20, .kernel_text = k->base,
				 .page_size = 4096, .cpus = 1, .agent = "1.0" };

	snprintf(m.release, sizeof(m.release), "%s", k->release);
	memcpy(m.build_id, k->build_id, sizeof(k->build_id));
	return agent_hello_encode(out, cap, &m);
}

static size_t say_state(const struct agent_frame *f, uint8_t *out, size_t cap)
{
	struct agent_state state = { .call = AGENT_PARK_BORROW };
	struct agent_park_request request;

	if (f->op == AGENT_PARK && agent_park_request_decode(f->payload, f->length, &request) == 0) {
		memcpy(w.f.nonce, request.nonce, sizeof(w.f.nonce));
		memcpy(state.nonce, request.nonce, sizeof(state.nonce));
		state.parked = !w.never_parks;
	}
	return agent_state_encode(out, cap, &state);
}

static void answer(const struct agent_frame *f)
{
	static uint8_t payload[AGENT_PAYLOAD_MAX], frame[AGENT_FRAME_MAX];
	struct agent_frame reply = { .op = f->op, .flags = AGENT_F_REPLY, .seq = f->seq, .session = 77, .payload = payload };

	if (f->op == AGENT_HELLO) {
		reply.length = say_hello(payload, sizeof(payload));
	} else if (f->op == AGENT_PARK || f->op == AGENT_UNPARK) {
		reply.length = say_state(f, payload, sizeof(payload));
	} else {
		memcpy(payload, f->payload, f->length);
		reply.length = f->length;
	}
	size_t n = agent_frame_encode(frame, sizeof(frame), &reply, NULL);
	write_full(w.agent_fd, frame, n);
}

static void *agent_run(void *arg) /* pthread's signature */
{
	static struct agent_decoder in;
	struct agent_frame f;
	uint8_t *p;

	agent_decoder_init(&in);
	for (;;) {
		size_t space = agent_decoder_space(&in, &p);
		ssize_t n = read(w.agent_fd, p, space);

		if (n <= 0)
			return arg;
		agent_decoder_fed(&in, (size_t)n);
		while (agent_decoder_next(&in, &f) > 0)
			answer(&f);
	}
}

/* --- set-up --- */

static void agent_begin(void)
{
	struct err e = { 0 };
	int pair[2];

	if (session_guest(&w.s, NULL, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	w.agent_fd = pair[1];
	w.s.agent.addr.kind = AGENT_ADDR_UNIX;
	w.s.agent.target = (struct link_target){ .vm = "web1", .fd = pair[0] };
	assert_int_equal(pthread_create(&w.thread, NULL, agent_run, NULL), 0);
}

/* A patch with a payload of `size` bytes of text that begins with a call of do_nothing(). */
static void prepare(size_t size)
{
	static const char text[] = "vmpoke: 1\nname: f\nsites:\n  - { at: do_nothing, kind: function, object: f.o, symbol: fixed }\n";
	static struct elf_object o;
	static char hex[2 * sizeof(o.bytes) + 1];
	static uint8_t code[12288];
	struct err e = { 0 };

	memset(code, 0x90, sizeof(code));
	code[0] = 0xe8;
	elf_object_begin(&o);
	size_t section = elf_object_section(&o, ".text", SHF_ALLOC | SHF_EXECINSTR, code, size);
	elf_object_symbol(&o, "fixed", STT_FUNC, section, 0);
	elf_object_rela(&o, section, 1, R_X86_64_PLT32, elf_object_symbol(&o, "do_nothing", STT_NOTYPE, SHN_UNDEF, 0), -4);
	elf_object_end(&o);
	hex_encode(o.bytes, o.len, hex);
	json_auto_t *args = json_pack("{s:s, s:s, s:s}", "vm", "web1", "text", text, "object", hex);
	if (prepare_file(&w.s, args, &w.p, &e) < 0 || prepare_payload(&w.s, &w.p, &e) < 0)
		fail_msg("%s", e.text);
}

static int setup(void **state)
{
	struct err e = { 0 };
	int pair[2];

	(void)state;
	memset(&w, 0, sizeof(w));
	strcpy(w.dir, "/tmp/vmpoke-payloads-XXXXXX");
	if (!mkdtemp(w.dir) || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return -1;
	fake_borrow_init(&w.f, false);
	w.ops = *w.f.base.ops;
	w.ops.event = vm_event;
	w.ops.close = vm_close;
	w.f.base.ops = &w.ops;
	w.agent_ops = UINT32_MAX >> 1;
	w.peer = pair[1];
	w.s = (struct session){ .target.vm = "web1", .target.qmp = "q", .backend_name = "none", .state_dir = w.dir };
	session_init(&w.s);
	w.s.control = control_new(pair[0]);
	w.s.backend = &w.f.base;
	if (journal_open(w.dir, "web1", 0, &w.s.journal, &e) < 0 || session_load(&w.s, &e) < 0)
		return -1;
	agent_begin();
	prepare(64);
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	assert_null(w.f.broken);
	assert_false(w.f.paused);
	assert_int_equal(w.f.n_traps, 0);
	assert_int_equal(w.f.writes_running, 0);
	prepared_clear(&w.p);
	worker_agent_stop(&w.s);
	close(w.s.agent.target.fd);
	shutdown(w.agent_fd, SHUT_RDWR);
	pthread_join(w.thread, NULL);
	close(w.agent_fd);
	session_clear(&w.s);
	journal_close(w.s.journal);
	control_free(w.s.control);
	close(w.peer);
	snprintf(command, sizeof(command), "rm -rf %s", w.dir);
	return system(command);
}

/* The list as the next worker would have it. */
static size_t journaled(void)
{
	struct session next = { .target.vm = "web1", .state_dir = w.dir };
	struct err e = { 0 };
	size_t n = 0;

	session_init(&next);
	next.journal = w.s.journal;
	assert_int_equal(session_load(&next, &e), 0);
	for (struct payload_memory *m = next.payloads.first; m; m = m->next)
		n++;
	next.journal = NULL;
	session_clear(&next);
	return n;
}

static void placed(void)
{
	struct err e = { 0 };

	if (payloads_place(&w.s, &w.p, LONG_US, &e) < 0)
		fail_msg("%s", e.text);
	assert_true(w.p.payload_base == FB_MODULE && w.f.module_size == 4096);
	assert_non_null(payload_list_find(&w.s.payloads, FB_MODULE));
	assert_int_equal(journaled(), 1);
}

static void not_placed(int error, const char *rule)
{
	struct err e = { 0 };

	assert_int_equal(payloads_place(&w.s, &w.p, LONG_US, &e), -error);
	assert_string_equal(e.rule, rule);
	assert_null(w.s.payloads.first);
	assert_int_equal(journaled(), 0);
}

/* State of the one payload that was looked at. */
static void released(const char *state)
{
	json_t *told = payloads_release(&w.s, LONG_US), *o = json_array_get(told, 0);

	if (strcmp(json_string_value(json_object_get(o, "state")), state) != 0)
		fail_msg("%s", json_string_value(json_object_get(o, "why")));
	json_decref(told);
}

/* --- cases --- */

static void test_there_and_back(void **state)
{
	uint8_t call[5];
	struct err e = { 0 };
	int32_t rel;
	uint64_t target;

	(void)state;
	placed();
	assert_int_equal(guest_read(w.s.guest, FB_MODULE + PAYLOAD_LEAD, call, sizeof(call), &e), 0);
	memcpy(&rel, call + 1, sizeof(rel));
	assert_int_equal(guest_symbol_find(w.s.guest, "do_nothing", &target, NULL, NULL), 0);
	assert_int_equal(call[0], 0xe8);
	assert_true((int64_t)(target - (FB_MODULE + PAYLOAD_LEAD + 5)) == rel);
	released("freed");
	assert_int_equal(w.f.module_size, 0);
	assert_null(w.s.payloads.first);
	assert_int_equal(journaled(), 0);
	placed(); /* and once more */
	released("freed");
}

static void test_somebody_inside(void **state)
{
	uint64_t at = w.f.image.stack[TASK_ONE] + IMAGE_STACK - 64;

	(void)state;
	placed();
	/* A return address, and the first one, at which a task may have been interrupted. */
	for (uint64_t inside = FB_MODULE + PAYLOAD_LEAD; inside <= FB_MODULE + PAYLOAD_LEAD + 5; inside += 5) {
		guest_image_put64(&w.f.image, at, inside);
		released("kept");
		assert_int_equal(w.f.module_size, 4096);
		assert_int_equal(journaled(), 1);
	}
	/* What the kernel said to who asked for the memory. */
	guest_image_put64(&w.f.image, at, FB_MODULE);
	released("freed");
	assert_int_equal(w.f.module_size, 0);
}

static void test_agent_that_does_not(void **state)
{
	(void)state;
	w.never_parks = true;
	not_placed(EOPNOTSUPP, "borrow-agent");
	w.never_parks = false;
	placed();
	w.never_parks = true;
	released("kept");
	assert_int_equal(w.f.module_size, 4096);
	w.never_parks = false;
	released("freed");
}

static void test_kernel_that_does_not(void **state)
{
	(void)state;
	prepared_clear(&w.p);
	prepare(12288); /* more than it has */
	not_placed(ENOMEM, "borrow-memory");
	w.f.module_size = 0;
	prepared_clear(&w.p);
	prepare(64);
	w.f.odd_pages = true; /* its memory does not become executable: given back */
	not_placed(EIO, "borrow-memory");
	assert_int_equal(w.f.module_size, 0);
	w.f.odd_pages = false;
	placed();
	released("freed");
}

static void test_journal_that_is_full(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < PAYLOADS_MAX; i++)
		assert_int_equal(payload_list_add(&w.s.payloads, &(struct payload_memory){ .gva = i << 12 }), 0);
	struct err e = { 0 };
	assert_int_equal(payloads_place(&w.s, &w.p, LONG_US, &e), -E2BIG);
	assert_int_equal(w.f.module_size, 0); /* what cannot be remembered is not kept */
	payload_list_clear(&w.s.payloads);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_there_and_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_somebody_inside, setup, teardown),
		cmocka_unit_test_setup_teardown(test_agent_that_does_not, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kernel_that_does_not, setup, teardown),
		cmocka_unit_test_setup_teardown(test_journal_that_is_full, setup, teardown),
	};

	signal(SIGPIPE, SIG_IGN); /* the agent's thread may answer a session that has ended */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
