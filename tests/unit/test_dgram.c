// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The stream over datagrams, both ends in one process on a wire that loses,
 * doubles and reorders frames as a seeded generator says. Time is the test's own:
 * nothing here waits, and every run is the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/dgram_wire.h"
#include "protocol/util.h"

#define HOST_MAC  { 0xfe, 0x54, 0, 1, 2, 3 }
#define GUEST_MAC { 0x52, 0x54, 0, 1, 2, 3 }
#define ON_WIRE	  256
#define DELAY_US  100

struct flying {
	uint64_t at_us;
	size_t len; /* 0: free */
	int to;	    /* 0: the host, 1: the guest */
	uint8_t frame[DGRAM_FRAME_MAX];
};

struct wire {
	struct dgram end[2];
	struct flying flying[ON_WIRE];
	uint64_t now_us, until_us, random; /* until_us: time goes no further; 0: no end */
	unsigned loss, doubled, jitter_us; /* per cent, per cent, at most */
	bool cut, no_acks;
	unsigned frames, lost, copies;
};

static const struct dgram_config host_config = {
	.role = DGRAM_CALLER, .mac = HOST_MAC, .peer = GUEST_MAC, .mtu = 1500, .seed = 1
};
static const struct dgram_config guest_config = { .role = DGRAM_LISTENER, .mac = GUEST_MAC, .mtu = 1500, .seed = 2 };

static uint32_t dice(struct wire *w)
{
	w->random = w->random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(w->random >> 33);
}

static struct wire *wire_new(uint16_t mtu)
{
	struct wire *w = calloc(1, sizeof(*w));
	struct dgram_config config = host_config;

	assert_non_null(w);
	w->now_us = 1000000;
	w->random = 42;
	config.mtu = mtu;
	assert_int_equal(dgram_init(&w->end[0], &config, w->now_us), 0);
	config = guest_config;
	config.mtu = mtu;
	assert_int_equal(dgram_init(&w->end[1], &config, w->now_us), 0);
	return w;
}

static void put_on_wire(struct wire *w, int to, const uint8_t *frame, size_t len)
{
	for (size_t i = 0; i < ON_WIRE; i++) {
		struct flying *f = &w->flying[i];
		if (f->len)
			continue;
		f->at_us = w->now_us + DELAY_US + (w->jitter_us ? dice(w) % w->jitter_us : 0);
		f->len = len;
		f->to = to;
		memcpy(f->frame, frame, len);
		return;
	}
	fail_msg("more frames than one window can have on the wire");
}

static void transmit(struct wire *w, int from, const uint8_t *frame, size_t len)
{
	w->frames++;
	if (w->cut || dice(w) % 100 < w->loss || (w->no_acks && frame[DGRAM_ETH_LEN + 3] == DGRAM_ACK)) {
		w->lost++;
		return;
	}
	put_on_wire(w, !from, frame, len);
	if (dice(w) % 100 < w->doubled) {
		w->copies++;
		put_on_wire(w, !from, frame, len);
	}
}

/* Everything that is due is sent; then time goes to the next thing that happens. False: nothing ever will. */
static bool wire_step(struct wire *w)
{
	uint64_t next = UINT64_MAX;
	uint8_t frame[DGRAM_FRAME_MAX];
	size_t len;

	for (int e = 0; e < 2; e++) {
		while ((len = dgram_output(&w->end[e], frame, sizeof(frame), w->now_us)))
			transmit(w, e, frame, len);
		int64_t wait = dgram_timeout_us(&w->end[e], w->now_us);
		assert_int_not_equal(wait, 0); /* or its owner spins */
		if (wait > 0 && w->now_us + (uint64_t)wait < next)
			next = w->now_us + (uint64_t)wait;
	}
	for (size_t i = 0; i < ON_WIRE; i++)
		if (w->flying[i].len && w->flying[i].at_us < next)
			next = w->flying[i].at_us;
	if (next == UINT64_MAX)
		return false;
	if (w->until_us && next > w->until_us)
		next = w->until_us;
	w->now_us = next > w->now_us ? next : w->now_us;
	for (size_t i = 0; i < ON_WIRE; i++) {
		struct flying *f = &w->flying[i];
		if (f->len && f->at_us <= w->now_us) {
			dgram_input(&w->end[f->to], f->frame, f->len, w->now_us);
			f->len = 0;
		}
	}
	return true;
}

static void wire_run(struct wire *w, uint64_t us)
{
	w->until_us = w->now_us + us;
	while (w->now_us < w->until_us && wire_step(w))
		;
	w->until_us = 0;
}

/* The stream from end e: byte n of it. */
static uint8_t byte_at(int e, uint32_t n)
{
	return (uint8_t)(n * 2654435761u >> 24 ^ (uint32_t)e);
}

/* Writes as much as is taken, in odd sizes; returns how far the stream is. */
static uint32_t feed(struct wire *w, int e, uint32_t done, uint32_t total)
{
	uint8_t chunk[4000];
	uint32_t n = 1 + dice(w) % sizeof(chunk);
	long r;

	if (n > total - done)
		n = total - done;
	for (uint32_t i = 0; i < n; i++)
		chunk[i] = byte_at(e, done + i);
	r = n ? dgram_write(&w->end[e], chunk, n) : 0;
	assert_true(r == -EAGAIN || (r >= 0 && r <= (long)n));
	return r > 0 ? done + (uint32_t)r : done;
}

static uint32_t drain(struct wire *w, int e, uint32_t done)
{
	uint8_t chunk[3000];
	long r;

	while ((r = dgram_read(&w->end[e], chunk, 1 + dice(w) % sizeof(chunk))) > 0)
		for (long i = 0; i < r; i++)
			assert_int_equal(chunk[i], byte_at(!e, done++));
	assert_int_equal(r, -EAGAIN);
	return done;
}

/* Both ways at once, total bytes each; the time it took. */
static uint64_t exchange(struct wire *w, uint32_t total)
{
	uint32_t sent[2] = { 0 }, got[2] = { 0 };
	uint64_t start = w->now_us;

	while (got[0] < total || got[1] < total) {
		assert_true(wire_step(w));
		assert_true(w->now_us < start + 3600000000u);
		for (int e = 0; e < 2; e++) {
			sent[e] = feed(w, e, sent[e], total);
			got[e] = drain(w, e, got[e]);
		}
	}
	return w->now_us - start;
}

static void test_lossless(void **state)
{
	_cleanup_free_ struct wire *w = wire_new(1500);

	(void)state;
	exchange(w, 1000000);
	for (int e = 0; e < 2; e++) {
		const struct dgram_counters *c = &w->end[e].counters;
		assert_int_equal(c->retransmits, 0);
		assert_int_equal(c->duplicates, 0);
		assert_int_equal(c->dropped, 0);
		assert_int_equal(c->tx_bytes, 1000000);
		assert_int_equal(c->rx_bytes, 1000000);
	}
	wire_run(w, 1000000);
	assert_true(dgram_drained(&w->end[0]) && dgram_drained(&w->end[1]));
}

static void test_bad_wires(void **state)
{
	static const struct {
		unsigned loss, doubled, jitter_us;
		uint16_t mtu;
	} cases[] = {
		{ 1, 0, 0, 1500 },   { 5, 0, 0, 1500 },	     { 10, 0, 0, 1500 },    { 30, 0, 0, 1500 },
		{ 0, 1, 0, 1500 },   { 0, 30, 0, 1500 },     { 0, 0, 1000, 1500 },  { 0, 0, 50000, 1500 },
		{ 1, 1, 1000, 1500 }, { 10, 10, 10000, 1500 }, { 30, 30, 50000, 1500 }, { 10, 10, 10000, 128 },
		{ 30, 30, 1000, 576 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ struct wire *w = wire_new(cases[i].mtu);
		w->loss = cases[i].loss;
		w->doubled = cases[i].doubled;
		w->jitter_us = cases[i].jitter_us;
		uint64_t us = exchange(w, 300000);
		/* The wire was as bad as it was said to be. */
		assert_true(!w->loss == !w->lost && !w->doubled == !w->copies);
		print_message("# loss %u%%, doubled %u%%, jitter %u us, mtu %u: %u frames, %llu again, %llu ms\n",
			      w->loss, w->doubled, w->jitter_us, cases[i].mtu, w->frames,
			      (unsigned long long)(w->end[0].counters.retransmits + w->end[1].counters.retransmits),
			      (unsigned long long)(us / 1000));
	}
}

/* Many seeds, so that the handshake too meets every kind of bad luck. */
static void test_many_seeds(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 200; seed++) {
		_cleanup_free_ struct wire *w = wire_new(1500);
		w->random = seed;
		w->loss = w->doubled = 20;
		w->jitter_us = 5000;
		exchange(w, 5000);
	}
}

static void test_numbers_wrap(void **state)
{
	_cleanup_free_ struct wire *w = wire_new(256);

	(void)state;
	wire_run(w, 10000);
	for (int e = 0; e < 2; e++) {
		struct dgram *d = &w->end[e];
		assert_int_equal(d->state, DGRAM_OPEN);
		d->una = d->sent = d->end = d->first = d->next = 0xfffffff8;
		d->edge = d->told_edge = 0xfffffff8 + DGRAM_WINDOW;
	}
	w->loss = w->doubled = 10;
	w->jitter_us = 2000;
	exchange(w, 100000);
	assert_true(w->end[0].una < 100000);
}

/* Nobody is called: not a frame, not a timer. A session at rest: one question every five seconds, and its answer. */
static void test_rest(void **state)
{
	_cleanup_free_ struct wire *w = wire_new(1500);
	uint8_t frame[DGRAM_FRAME_MAX];
	unsigned before;

	(void)state;
	assert_int_equal(dgram_timeout_us(&w->end[1], w->now_us), -1);
	assert_int_equal(dgram_output(&w->end[1], frame, sizeof(frame), w->now_us), 0);
	assert_int_equal(dgram_write(&w->end[1], "x", 1), -EAGAIN);
	wire_run(w, 1000000);
	before = w->frames;
	wire_run(w, 60000000);
	assert_int_equal(w->end[0].state, DGRAM_OPEN);
	assert_int_equal(w->end[1].state, DGRAM_OPEN);
	assert_in_range(w->frames - before, 22, 26);
}

static void test_nobody_answers(void **state)
{
	_cleanup_free_ struct wire *w = wire_new(1500);
	char c;

	(void)state;
	w->cut = true;
	wire_run(w, 60000000);
	assert_int_equal(w->end[0].state, DGRAM_ENDED);
	assert_int_equal(dgram_read(&w->end[0], &c, 1), -ETIMEDOUT);
	assert_int_equal(dgram_write(&w->end[0], "x", 1), -ETIMEDOUT);
	assert_in_range(w->frames, 5, 12);
}

static void test_silence(void **state)
{
	_cleanup_free_ struct wire *w = wire_new(1500);
	char c;

	(void)state;
	wire_run(w, 10000);
	w->cut = true;
	assert_int_equal(dgram_write(&w->end[0], "lost", 4), 4);
	wire_run(w, DGRAM_SILENT_US - 100000);
	assert_int_equal(dgram_read(&w->end[0], &c, 1), -EAGAIN);
	wire_run(w, 60000000);
	for (int e = 0; e < 2; e++)
		assert_int_equal(dgram_read(&w->end[e], &c, 1), -ETIMEDOUT);
	assert_false(wire_step(w));
	/* Who listens can be called again, who called has to call anew. */
	w->cut = false;
	dgram_accept(&w->end[1]);
	assert_int_equal(dgram_read(&w->end[1], &c, 1), -EAGAIN);
	struct dgram_config config = host_config;
	config.seed = 77;
	assert_int_equal(dgram_init(&w->end[0], &config, w->now_us), 0);
	exchange(w, 10000);
}

/* The reader sleeps until the window is full, and the news that it woke up is lost. */
static void test_slow_reader(void **state)
{
	_cleanup_free_ struct wire *w = wire_new(128);
	uint32_t sent = 0, got = 0, before;

	(void)state;
	for (int i = 0; i < 2000; i++) {
		wire_step(w);
		sent = feed(w, 0, sent, 100000);
	}
	assert_int_equal(sent, 2 * DGRAM_WINDOW * (128 - DGRAM_HEADER_LEN));
	assert_int_equal(w->end[0].state, DGRAM_OPEN);
	before = sent;
	w->no_acks = true;
	got = drain(w, 1, got);
	assert_int_equal(got, DGRAM_WINDOW * (128 - DGRAM_HEADER_LEN));
	wire_run(w, 1000);
	w->no_acks = false;
	while (got < before + 1000) {
		assert_true(wire_step(w));
		sent = feed(w, 0, sent, before + 1000);
		got = drain(w, 1, got);
	}
}

static void reopen_caller(struct wire *w, uint64_t seed)
{
	struct dgram_config config = host_config;

	config.seed = seed;
	assert_int_equal(dgram_init(&w->end[0], &config, w->now_us), 0);
}

/* A worker that was killed is followed by one that calls again: the agent hears of it, and no old byte comes through. */
static void test_caller_begins_anew(void **state)
{
	_cleanup_free_ struct wire *w = wire_new(1500);
	char c;

	(void)state;
	exchange(w, 5000);
	assert_int_equal(dgram_write(&w->end[0], "old", 3), 3);
	assert_int_equal(dgram_write(&w->end[1], "OLD", 3), 3);
	reopen_caller(w, 99);
	wire_run(w, 1000000);
	assert_int_equal(dgram_read(&w->end[1], &c, 1), -ECONNRESET);
	assert_int_equal(dgram_write(&w->end[1], &c, 1), -ECONNRESET);
	dgram_accept(&w->end[1]);
	exchange(w, 5000);
}

static void test_listener_begins_anew(void **state)
{
	_cleanup_free_ struct wire *w = wire_new(1500);
	struct dgram_config config = guest_config;
	char c;

	(void)state;
	exchange(w, 5000);
	config.seed = 1234;
	assert_int_equal(dgram_init(&w->end[1], &config, w->now_us), 0);
	assert_int_equal(dgram_write(&w->end[0], "anybody there?", 14), 14);
	wire_run(w, 1000000);
	assert_int_equal(dgram_read(&w->end[0], &c, 1), -ECONNRESET);
	reopen_caller(w, 5);
	exchange(w, 5000);
}

static void test_end_is_told(void **state)
{
	for (int e = 0; e < 2; e++) {
		_cleanup_free_ struct wire *w = wire_new(1500);
		char c;
		(void)state;
		exchange(w, 1000);
		dgram_end(&w->end[e]);
		wire_run(w, 10000);
		assert_int_equal(dgram_read(&w->end[0], &c, 1), -ECONNRESET);
		assert_int_equal(dgram_read(&w->end[1], &c, 1), -ECONNRESET);
		dgram_accept(&w->end[1]);
		assert_int_equal(dgram_timeout_us(&w->end[1], w->now_us), -1);
		reopen_caller(w, 6);
		exchange(w, 1000);
	}
}

static size_t forge(const struct dgram_header *h, uint8_t frame[DGRAM_FRAME_MAX])
{
	size_t len = dgram_wire_format(h, frame);

	if (h->len)
		memcpy(frame + len, h->data, h->len);
	return len + h->len;
}

/* Somebody else on the guest's Ethernet, who does not see the session's numbers. */
static void test_strangers(void **state)
{
	static const uint8_t host[] = HOST_MAC, guest[] = GUEST_MAC, other[] = { 0x52, 0x54, 0, 9, 9, 9 };
	_cleanup_free_ struct wire *w = wire_new(1500);
	uint8_t frame[DGRAM_FRAME_MAX];
	char c;

	(void)state;
	exchange(w, 1000);
	struct dgram_peer now = w->end[1].session;
	struct dgram_header cases[] = {
		/* guessed numbers from the right place; right numbers from the wrong place */
		{ .dst = guest, .src = host, .type = DGRAM_RESET, .from = now.theirs ^ 1, .to = now.mine },
		{ .dst = guest, .src = host, .type = DGRAM_RESET, .from = now.theirs, .to = now.mine ^ 1 },
		{ .dst = guest, .src = other, .type = DGRAM_RESET, .from = now.theirs, .to = now.mine },
		{ .dst = guest, .src = other, .type = DGRAM_DATA, .from = now.theirs, .to = now.mine, .len = 1, .data = guest },
		{ .dst = other, .src = host, .type = DGRAM_RESET, .from = now.theirs, .to = now.mine },
		/* an old call, a stranger's call, the listener's part */
		{ .dst = guest, .src = host, .type = DGRAM_HELLO, .from = 4711 },
		{ .dst = guest, .src = other, .type = DGRAM_HELLO, .from = 4712 },
		{ .dst = guest, .src = host, .type = DGRAM_WELCOME, .from = 4713, .to = now.mine },
		{ .dst = host, .src = guest, .type = DGRAM_WELCOME, .from = now.mine ^ 1, .to = now.theirs },
		/* right numbers, but it acknowledges what nobody sent */
		{ .dst = guest, .src = host, .type = DGRAM_ACK, .from = now.theirs, .to = now.mine, .ack = 1000000 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t len = forge(&cases[i], frame);
		dgram_input(&w->end[cases[i].dst == host ? 0 : 1], frame, len, w->now_us);
		wire_run(w, 5000000);
		assert_int_equal(w->end[1].session.mine, now.mine);
		assert_int_equal(dgram_read(&w->end[1], &c, 1), -EAGAIN);
		assert_int_equal(dgram_read(&w->end[0], &c, 1), -EAGAIN);
	}
	assert_int_equal(dgram_write(&w->end[0], "y", 1), 1);
	wire_run(w, 1000000);
	assert_int_equal(dgram_read(&w->end[1], &c, 1), 1);
	assert_int_equal(c, 'y');
}

/* Two resets must not keep each other busy. */
static void test_no_storm(void **state)
{
	_cleanup_free_ struct wire *w = wire_new(1500);
	uint8_t frame[DGRAM_FRAME_MAX];
	static const uint8_t host[] = HOST_MAC, guest[] = GUEST_MAC;
	struct dgram_header h = { .dst = guest, .src = host, .type = DGRAM_PING, .from = 7, .to = 8 };

	(void)state;
	w->end[0].state = DGRAM_ENDED;
	w->end[0].failed = -ETIMEDOUT;
	dgram_input(&w->end[1], frame, forge(&h, frame), w->now_us);
	wire_run(w, 60000000);
	assert_int_equal(w->frames, 1);
}

static void test_parse(void **state)
{
	static const uint8_t a[] = HOST_MAC, b[] = GUEST_MAC;
	struct dgram_header h = { .dst = a, .src = b, .type = DGRAM_DATA, .len = 3, .room = 9, .from = 0x12345678,
				  .to = 0x9abcdef0, .seq = 0xfffffffe, .ack = 0x80000001, .sack = 0x8001, .data = a };
	uint8_t frame[DGRAM_FRAME_MAX];
	struct dgram_header got;
	size_t len = forge(&h, frame);

	(void)state;
	assert_int_equal(dgram_wire_parse(frame, len, &got), 0);
	assert_memory_equal(got.dst, a, 6);
	assert_memory_equal(got.src, b, 6);
	assert_true(got.type == h.type && got.len == h.len && got.room == h.room && got.from == h.from && got.to == h.to);
	assert_true(got.seq == h.seq && got.ack == h.ack && got.sack == h.sack);
	/* PROTOCOL.md's example */
	assert_memory_equal(frame + 12, "\x88\xb5vp\x01\x03\x03\x00\x09\x00\x78\x56\x34\x12\xf0\xde\xbc\x9a", 18);
	assert_int_equal(dgram_wire_parse(frame, len + 15, &got), 0); /* Ethernet's filling */
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(dgram_wire_parse(frame, cut, &got), -EPROTO);
	static const struct {
		uint8_t offset, value;
	} wrong[] = { { 12, 8 }, { 13, 0 }, { 14, 'V' }, { 15, 0 }, { 16, 2 }, { 17, 0 }, { 17, 7 },
		      { 17, DGRAM_ACK }, { 17, DGRAM_HELLO }, { 18, 0 }, { 18, 4 }, { 19, 0xff } };
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		forge(&h, frame);
		frame[wrong[i].offset] = wrong[i].value;
		assert_int_equal(dgram_wire_parse(frame, len, &got), -EPROTO);
	}
}

static void test_config(void **state)
{
	struct dgram *d = malloc(sizeof(*d));
	struct dgram_config c = host_config;

	(void)state;
	assert_non_null(d);
	assert_int_equal(dgram_init(d, &c, 0), 0);
	c.mtu = DGRAM_MTU_MIN - 1;
	assert_int_equal(dgram_init(d, &c, 0), -EINVAL);
	c.mtu = DGRAM_MTU_MAX + 1;
	assert_int_equal(dgram_init(d, &c, 0), -EINVAL);
	c = host_config;
	c.peer[0] |= 1;
	assert_int_equal(dgram_init(d, &c, 0), -EINVAL);
	c = host_config;
	memset(c.mac, 0, sizeof(c.mac));
	assert_int_equal(dgram_init(d, &c, 0), -EINVAL);
	c = host_config;
	c.role = 5;
	assert_int_equal(dgram_init(d, &c, 0), -EINVAL);
	free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lossless),
		cmocka_unit_test(test_bad_wires),
		cmocka_unit_test(test_many_seeds),
		cmocka_unit_test(test_numbers_wrap),
		cmocka_unit_test(test_rest),
		cmocka_unit_test(test_nobody_answers),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_caller_begins_anew),
		cmocka_unit_test(test_listener_begins_anew),
		cmocka_unit_test(test_end_is_told),
		cmocka_unit_test(test_strangers),
		cmocka_unit_test(test_no_storm),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_config),
	};

	return cmocka_run_group_tests_name("dgram", tests, NULL, NULL);
}
