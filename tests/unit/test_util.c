// SPDX-License-Identifier: GPL-2.0-or-later
/* Hex, whole reads and writes, unix sockets, the clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "protocol/util.h"

static char dir[] = "/tmp/test-util.XXXXXX";

static void test_hex_encode(void **state)
{
	char out[7];

	(void)state;
	hex_encode("\x00\xab\xff", 3, out);
	assert_string_equal(out, "00abff");
	hex_encode("", 0, out);
	assert_string_equal(out, "");
}

static void test_hex_decode(void **state)
{
	static const struct {
		const char *text;
		ssize_t n;
	} cases[] = {
		{ "", 0 },		 { "0f", 1 },		{ "0f 1f 44 00 00", 5 }, { "0F1F440000", 5 },
		{ "  0f\t1f ", 2 },	 { "0", -EINVAL },	{ "0 f", -EINVAL },	 { "0g", -EINVAL },
		{ "0x0f", -EINVAL },	 { "0f\n", -EINVAL },	{ "0f,1f", -EINVAL },	 { "000102030405", 6 },
		{ "00010203040506", -E2BIG },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t out[6];
		assert_int_equal(hex_decode(cases[i].text, out, sizeof(out)), cases[i].n);
	}
	uint8_t out[2];
	assert_int_equal(hex_decode("fe 01", out, 2), 2);
	assert_memory_equal(out, "\xfe\x01", 2);
}

static void test_full_io(void **state)
{
	char big[200000], got[sizeof(big)];
	int fd[2];

	(void)state;
	memset(big, 'q', sizeof(big));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	int size = 1 << 20;
	assert_int_equal(setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	assert_int_equal(write_full(fd[0], big, sizeof(big)), 0);
	assert_int_equal(read_full(fd[1], got, sizeof(got)), 0);
	assert_memory_equal(big, got, sizeof(big));
	assert_int_equal(write_full(fd[0], "ab", 2), 0);
	close(fd[0]);
	assert_int_equal(read_full(fd[1], got, 3), -ENODATA);
	close(fd[1]);
	assert_int_equal(read_full(fd[1], got, 1), -EBADF);
	assert_int_equal(write_full(fd[1], got, 1), -EBADF);
}

static void test_read_file(void **state)
{
	char path[64];
	char *text;
	size_t len;

	(void)state;
	snprintf(path, sizeof(path), "%s/f", dir);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	for (int i = 0; i < 10000; i++)
		fputc('a' + i % 26, f);
	fclose(f);
	assert_int_equal(read_file(path, 10000, &text, &len), 0);
	assert_int_equal(len, 10000);
	assert_int_equal(strlen(text), 10000);
	assert_int_equal(text[27], 'b');
	free(text);
	assert_int_equal(read_file(path, 9999, &text, &len), -EFBIG);
	unlink(path);
	assert_int_equal(read_file(path, 10, &text, &len), -ENOENT);
	assert_int_equal(read_file(dir, 10, &text, &len), -EISDIR);
}

static void test_unix_connect(void **state)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char over_long[200];

	(void)state;
	memset(over_long, 'x', sizeof(over_long) - 1);
	over_long[sizeof(over_long) - 1] = '\0';
	assert_int_equal(unix_connect(over_long, 1000), -ENAMETOOLONG);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/s", dir);
	assert_int_equal(unix_connect(sa.sun_path, 1000), -ENOENT);
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(unix_connect(sa.sun_path, 1000), -ECONNREFUSED);
	assert_int_equal(listen(listener, 0), 0);

	int fd = unix_connect(sa.sun_path, 1000);
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_false(fcntl(fd, F_GETFL) & O_NONBLOCK);

	/* Nobody accepts and the backlog is full: bounded wait. */
	uint64_t before = now_us();
	assert_int_equal(unix_connect(sa.sun_path, 50000), -ETIMEDOUT);
	assert_true(now_us() - before >= 50000);
	close(fd);
	close(listener);
	unlink(sa.sun_path);
}

static int setup(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hex_encode), cmocka_unit_test(test_hex_decode),
		cmocka_unit_test(test_full_io),	   cmocka_unit_test(test_read_file),
		cmocka_unit_test(test_unix_connect),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
