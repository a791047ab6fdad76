// SPDX-License-Identifier: GPL-2.0-or-later
/* Disks: what a driver asks for and what a bad one asks for, images that fail, and DMA into pages that a flip moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "tests/fake/fake_virtio.h"
#include "vmm/kvm/virtio_blk.h"

#define MEMORY	(16ull << 20)
#define HEADER	0x100000ull
#define STATUS	0x101000ull
#define DATA	0x200000ull
#define SECTORS 1000u

enum { IN = 0, OUT = 1, FLUSH = 4, GET_ID = 8 };
enum { OK = 0, IOERR = 1, UNSUPP = 2, NO_ANSWER = 0xee };

static struct memory mem;
static struct fake_line line;
static struct virtio_blk *blk;
static struct virtio_device *dev;
static struct fake_driver drv;
static char path[64];
static uint8_t image[SECTORS * 512 + 100]; /* what is behind the last whole sector is not on the disk */

static int make_disk(bool read_only)
{
	int fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	struct err e = { 0 };

	if (virtio_blk_create(&mem, &line.irq, fd, read_only, "disk-id", &blk, &e) < 0)
		return -1;
	close(fd);
	dev = virtio_blk_device(blk);
	fake_up(&drv, dev, &mem, 128);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(image); i++)
		image[i] = (uint8_t)(i * 31 + (i >> 9));
	strcpy(path, "/tmp/vmpoke-disk-XXXXXX");
	int fd = mkstemp(path);
	if (fd < 0 || write(fd, image, sizeof(image)) != sizeof(image))
		return -1;
	close(fd);
	fake_line_init(&line);
	return memory_init(&mem, MEMORY, NULL) < 0 ? -1 : make_disk(false);
}

static int teardown(void **state)
{
	(void)state;
	virtio_blk_destroy(blk);
	memory_done(&mem);
	unlink(path);
	return 0;
}

static void put_header(uint32_t type, uint64_t sector)
{
	const struct {
		uint32_t type, reserved;
		uint64_t sector;
	} h = { type, 0, sector };
	const uint8_t no_answer = NO_ANSWER;

	memory_write(&mem, HEADER, &h, sizeof(h));
	memory_write(&mem, STATUS, &no_answer, 1);
}

/* The status of the request that is next to come back. */
static int answer(uint32_t *ret_len)
{
	uint8_t status;

	if (fake_used(&drv, 0, ret_len) < 0)
		return -1;
	memory_read(&mem, STATUS, &status, 1);
	return status;
}

static int request(uint32_t type, uint64_t sector, uint64_t gpa, uint32_t len, uint32_t *ret_len)
{
	const struct fake_buf bufs[] = {
		{ HEADER, 16, false }, { gpa, len, type != OUT }, { STATUS, 1, true },
	};
	const struct fake_buf without[] = { bufs[0], bufs[2] };

	put_header(type, sector);
	fake_add(&drv, 0, len ? bufs : without, len ? 3 : 2);
	virtio_work(dev);
	return answer(ret_len);
}

static bool guest_has(uint64_t gpa, const void *bytes, size_t len)
{
	_cleanup_free_ uint8_t *got = malloc(len);

	return memory_read(&mem, gpa, got, len) == 0 && memcmp(got, bytes, len) == 0;
}

static bool disk_has(off_t at, const void *bytes, size_t len)
{
	_cleanup_free_ uint8_t *got = malloc(len);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	return pread(fd, got, len, at) == (ssize_t)len && memcmp(got, bytes, len) == 0;
}

static void reads_and_writes(void **state)
{
	uint8_t bytes[2048];
	uint32_t len;

	(void)state;
	assert_int_equal(fake_reg(dev, 0x100), SECTORS);
	assert_int_equal(fake_reg(dev, 0x10c), VIRTQ_SIZE_MAX - 2);
	assert_int_equal(request(IN, 0, DATA, SECTORS * 512, &len), OK); /* several pieces */
	assert_int_equal(len, SECTORS * 512 + 1);
	assert_true(guest_has(DATA, image, SECTORS * 512));
	memset(bytes, 0x5a, sizeof(bytes));
	memory_write(&mem, DATA, bytes, sizeof(bytes));
	assert_int_equal(request(OUT, SECTORS - 4, DATA, 2048, &len), OK);
	assert_int_equal(len, 1);
	assert_true(disk_has((SECTORS - 4) * 512, bytes, sizeof(bytes)));
	assert_true(disk_has(SECTORS * 512, image + SECTORS * 512, 100));
	assert_int_equal(request(FLUSH, 0, 0, 0, &len), OK);
	assert_int_equal(request(GET_ID, 0, DATA, 20, &len), OK);
	assert_true(guest_has(DATA, "disk-id\0\0\0\0\0\0\0\0\0\0\0\0", 20));
	assert_int_equal(request(77, 0, DATA, 512, NULL), UNSUPP);
}

static void bad_ranges(void **state)
{
	static const struct {
		uint64_t sector;
		uint32_t len;
	} bad[] = { { SECTORS, 512 }, { SECTORS - 1, 1024 }, { UINT64_MAX, 512 }, { UINT64_MAX / 512 + 1, 512 },
		    { 0, 511 }, { 0, 1 }, { 0, (SECTORS + 1) * 512 }, { 0, 0xfffffe00 } };
	uint32_t len;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(request(IN, bad[i].sector, DATA, bad[i].len, &len), IOERR);
		assert_int_equal(len, 0);
		assert_int_equal(request(OUT, bad[i].sector, DATA, bad[i].len, NULL), IOERR);
	}
	assert_int_equal(request(GET_ID, 0, DATA, 19, NULL), IOERR);
	assert_true(disk_has(0, image, sizeof(image)));
}

/* What cannot be read or written in guest memory is an error of that request, not of the device. */
static void bad_buffers(void **state)
{
	(void)state;
	assert_int_equal(request(IN, 0, MEMORY, 512, NULL), IOERR);
	assert_int_equal(request(IN, 0, MEMORY - 256, 512, NULL), IOERR);
	assert_int_equal(request(OUT, 0, UINT64_MAX - 256, 512, NULL), IOERR);
	assert_true(disk_has(0, image, sizeof(image)));
	assert_true(virtio_running(dev));

	const struct fake_buf no_header[] = { { HEADER, 15, false }, { STATUS, 1, true } };
	put_header(FLUSH, 0);
	fake_add(&drv, 0, no_header, 2);
	virtio_work(dev);
	assert_int_equal(answer(NULL), IOERR);
	const struct fake_buf no_status[] = { { HEADER, 16, false }, { DATA, 512, false } };
	fake_add(&drv, 0, no_status, 2);
	virtio_work(dev);
	assert_false(virtio_running(dev));
	assert_int_equal(answer(NULL), -1);
}

/* 2.7.4.1: how a request is cut into buffers says nothing. */
static void odd_layouts(void **state)
{
	const struct fake_buf split[] = { { HEADER, 3, false },	 { HEADER + 3, 13, false }, { DATA, 1, true },
					  { DATA + 1, 1022, true }, { DATA + 1023, 1, true }, { STATUS, 1, true } };
	const struct fake_buf joined[] = { { HEADER, 16, false }, { STATUS - 1024, 1025, true } };

	(void)state;
	put_header(IN, 5);
	fake_add(&drv, 0, split, ARRAY_SIZE(split));
	virtio_work(dev);
	assert_int_equal(answer(NULL), OK);
	assert_true(guest_has(DATA, image + 5 * 512, 1024));
	put_header(IN, 7);
	fake_add(&drv, 0, joined, ARRAY_SIZE(joined));
	virtio_work(dev);
	assert_int_equal(answer(NULL), OK);
	assert_true(guest_has(STATUS - 1024, image + 7 * 512, 1024));
}

static void read_only_disk(void **state)
{
	(void)state;
	virtio_blk_destroy(blk);
	blk = NULL;
	assert_int_equal(make_disk(true), 0);
	fake_set(dev, 0x14, 0);
	assert_true(fake_reg(dev, 0x10) & 1 << 5);
	assert_int_equal(request(OUT, 0, DATA, 512, NULL), IOERR);
	assert_int_equal(request(IN, 0, DATA, 512, NULL), OK);
	assert_int_equal(request(FLUSH, 0, 0, 0, NULL), OK);
	assert_true(disk_has(0, image, sizeof(image)));
}

static void image_cut_short(void **state)
{
	uint32_t len;

	(void)state;
	assert_int_equal(truncate(path, 300 * 512 + 7), 0);
	assert_int_equal(request(IN, 299, DATA, 512, NULL), OK);
	assert_int_equal(request(IN, 300, DATA, 512, NULL), IOERR);
	assert_int_equal(request(IN, 200, DATA, 256 * 512, &len), IOERR);
	assert_true(len < 256 * 512);
}

static int create_with(const char *file, int flags, bool read_only)
{
	_cleanup_close_ int fd = open(file, flags | O_CLOEXEC);
	struct virtio_blk *b = NULL;
	struct err e = { 0 };
	int r = virtio_blk_create(&mem, &line.irq, fd, read_only, "", &b, &e);

	assert_true(r >= 0 || e.text[0]);
	virtio_blk_destroy(b);
	return r;
}

static void bad_images(void **state)
{
	(void)state;
	assert_int_equal(create_with(path, O_RDWR, false), -EBUSY); /* somebody writes to it */
	assert_int_equal(create_with(path, O_RDONLY, true), -EBUSY);
	virtio_blk_destroy(blk);
	blk = NULL;
	assert_int_equal(create_with(path, O_RDONLY, false), -EACCES);
	assert_int_equal(create_with(path, O_WRONLY, true), -EACCES);
	assert_int_equal(create_with("/dev/null", O_RDWR, false), -EINVAL);
	assert_int_equal(create_with("/tmp", O_RDONLY, true), -EINVAL);
	assert_int_equal(create_with("/nonexistent", O_RDONLY, true), -EINVAL);
	assert_int_equal(create_with(path, O_RDWR, false), 0);
	assert_int_equal(truncate(path, 511), 0);
	assert_int_equal(create_with(path, O_RDWR, false), -EINVAL);
}

static bool wait_status(uint8_t want)
{
	for (uint64_t end = now_us() + 10000000; now_us() < end; usleep(100))
		if (fake_used(&drv, 0, NULL) >= 0)
			return guest_has(STATUS, &want, 1);
	return false;
}

static void flip_byte(uint64_t gpa, uint8_t value)
{
	const struct backend_flip f = { .gpa = gpa, .len = 1, .bytes = &value };

	assert_int_equal(memory_flip(&mem, &f, 1, NULL), 0);
}

/*
 * The disk is read into pages that are flipped meanwhile: nothing of either may be
 * lost. Each page has one byte that only flips change, behind what is read.
 */
static void dma_meets_flips(void **state)
{
	enum { PAGES = 8, PART = 3584 };
	struct fake_buf bufs[PAGES + 2] = { { HEADER, 16, false } };
	uint64_t flips = 0;

	(void)state;
	for (unsigned i = 0; i < PAGES; i++)
		bufs[1 + i] = (struct fake_buf){ DATA + i * 4096ull, PART, true };
	bufs[PAGES + 1] = (struct fake_buf){ STATUS, 1, true };
	assert_int_equal(virtio_start(dev, NULL), 0);
	for (unsigned round = 0; round < 300; round++) {
		uint64_t first = round % (SECTORS - PAGES * 7);
		put_header(IN, first);
		fake_add(&drv, 0, bufs, PAGES + 2);
		fake_set(dev, 0x50, 0);
		for (unsigned i = 0; i < PAGES; i++, flips++)
			flip_byte(DATA + i * 4096ull + 4000, (uint8_t)flips);
		assert_true(wait_status(OK));
		for (unsigned i = 0; i < PAGES; i++) {
			uint8_t last = (uint8_t)(flips - PAGES + i);
			assert_true(guest_has(DATA + i * 4096ull, image + first * 512 + i * PART, PART));
			assert_true(guest_has(DATA + i * 4096ull + 4000, &last, 1));
		}
	}
}

/* After a reset nothing of what was under way reaches the guest's memory. */
static void reset_in_flight(void **state)
{
	static uint8_t before[SECTORS * 512];
	const struct fake_buf bufs[] = { { HEADER, 16, false }, { DATA, SECTORS * 512, true }, { STATUS, 1, true } };

	(void)state;
	assert_int_equal(virtio_start(dev, NULL), 0);
	for (unsigned round = 0; round < 50; round++) {
		put_header(IN, 0);
		memset(before, (int)round, sizeof(before));
		memory_write(&mem, DATA, before, sizeof(before));
		fake_add(&drv, 0, bufs, 3);
		fake_set(dev, 0x50, 0);
		usleep(round * 10);
		fake_set(dev, 0x70, 0);
		memory_read(&mem, DATA, before, sizeof(before));
		usleep(1000);
		assert_true(guest_has(DATA, before, sizeof(before)));
		fake_up(&drv, dev, &mem, 128);
		assert_int_equal(fake_used(&drv, 0, NULL), -1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(reads_and_writes, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_ranges, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_buffers, setup, teardown),
		cmocka_unit_test_setup_teardown(odd_layouts, setup, teardown),
		cmocka_unit_test_setup_teardown(read_only_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(image_cut_short, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_images, setup, teardown),
		cmocka_unit_test_setup_teardown(dma_meets_flips, setup, teardown),
		cmocka_unit_test_setup_teardown(reset_in_flight, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
