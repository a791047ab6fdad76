// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Sessions with hostile agents, from fixed seeds: 10,000 in a usual run, or as
 * many as VMPOKE_HOSTILE_SESSIONS says. Sanitizers and mutant.c's checks judge.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "tests/fake/mutant.h"

struct seeded {
	struct mutant_choices choices;
	uint64_t state;
};

/* xorshift64 */
static uint8_t next(struct mutant_choices *c)
{
	struct seeded *s = container_of(c, struct seeded, choices);

	s->state ^= s->state << 13;
	s->state ^= s->state >> 7;
	s->state ^= s->state << 17;
	return (uint8_t)(s->state >> 32);
}

static void test_sessions(void **state)
{
	const char *wanted = getenv("VMPOKE_HOSTILE_SESSIONS");
	unsigned long n = wanted ? strtoul(wanted, NULL, 10) : 10000;
	struct mutant_figures f = { 0 };

	(void)state;
	for (unsigned long i = 1; i <= n; i++) {
		struct seeded s = { { next }, i * 0x9e3779b97f4a7c15u };
		mutant_session(&s.choices, &f);
	}
	fprintf(stderr, "# %lu sessions, %u came up, %u questions answered, %u not\n", n, f.ready, f.answered, f.failed);
	/* Otherwise nothing was tried. */
	assert_true(f.ready > n / 2);
	assert_true(f.answered > n && f.failed > n / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sessions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
