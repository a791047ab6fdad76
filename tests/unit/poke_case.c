// SPDX-License-Identifier: GPL-2.0-or-later
/* See poke_case.h. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/poke_case.h"

struct fake_poke p; /* 48 KiB: too much for a stack */

void three_sites(size_t n_vcpus, bool running)
{
	fake_poke_init(&p, n_vcpus, running);
	fake_poke_site(&p, 5, 5, 1);
	fake_poke_site(&p, 12, 7, 1 | 1 << 3 | 1 << 6); /* on two pages, three instructions */
	fake_poke_site(&p, 1, 1, 1);
	fake_poke_seal(&p);
}

int run_with(uint64_t timeout_us, struct poke_stats *stats, struct err *e)
{
	*e = (struct err){ 0 };
	return poke_run(&p.backend.base, &arch_x86_64, &p.plan, &p.quiesce, &p.log, timeout_us, stats, e);
}

/* The rules that hold after every run, whatever was made to fail. */
void check_outcome(int r, bool running, const struct err *e)
{
	if (p.broken)
		fail_msg("%s", p.broken);
	assert_int_equal(p.backend.writes_while_running, 0);
	if (r == 0) {
		assert_true(fake_poke_holds(&p, true));
		assert_true(p.last_state == POKE_DONE || p.fail_state == POKE_DONE);
	} else {
		assert_true(e->kind != ERR_NONE && e->text[0]);
		assert_int_equal(r == -EUCLEAN, e->kind == ERR_ATTENTION);
	}
	if (r < 0 && r != -EUCLEAN) {
		assert_true(fake_poke_holds(&p, false));
		assert_true(p.last_state == POKE_UNDONE || p.fail_state == POKE_UNDONE);
	}
	if (r != -EUCLEAN) {
		assert_false(p.backend.paused);
		assert_int_equal(p.backend.running, running);
	}
}
