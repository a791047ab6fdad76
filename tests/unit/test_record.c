// SPDX-License-Identifier: GPL-2.0-or-later
/* Transactions survive the trip through the journal; an edited journal is noticed; the list of patches follows. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/worker/record.h"

static struct transaction *make(const char *name, enum operation operation, size_t n_sites)
{
	static const struct poke_slot slots[] = { { 0xffffffff81c00010, 0x1c00010 }, { 0xffffffff81c00fe0, 0x1c00fe0 } };
	struct transaction *t = calloc(1, sizeof(*t));

	t->number = 7;
	t->operation = operation;
	t->time = 1700000000;
	snprintf(t->patch, sizeof(t->patch), "%s", name);
	t->boot = (struct boot){ .base = 0xffffffffa3600000, .pid = 4711, .pid_start = 99 };
	snprintf(t->boot.release, sizeof(t->boot.release), "6.1.0-56-cloud-amd64");
	snprintf(t->boot.build_id, sizeof(t->boot.build_id), "0123456789abcdef");
	t->plan = calloc(1, sizeof(*t->plan));
	t->plan->sites = calloc(n_sites, sizeof(*t->plan->sites));
	t->plan->n_sites = n_sites;
	t->plan->mode = POKE_MODE_HELD;
	t->plan->trap = BACKEND_TRAP_KIND_HW;
	t->plan->atomic = true;
	t->plan->n_exclusions = 2;
	t->plan->exclusions[0] = (struct poke_exclusion){ .start = 0xffffffff81000010, .end = 0xffffffff81000020,
							    .gate = 0xffffffff81000014 };
	t->plan->exclusions[1] = (struct poke_exclusion){ .start = 1, .end = 2 };
	assert_int_equal(plan_set_slots(t->plan, slots, ARRAY_SIZE(slots), NULL), 0);
	for (size_t i = 0; i < n_sites; i++) {
		struct poke_site *s = &t->plan->sites[i];

		*s = (struct poke_site){ .gva = 0xffffffff81000000 + i * 100, .gpa = i * 100, .gpa_rest = 0x5000,
					 .len = 6, .split = 2, .boundaries = 0x21, .new_boundaries = 1 };
		memcpy(s->old_bytes, "\x0f\x1f\x44\x00\x00\x55", 6);
		memcpy(s->new_bytes, "\xb8\x92\x10\x00\x00\xc3", 6);
		s->operand = i == 1;
		s->data = i == 2;
		snprintf(s->label, sizeof(s->label), "do_idle+0x%zx", i);
	}
	return t;
}

static void test_round_trip(void **state)
{
	_cleanup_(transaction_free) struct transaction *t = make("p", OPERATION_REVERT, 3), *back = NULL;
	json_t *o = transaction_to_json(t);

	(void)state;
	assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(o, "slots"), 1), "old")),
			    "cccccccccccccccccccccccccccccccc");
	assert_int_equal(transaction_from_json(o, &back), 0);
	json_decref(o);
	assert_int_equal(back->number, 7);
	assert_int_equal(back->operation, OPERATION_REVERT);
	assert_string_equal(back->patch, "p");
	assert_memory_equal(&back->boot, &t->boot, sizeof(t->boot));
	assert_int_equal(back->plan->n_sites, 3);
	assert_true(back->plan->needs_quiescence);
	assert_int_equal(back->plan->mode, POKE_MODE_HELD);
	assert_int_equal(back->plan->trap, BACKEND_TRAP_KIND_HW);
	assert_true(back->plan->atomic);
	assert_int_equal(back->plan->n_exclusions, 2);
	assert_memory_equal(back->plan->exclusions, t->plan->exclusions, sizeof(t->plan->exclusions));
	assert_int_equal(back->plan->n_slots, 2);
	assert_memory_equal(back->plan->slots, t->plan->slots, 2 * sizeof(*t->plan->slots));
	assert_memory_equal(back->plan->sites, t->plan->sites, 3 * sizeof(*t->plan->sites));
}

/* A journal from before there was more than one mode. */
static void test_older_journal(void **state)
{
	static const char *const later[] = { "mode", "trap", "atomic", "exclude", "slots" };
	_cleanup_(transaction_free) struct transaction *t = make("p", OPERATION_APPLY, 1), *back = NULL;
	json_t *o = transaction_to_json(t);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(later); i++)
		json_object_del(o, later[i]);
	assert_int_equal(transaction_from_json(o, &back), 0);
	json_decref(o);
	assert_int_equal(back->plan->mode, POKE_MODE_STOPPED);
	assert_false(back->plan->atomic);
	assert_int_equal(back->plan->n_exclusions + back->plan->n_slots, 0);
}

/* One site of one instruction, but an excluded range: whoever stands in it is on a stack. */
static void test_exclusions_need_quiescence(void **state)
{
	_cleanup_(transaction_free) struct transaction *t = make("p", OPERATION_APPLY, 1), *back = NULL;

	(void)state;
	t->plan->sites[0].boundaries = 1;
	json_t *o = transaction_to_json(t);
	assert_int_equal(transaction_from_json(o, &back), 0);
	json_decref(o);
	assert_true(back->plan->needs_quiescence);
}

/* Any one field spoilt: refused, never half believed. */
static void test_spoilt_fields(void **state)
{
	static const struct {
		const char *field, *value;
		bool in_site;
	} spoils[] = {
		{ "operation", "5", false }, { "patch", "\"../x\"", false }, { "patch", "3", false },
		{ "base", "\"zzz\"", false }, { "pid", "\"1\"", false }, { "sites", "[]", false },
		{ "sites", "7", false }, { "sites", "[{}]", false }, { "txn", "-1", false },
		{ "build_id", "\"0123456789012345678901234567890123456789x\"", false },
		{ "mode", "\"swift\"", false }, { "mode", "3", false }, { "trap", "\"none\"", false },
		{ "exclude", "7", false }, { "exclude", "[{}]", false },
		{ "exclude", "[{\"from\": \"0x2\", \"to\": \"0x2\"}]", false },
		{ "exclude", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", false },
		{ "slots", "7", false }, { "slots", "[{}]", false },
		{ "slots", "[{\"address\": \"0x10\", \"gpa\": 16}]", false },
		{ "slots", "[{\"address\": \"0xff1\", \"gpa\": \"0xff1\"}]", false }, /* on two pages */
		{ "slots", "[{\"address\": \"0x10\", \"gpa\": \"0x20\"}]", false },
		{ "old", "\"zz\"", true }, { "old", "\"\"", true }, { "new", "\"90\"", true },
		{ "split", "0", true }, { "split", "7", true }, { "address", "12", true },
		{ "gpa", "null", true }, { "boundaries", "\"\"", true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(spoils); i++) {
		_cleanup_(transaction_free) struct transaction *t = make("p", OPERATION_APPLY, 1), *back = NULL;
		json_t *o = transaction_to_json(t);
		json_t *at = spoils[i].in_site ? json_array_get(json_object_get(o, "sites"), 0) : o;

		json_object_set_new(at, spoils[i].field, json_loads(spoils[i].value, JSON_DECODE_ANY, NULL));
		if (transaction_from_json(o, &back) != -EBADMSG)
			fail_msg("spoilt %s = %s was believed", spoils[i].field, spoils[i].value);
		json_decref(o);
	}
}

static void test_list(void **state)
{
	struct patch_list l = { 0 };

	(void)state;
	assert_int_equal(patch_list_end(&l, make("a", OPERATION_APPLY, 1), RESULT_APPLIED), 0);
	assert_int_equal(patch_list_end(&l, make("b", OPERATION_APPLY, 1), RESULT_UNDONE), 0);
	assert_int_equal(patch_list_end(&l, make("c", OPERATION_APPLY, 1), RESULT_APPLIED), 0);
	assert_int_equal(patch_list_end(&l, make("d", OPERATION_APPLY, 1), RESULT_ATTENTION), 0);
	assert_int_equal(patch_list_count(&l, PATCH_APPLIED), 2);
	assert_string_equal(l.first->begin->patch, "a");
	assert_string_equal(l.first->next->begin->patch, "c");
	assert_int_equal(patch_list_find(&l, "d")->status, PATCH_ATTENTION);
	assert_null(patch_list_find(&l, "b"));
	assert_int_equal(patch_list_end(&l, make("a", OPERATION_REVERT, 1), RESULT_UNDONE), 0);
	assert_non_null(patch_list_find(&l, "a"));
	assert_int_equal(patch_list_end(&l, make("a", OPERATION_REVERT, 1), RESULT_REVERTED), 0);
	assert_null(patch_list_find(&l, "a"));
	assert_int_equal(patch_list_end(&l, make("c", OPERATION_REVERT, 1), RESULT_ATTENTION), 0);
	assert_int_equal(patch_list_find(&l, "c")->status, PATCH_ATTENTION);
	patch_list_clear(&l);
	assert_null(l.first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_older_journal),
		cmocka_unit_test(test_exclusions_need_quiescence),
		cmocka_unit_test(test_spoilt_fields),
		cmocka_unit_test(test_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
