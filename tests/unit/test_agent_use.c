// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * --agent-use full from the worker's side: an agent that parks a thread, whose nonce the
 * thread of a made-up kernel then passes (tests/fake/fake_borrow.h). Whatever is missing, the
 * VM ends as it was found, text_mutex free and no trap left.
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

#include "tests/fake/fake_borrow.h"
#include "vmm/worker/agent_use.h"
#include "vmm/worker/session.h"

#define LONG_US	 20000000u
#define SHORT_US 400000u

static struct {
	struct fake_borrow f;
	struct session s;
	struct agent_use u;
	struct poke_plan plan;
	struct poke_site sites[2];
	int agent_fd;
	pthread_t thread;
	bool parked, absent; /* absent: it says that it parked, and does not */
	unsigned parks, unparks, hooks;
	struct backend_pause_hook hook;
	struct err e;
} w;

/* --- the agent --- */

static size_t say_hello(uint8_t *out, size_t cap)
{
	const struct guest_facts *f = guest_facts(w.s.guest);
	struct agent_hello m = { .version = AGENT_VERSION,
				 .ops = UINT32_MAX >> 1,
				 .build_id_len = 20,
				 .page_size = 4096,
				 .cpus = 1,
				 .agent = "1.0" };

	snprintf(m.release, sizeof(m.release), "%s", f->release);
	memcpy(m.build_id, f->build_id, sizeof(f->build_id));
	return agent_hello_encode(out, cap, &m);
}

static void obey_park(const struct agent_frame *f)
{
	struct agent_park_request r;

	if (agent_park_request_decode(f->payload, f->length, &r) < 0 || r.call != AGENT_PARK_BORROW)
		return;
	w.parks++;
	w.parked = true;
	pthread_mutex_lock(&w.f.lock);
	if (!w.absent)
		memcpy(w.f.nonce, r.nonce, sizeof(r.nonce));
	pthread_mutex_unlock(&w.f.lock);
}

static size_t answer(const struct agent_frame *f, uint8_t *out, size_t cap)
{
	if (f->op == AGENT_HELLO)
		return say_hello(out, cap);
	if (f->op == AGENT_PARK)
		obey_park(f);
	w.unparks += f->op == AGENT_UNPARK;
	if (f->op == AGENT_UNPARK)
		w.parked = false;
	if (f->op != AGENT_PING)
		return agent_state_encode(out, cap, &(struct agent_state){ .parked = w.parked });
	memcpy(out, f->payload, f->length);
	return f->length;
}

static void *agent_run(void *arg) /* pthread's signature */
{
	static uint8_t payload[AGENT_PAYLOAD_MAX], frame[AGENT_FRAME_MAX];
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
		while (agent_decoder_next(&in, &f) > 0) {
			struct agent_frame reply = { .op = f.op,
						     .flags = AGENT_F_REPLY,
						     .seq = f.seq,
						     .session = 77,
						     .payload = payload,
						     .length = 0 };
			reply.length = answer(&f, payload, sizeof(payload));
			size_t len = agent_frame_encode(frame, sizeof(frame), &reply, NULL);
			if (write_full(w.agent_fd, frame, len) < 0)
				return arg;
		}
	}
}

/* --- a worker's session of such a VM --- */

static int hook_before(struct backend_pause_hook *hook, bool was_running, struct err *e)
{
	(void)hook, (void)e;
	assert_true(was_running);
	w.hooks++;
	return 0;
}

static void begin(bool live)
{
	struct err e = { 0 };
	int pair[2];

	memset(&w, 0, sizeof(w));
	fake_borrow_init(&w.f, live);
	w.s = (struct session){ .target.vm = "web1", .backend = &w.f.base };
	assert_int_equal(guest_probe(&w.f.image.mem, w.f.image.regs, IMAGE_CPUS, &w.s.guest, &e), 0);
	assert_int_equal(w.f.base.ops->info(&w.f.base, &w.s.info, &e), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	w.agent_fd = pair[1];
	w.s.agent.addr.kind = AGENT_ADDR_UNIX;
	w.s.agent.target = (struct link_target){ .vm = "web1", .fd = pair[0] };
	w.s.state_dir = "/nowhere";
	w.plan = (struct poke_plan){ .sites = w.sites,
				     .n_sites = 1,
				     .mode = live ? POKE_MODE_FLIPPED : POKE_MODE_STOPPED };
	w.sites[0].boundaries = 1;
	w.hook.before = hook_before;
	assert_int_equal(pthread_create(&w.thread, NULL, agent_run, NULL), 0);
	if (live)
		fake_borrow_start(&w.f);
}

static int setup(void **state)
{
	(void)state;
	begin(false);
	return 0;
}

static int setup_live(void **state)
{
	(void)state;
	begin(true);
	return 0;
}

static int use_begin(uint64_t us)
{
	json_t *args = json_pack("{s:s}", "agent-use", "full");

	w.e = (struct err){ 0 };
	int r = agent_use_begin(&w.u, &w.s, args, &w.plan, now_us() + us, &w.e);
	json_decref(args);
	return r;
}

static json_t *use_end(void)
{
	struct poke_stats stats = { 0 };
	json_t *o = json_object();

	agent_use_end(&w.u);
	agent_use_add_json(&w.u, false, &stats, o);
	return o;
}

static void ends(bool text_mutex, const char *why)
{
	json_t *o = use_end();
	const char *said = json_string_value(json_object_get(o, "text_mutex_why"));

	if (json_is_true(json_object_get(o, "text_mutex")) != text_mutex || !why != !said ||
	    (why && !strstr(said, why)))
		fail_msg("text_mutex: %s", said);
	json_decref(o);
}

static bool mutex_held(void)
{
	pthread_mutex_lock(&w.f.lock);
	bool held = w.f.mutex_held;
	pthread_mutex_unlock(&w.f.lock);
	return held;
}

/* Nothing of ours is left, and the guest goes on by itself. */
static int teardown(void **state)
{
	bool live = w.f.base.ops->live;

	(void)state;
	if (live)
		fake_borrow_stop(&w.f);
	assert_false(w.f.paused || w.f.handler || w.f.n_traps);
	assert_false(w.parked);
	w.f.mutex_elsewhere = false;
	for (int i = 0; i < 400; i++)
		fake_borrow_step(&w.f);
	assert_ptr_equal(w.f.broken, NULL);
	assert_false(w.f.mutex_held);
	worker_agent_stop(&w.s);
	close(w.s.agent.target.fd);
	shutdown(w.agent_fd, SHUT_RDWR);
	pthread_join(w.thread, NULL);
	close(w.agent_fd);
	guest_free(w.s.guest);
	return 0;
}

/* --- a backend that traps live --- */

static void live_held(void **state)
{
	(void)state;
	for (unsigned i = 1; i <= 5; i++) {
		assert_int_equal(use_begin(LONG_US), 0);
		assert_true(mutex_held());
		assert_ptr_equal(w.u.ops.pause, NULL);
		assert_int_equal(w.u.ops.tasks_leave(&w.u.ops, now_us() + LONG_US, &w.e), 0);
		assert_int_equal(w.f.waits, i);
		assert_true(mutex_held());
		ends(true, NULL);
		assert_int_equal(w.unparks, i);
	}
}

/* The transaction has traps of its own in debug registers. */
static void live_registers(void **state)
{
	(void)state;
	w.plan.mode = POKE_MODE_STAGED;
	w.plan.trap = BACKEND_TRAP_KIND_HW;
	w.sites[0].boundaries = 7;
	assert_int_equal(use_begin(LONG_US), 0);
	assert_int_equal(w.f.n_traps, 1);
	assert_int_equal(w.u.ops.tasks_leave(&w.u.ops, now_us() + LONG_US, &w.e), 0);
	ends(true, NULL);
	w.sites[0].boundaries = 15;
	assert_int_equal(use_begin(LONG_US), 0);
	assert_int_equal(w.f.n_traps, 0);
	assert_ptr_equal(w.u.ops.tasks_leave, NULL);
	ends(false, "takes 4 of the 4 debug registers");
	w.plan.trap = BACKEND_TRAP_KIND_INT3;
	assert_int_equal(use_begin(LONG_US), 0);
	ends(true, NULL);
}

static void live_guest_poking(void **state)
{
	(void)state;
	w.f.mutex_elsewhere = true;
	assert_int_equal(use_begin(SHORT_US), -ETIMEDOUT);
	assert_int_equal(w.e.kind, ERR_TIMEOUT);
	assert_string_equal(w.e.rule, "guest-poking");
	assert_int_equal(w.unparks, 1);
}

static void live_absent(void **state)
{
	(void)state;
	w.absent = true;
	assert_int_equal(use_begin(SHORT_US), 0);
	ends(false, "did not come to its syscall");
	assert_int_equal(w.unparks, 1);
}

static void live_no_agent(void **state)
{
	(void)state;
	w.s.agent.addr.kind = AGENT_ADDR_NONE;
	assert_int_equal(use_begin(LONG_US), 0);
	ends(false, "no way to an agent");
	assert_int_equal(w.parks, 0);
}

/* --- a backend that stops --- */

static int stop(uint64_t us)
{
	bool was_running = false;
	int r = w.u.ops.pause(&w.u.ops, &w.hook, now_us() + us, &was_running, &w.e);

	assert_int_equal(r >= 0, was_running);
	return r;
}

static void stopped_held(void **state)
{
	(void)state;
	for (unsigned i = 1; i <= 5; i++) {
		assert_int_equal(use_begin(LONG_US), 0);
		assert_int_equal(stop(LONG_US), 0);
		assert_true(w.f.paused && w.f.mutex_held && w.hooks == i);
		uint64_t stopped = w.f.base.stop_asked_us;
		unsigned locks = w.f.locks;
		assert_int_equal(w.u.ops.let_run(&w.u.ops, 1000, now_us() + LONG_US, &w.e), 0);
		assert_true(w.f.paused && w.f.mutex_held && w.f.locks == locks + 1); /* the others had their turn */
		assert_true(w.f.base.stop_asked_us > stopped);
		assert_int_equal(w.f.waits, i - 1);
		assert_int_equal(w.u.ops.let_run(&w.u.ops, 50000, now_us() + LONG_US, &w.e), 0);
		assert_int_equal(w.f.waits, i);
		assert_int_equal(w.u.ops.resume(&w.u.ops, &w.e), 0);
		assert_false(w.f.paused);
		ends(true, NULL);
		for (int j = 0; j < 100; j++)
			fake_borrow_step(&w.f);
		assert_false(w.f.mutex_held);
	}
}

static void stopped_guest_poking(void **state)
{
	(void)state;
	assert_int_equal(use_begin(LONG_US), 0);
	w.f.mutex_elsewhere = true;
	assert_int_equal(stop(SHORT_US), -ETIMEDOUT);
	assert_string_equal(w.e.rule, "guest-poking");
	assert_false(w.f.paused);
	/* The mutex is had, and then not again. */
	w.f.mutex_elsewhere = false;
	assert_int_equal(stop(LONG_US), 0);
	w.f.mutex_elsewhere = true;
	assert_int_equal(w.u.ops.let_run(&w.u.ops, 1000, now_us() + SHORT_US, &w.e), -ETIMEDOUT);
	assert_true(w.f.paused);
	assert_int_equal(w.u.ops.resume(&w.u.ops, &w.e), 0);
	agent_use_end(&w.u);
}

/* Nobody comes: stopped as without, and told so. */
static void stopped_absent(void **state)
{
	(void)state;
	w.absent = true;
	assert_int_equal(use_begin(LONG_US), 0);
	assert_int_equal(stop(SHORT_US), 0);
	assert_true(w.f.paused && !w.f.mutex_held && w.hooks == 2);
	assert_int_equal(w.u.ops.let_run(&w.u.ops, 1000, now_us() + LONG_US, &w.e), -EOPNOTSUPP);
	assert_int_equal(w.u.ops.resume(&w.u.ops, &w.e), 0);
	ends(false, "did not come to its syscall");
}

/* It died between two tries: stopped still, and let go all the same. */
static void stopped_lost(void **state)
{
	(void)state;
	assert_int_equal(use_begin(LONG_US), 0);
	assert_int_equal(stop(LONG_US), 0);
	w.f.nonce[0]++;
	assert_int_equal(w.u.ops.let_run(&w.u.ops, 1000, now_us() + SHORT_US, &w.e), 0);
	assert_true(w.f.paused);
	assert_int_equal(w.u.ops.resume(&w.u.ops, &w.e), 0);
	ends(false, "did not come to its syscall");
}

#define LIVE(t)	   cmocka_unit_test_setup_teardown(t, setup_live, teardown)
#define STOPPED(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LIVE(live_held),       LIVE(live_registers),  LIVE(live_guest_poking),	     LIVE(live_absent),
		LIVE(live_no_agent),   STOPPED(stopped_held), STOPPED(stopped_guest_poking), STOPPED(stopped_absent),
		STOPPED(stopped_lost),
	};

	signal(SIGPIPE, SIG_IGN); /* as the worker does */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
