// SPDX-License-Identifier: GPL-2.0-or-later
/* What the agent refuses, and with which error: PROTOCOL.md 4.3 to 4.6. One agent, no link: requests go to the dispatcher. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "protocol/util.h"
#include "tests/fake/agent_guest.h"
#include "tests/fake/fd_link.h"

static struct agent agent;
static struct agent_roots roots;
static struct agent_decoder answers;
static uint32_t seq;

/* The answer to one request; its payload is good until the next. */
static struct agent_frame ask(uint8_t version, uint8_t op, uint64_t session, const void *payload, size_t length)
{
	struct agent_frame f = { .version = version, .op = op, .seq = ++seq, .session = session, .payload = payload,
				 .length = length };
	uint8_t *p;

	f.raw = NULL; /* no key: the MAC is not looked at */
	agent_dispatch(&agent, &f);
	agent_decoder_init(&answers);
	assert_true(agent_decoder_space(&answers, &p) >= agent.out_len);
	memcpy(p, agent.out, agent.out_len);
	agent_decoder_fed(&answers, agent.out_len);
	assert_int_equal(agent_decoder_next(&answers, &f), 1);
	assert_int_equal(f.op, op);
	assert_int_equal(f.seq, seq);
	assert_true(f.session == agent.session);
	assert_int_equal(f.flags, f.error ? AGENT_F_REPLY | AGENT_F_ERROR : AGENT_F_REPLY);
	return f;
}

static unsigned hello(uint8_t min, uint8_t max)
{
	uint8_t payload[20] = { [16] = min, [17] = max };

	return ask(1, AGENT_HELLO, 0, payload, sizeof(payload)).error;
}

static void test_before_hello(void **state)
{
	(void)state;
	agent.greeted = false;
	for (uint8_t op = 0; op < 40; op++)
		if (op != AGENT_HELLO)
			assert_int_equal(ask(1, op, agent.session, NULL, 0).error, AGENT_E_SESSION);
	assert_int_equal(ask(2, AGENT_PING, agent.session, NULL, 0).error, AGENT_E_VERSION);
}

static void test_versions(void **state)
{
	(void)state;
	assert_int_equal(hello(2, 9), AGENT_E_VERSION);
	assert_int_equal(hello(0, 0), AGENT_E_VERSION);
	assert_int_equal(ask(1, AGENT_PING, agent.session, NULL, 0).error, AGENT_E_SESSION); /* a refused hello is none */
	assert_int_equal(hello(1, 9), AGENT_E_NONE);
	assert_int_equal(ask(1, AGENT_PING, agent.session, NULL, 0).error, AGENT_E_NONE);
	assert_int_equal(ask(1, AGENT_PING, agent.session + 1, NULL, 0).error, AGENT_E_SESSION);
}

/* No number outside the table does anything, and the table is what PROTOCOL.md says. */
static void test_closed_table(void **state)
{
	(void)state;
	assert_int_equal(agent_row_count, AGENT_OP_COUNT - 1);
	assert_int_equal(hello(1, 1), AGENT_E_NONE);
	for (unsigned op = 0; op < 256; op++)
		if (!op || op >= AGENT_OP_COUNT)
			assert_int_equal(ask(1, (uint8_t)op, agent.session, NULL, 0).error, AGENT_E_UNKNOWN_OP);
}

static void test_sizes(void **state)
{
	static uint8_t payload[AGENT_PAYLOAD_MAX];

	(void)state;
	assert_int_equal(hello(1, 1), AGENT_E_NONE);
	for (size_t i = 0; i < agent_row_count; i++) {
		const struct agent_row *row = &agent_rows[i];
		if (row->op == AGENT_HELLO)
			continue;
		if (row->min)
			assert_int_equal(ask(1, row->op, agent.session, payload, row->min - 1u).error, AGENT_E_MALFORMED);
		if (row->max < sizeof(payload))
			assert_int_equal(ask(1, row->op, agent.session, payload, row->max + 1u).error, AGENT_E_MALFORMED);
	}
}

/* Right size, wrong content. */
static void test_nonsense(void **state)
{
	static const struct {
		uint8_t op;
		const char *payload;
	} cases[] = {
		{ AGENT_SYMBOLS, "0000 0161" },				/* no name */
		{ AGENT_SYMBOLS, "0200 0161" },				/* fewer than said */
		{ AGENT_SYMBOLS, "0100 016162" },			/* more than said */
		{ AGENT_SYMBOLS, "0100 00" "00" },			/* empty name */
		{ AGENT_SYMBOLS, "0100 0120" },				/* a blank */
		{ AGENT_SYMBOLS, "0100 ff6162" },			/* name longer than the payload */
		{ AGENT_SYMBOLS, "ffff 0161" },				/* too many */
		{ AGENT_CONFLICTS, "00000000 0200 0000 0000000000000000 01000000" }, /* fewer than said */
		{ AGENT_CONFLICTS, "00000000 0100 0000 0000000000000000 00000000" }, /* empty range */
		{ AGENT_CONFLICTS, "00000000 0100 0000 ffffffffffffffff 02000000" }, /* wraps */
		{ AGENT_SELFCHECK, "00000000 0000 0000 0000000000000000 01000000" },
		{ AGENT_QUIESCE, "00000000" },
		{ AGENT_QUIESCE, "ffffffff" },
		{ AGENT_PARK, "0000000000000000 0000000000000000 ff00 0100 01000000" }, /* no such call */
		{ AGENT_PARK, "0000000000000000 0000000000000000 0000 0000 01000000" },
		{ AGENT_PARK, "0000000000000000 0000000000000000 0000 0100 00000000" },
		{ AGENT_PARK, "0000000000000000 0000000000000000 0000 0100 ffffffff" },
	};
	uint8_t payload[64];

	(void)state;
	assert_int_equal(hello(1, 1), AGENT_E_NONE);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ssize_t n = hex_decode(cases[i].payload, payload, sizeof(payload));
		assert_true(n > 0);
		struct agent_frame f = ask(1, cases[i].op, agent.session, payload, (size_t)n);
		struct agent_failure why;
		if (f.error != AGENT_E_MALFORMED)
			fail_msg("case %zu: error %u", i, f.error);
		assert_int_equal(agent_failure_decode(f.payload, f.length, &why), 0);
		assert_true(why.text[0]);
	}
	assert_false(park_active(&agent.park));
}

static int setup(void **state)
{
	(void)state;
	fake_kernel_make(&roots);
	return agent_init(&agent, agent_fd_link, "-1", &roots, NULL);
}

static int teardown(void **state)
{
	(void)state;
	close(roots.root);
	close(roots.tracefs);
	close(roots.debugfs);
	fake_kernel_remove();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_before_hello), cmocka_unit_test(test_versions), cmocka_unit_test(test_closed_table),
		cmocka_unit_test(test_sizes),	     cmocka_unit_test(test_nonsense),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
