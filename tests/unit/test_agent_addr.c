// SPDX-License-Identifier: GPL-2.0-or-later
/* Addresses of agents and files of keys: what is taken, what is refused, and that a key never shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "protocol/agent_addr.h"
#include "protocol/agent_key.h"
#include "protocol/util.h"

static void test_good(void **state)
{
	struct agent_addr a;

	(void)state;
	assert_int_equal(agent_addr_parse("unix:/run/web1,agent.sock", &a, NULL), 0);
	assert_int_equal(a.kind, AGENT_ADDR_UNIX);
	assert_string_equal(a.path, "/run/web1,agent.sock");
	assert_int_equal(agent_addr_parse("vsock:3", &a, NULL), 0);
	assert_int_equal(a.kind, AGENT_ADDR_VSOCK);
	assert_int_equal(a.cid, 3);
	assert_int_equal(a.port, AGENT_VSOCK_PORT);
	assert_int_equal(agent_addr_parse("vsock:4294967294:1", &a, NULL), 0);
	assert_int_equal(a.cid, 4294967294u);
	assert_int_equal(a.port, 1);
	assert_int_equal(agent_addr_parse("xdp:tap,0,52:54:00:aB:cd:ef", &a, NULL), 0);
	assert_int_equal(a.kind, AGENT_ADDR_XDP);
	assert_string_equal(a.ifname, "tap,0");
	assert_memory_equal(a.mac, "\x52\x54\x00\xab\xcd\xef", 6);
}

static void test_bad(void **state)
{
	static const char *const bad[] = {
		"", "unix", "unix:", "unix:relative", "unix:/a\nb", "UNIX:/a", "tcp:1.2.3.4", "vsock:", "vsock:2", "vsock:0",
		"vsock:-1", "vsock:3:", "vsock:3:0", "vsock:3:4:5", "vsock:4294967295", "vsock:99999999999999999999", "vsock:0x3",
		"vsock:3:4294967295", "xdp:", "xdp:tap0", "xdp:,52:54:00:12:34:56", "xdp:tap0,", "xdp:tap0,52:54:00:12:34",
		"xdp:tap0,52:54:00:12:34:5g", "xdp:tap0,52-54-00-12-34-56", "xdp:tap0,53:54:00:12:34:56",
		"xdp:tap0,00:00:00:00:00:00", "xdp:tap0,ff:ff:ff:ff:ff:ff", "xdp:a/b,52:54:00:12:34:56",
		"xdp:sixteen-letters-,52:54:00:12:34:56", "xdp:a b,52:54:00:12:34:56", "xdp:..,52:54:00:12:34:56",
		"xdp:tap0,52:54:00:12:34:56:78",
	};
	char longest[256] = "unix:/";
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct agent_addr a = { .cid = 77 };
		e = (struct err){ 0 };
		assert_int_equal(agent_addr_parse(bad[i], &a, &e), -EINVAL);
		assert_int_equal(e.kind, ERR_USAGE);
		assert_int_equal(a.cid, 77); /* untouched on failure */
	}
	memset(longest + 6, 'a', 108);
	struct agent_addr a;
	assert_int_equal(agent_addr_parse(longest, &a, NULL), -EINVAL);
	longest[5 + 107] = '\0';
	assert_int_equal(agent_addr_parse(longest, &a, NULL), 0);
}

#define DIGITS "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static int key_file(const char *text, mode_t mode)
{
	char path[] = "/tmp/vmpoke-key.XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(write_full(fd, text, strlen(text)), 0);
	assert_int_equal(fchmod(fd, mode), 0);
	return fd;
}

static int read_key(const char *text, mode_t mode, uint8_t *key, struct err *e)
{
	_cleanup_close_ int fd = key_file(text, mode);

	*e = (struct err){ 0 };
	return agent_key_read(fd, key, e);
}

static void test_keys(void **state)
{
	static const char *const bad[] = { "", "00", DIGITS "0", DIGITS "00", "g" DIGITS, " " DIGITS, "\n" DIGITS };
	uint8_t key[AGENT_KEY_LEN] = { 0 }, before[AGENT_KEY_LEN] = { 0 };
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(read_key(bad[i], 0600, key, &e), -EINVAL);
		assert_null(strstr(e.text, "0011"));
		assert_memory_equal(key, before, sizeof(key));
	}
	assert_int_equal(read_key(DIGITS "\n", 0604, key, &e), -EPERM);
	assert_string_equal(e.rule, "key-readable");
	assert_int_equal(read_key(DIGITS "\n", 0640, key, &e), -EPERM);
	assert_memory_equal(key, before, sizeof(key));
	assert_int_equal(read_key(DIGITS, 0400, key, &e), 0);
	assert_int_equal(read_key(DIGITS "\n", 0600, key, &e), 0);
	assert_int_equal(key[1], 0x11);
	assert_int_equal(key[31], 0xff);
	_cleanup_close_ int dir = open("/", O_RDONLY | O_DIRECTORY);
	assert_int_equal(agent_key_read(dir, key, &e), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
