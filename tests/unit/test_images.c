// SPDX-License-Identifier: GPL-2.0-or-later
/* A folder of kernels by build-id: which file is taken, and what never is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/util.h"
#include "vmm/worker/images.h"

#define ID "00112233445566778899aabbccddeeff00112233"

static char dir[64];

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/vmpoke-images.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

/* Leaves are given from the inside out, so that folders are empty when it is their turn. */
static int teardown(void **state)
{
	static const char *const leaves[] = { "/.build-id/00/" ID, "/.build-id/00/112233445566778899aabbccddeeff00112233",
					      "/.build-id/00/112233445566778899aabbccddeeff00112233.debug",
					      "/.build-id/00", "/.build-id", "/" ID "/executable", "/" ID, "" };
	char path[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(leaves); i++) {
		snprintf(path, sizeof(path), "%s%s", dir, leaves[i]);
		remove(path);
	}
	return 0;
}

static void make_dir(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(mkdir(path, 0700), 0);
}

static void make_file(const char *name, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write_full(fd, text, strlen(text)), 0);
}

/* The first byte of the file that is found. */
static int found(void)
{
	_cleanup_close_ int fd = images_open(dir, ID);
	char byte = 0;

	if (fd < 0)
		return fd;
	assert_int_equal(read(fd, &byte, 1), 1);
	return byte;
}

static void places(void **state)
{
	(void)state;
	assert_int_equal(found(), -ENOENT);
	make_dir(ID);
	make_file(ID "/executable", "3");
	assert_int_equal(found(), '3');
	make_dir(".build-id");
	make_dir(".build-id/00");
	make_file(".build-id/00/112233445566778899aabbccddeeff00112233.debug", "2");
	assert_int_equal(found(), '2');
	make_file(".build-id/00/112233445566778899aabbccddeeff00112233", "1");
	assert_int_equal(found(), '1');
}

/* Neither a folder nor a FIFO, which would be waited at. */
static void no_file(void **state)
{
	char path[256];

	(void)state;
	make_dir(".build-id");
	make_dir(".build-id/00");
	snprintf(path, sizeof(path), "%s/.build-id/00/%s", dir, ID + 2);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(found(), -ENOENT);
	make_dir(ID);
	make_dir(ID "/executable");
	assert_int_equal(found(), -ENOENT);
}

static void names(void **state)
{
	static const char *const bad[] = { "", "0", "001", "../../../etc/passwd", "0011/../..", "00112233XY", "00 11" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(images_open(dir, bad[i]), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(places, setup, teardown),
		cmocka_unit_test_setup_teardown(no_file, setup, teardown),
		cmocka_unit_test_setup_teardown(names, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
