// SPDX-License-Identifier: GPL-2.0-or-later
/* Which sockets a service manager may pass, and as what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "protocol/util.h"
#include "vmm/control/activation.h"

/* n listening sockets with consecutive numbers; *dir is where they are. */
static int listeners(char *dir, int n)
{
	int first = -1;

	assert_non_null(mkdtemp(dir));
	for (int i = 0; i < n; i++) {
		struct sockaddr_un sa = { .sun_family = AF_UNIX };
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/%d", dir, i);
		assert_true(fd >= 0);
		assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
		assert_int_equal(listen(fd, 1), 0);
		unlink(sa.sun_path);
		if (i == 0)
			first = fd;
		assert_int_equal(fd, first + i);
	}
	rmdir(dir);
	return first;
}

static void close_all(int first, int n)
{
	while (n > 0)
		close(first + --n);
}

static void test_both(void **state)
{
	char dir[] = "/tmp/vmpoke-test.XXXXXX", *names[] = { (char[]){ "control-ro" }, (char[]){ "control" } };
	int first = listeners(dir, 2);
	struct activation a;
	struct err e;

	(void)state;
	assert_int_equal(activation_sort(first, 2, names, &a, &e), 0);
	assert_int_equal(a.ro, first);
	assert_int_equal(a.rw, first + 1);
	assert_int_equal(activation_sort(first, 0, NULL, &a, &e), 0);
	assert_int_equal(a.ro, -1);
	assert_int_equal(a.rw, -1);
	close_all(first, 2);
}

static void test_refused(void **state)
{
	char dir[] = "/tmp/vmpoke-test.XXXXXX", *names[] = { (char[]){ "control" }, (char[]){ "control" } };
	int first = listeners(dir, 2), fd;
	struct activation a = { .rw = 77, .ro = 78 };
	struct err e;

	(void)state;
	assert_true(activation_sort(first, 2, names, &a, &e) < 0);
	assert_non_null(strstr(e.text, "two sockets 'control'"));
	names[1] = (char[]){ "metrics" };
	assert_true(activation_sort(first, 2, names, &a, &e) < 0);
	assert_non_null(strstr(e.text, "a socket 'metrics'"));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); /* does not listen */
	assert_true(fd >= 0);
	assert_true(activation_sort(fd, 1, names, &a, &e) < 0);
	assert_non_null(strstr(e.text, "no listening stream socket"));
	close(fd);
	assert_int_equal(a.rw, 77); /* written only on success */
	assert_int_equal(a.ro, 78);
	close_all(first, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
