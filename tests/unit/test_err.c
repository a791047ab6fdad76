// SPDX-License-Identifier: GPL-2.0-or-later
/* The error object: sentences, kinds, exit codes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "protocol/err.h"

static void test_set(void **state)
{
	struct err e = { .override = "--stale", .has_addr = true };

	(void)state;
	assert_int_equal(err_set(&e, ERR_REFUSED, EBUSY, "kprobe", "byte 0x%02x", 0xcc), -EBUSY);
	assert_int_equal(e.kind, ERR_REFUSED);
	assert_int_equal(e.error, EBUSY);
	assert_string_equal(e.rule, "kprobe");
	assert_string_equal(e.text, "byte 0xcc");
	assert_string_equal(e.override, "");
	assert_false(e.has_addr);
}

static void test_set_null(void **state)
{
	(void)state;
	assert_int_equal(err_set(NULL, ERR_FAILED, EIO, NULL, "x"), -EIO);
	assert_int_equal(err_set_addr(NULL, ERR_FAILED, EIO, NULL, 1, "x"), -EIO);
	err_prefix(NULL, "x");
}

static void test_set_addr(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(err_set_addr(&e, ERR_REFUSED, EILSEQ, "old-bytes", 0xffffffff81000000u, "bad"), -EILSEQ);
	assert_true(e.has_addr);
	assert_true(e.addr == 0xffffffff81000000u);
}

static void test_long_text_is_cut(void **state)
{
	char text[2000];
	struct err e;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	err_set(&e, ERR_FAILED, EIO, text, "%s", text);
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
	assert_int_equal(strlen(e.rule), sizeof(e.rule) - 1);
	err_prefix(&e, "%s", text);
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
}

static void test_prefix(void **state)
{
	struct err e;

	(void)state;
	err_set(&e, ERR_FAILED, EIO, NULL, "it broke");
	err_prefix(&e, "site %d", 2);
	assert_string_equal(e.text, "site 2: it broke");
	assert_int_equal(e.error, EIO);
}

static void test_kinds(void **state)
{
	static const int exit_codes[ERR_KIND_COUNT] = {
		[ERR_NONE] = 0,	      [ERR_FAILED] = 1,	    [ERR_USAGE] = 2,	[ERR_NOT_APPLICABLE] = 3,
		[ERR_NOT_FOUND] = 4,  [ERR_REFUSED] = 5,    [ERR_TIMEOUT] = 6,	[ERR_UNREACHABLE] = 7,
		[ERR_PARTIAL] = 8,    [ERR_ATTENTION] = 9,  [ERR_INACTIVE] = 1, [ERR_NO_COMMAND] = 2,
	};

	(void)state;
	for (int k = 0; k < ERR_KIND_COUNT; k++) {
		assert_int_equal(err_exit_code((enum err_kind)k), exit_codes[k]);
		assert_int_equal(err_kind_from_name(err_kind_name((enum err_kind)k)), k);
	}
	assert_int_equal(err_exit_code((enum err_kind)99), 1);
	assert_int_equal(err_kind_from_name("nonsense"), ERR_FAILED);
	assert_int_equal(err_kind_from_name(NULL), ERR_FAILED);
	assert_string_equal(err_qmp_class(ERR_NOT_FOUND), "DeviceNotFound");
	assert_string_equal(err_qmp_class(ERR_INACTIVE), "DeviceNotActive");
	assert_string_equal(err_qmp_class(ERR_NO_COMMAND), "CommandNotFound");
	assert_string_equal(err_qmp_class(ERR_REFUSED), "GenericError");
	assert_string_equal(err_qmp_class((enum err_kind)-1), "GenericError");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_set_null),
		cmocka_unit_test(test_set_addr),
		cmocka_unit_test(test_long_text_is_cut),
		cmocka_unit_test(test_prefix),
		cmocka_unit_test(test_kinds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
