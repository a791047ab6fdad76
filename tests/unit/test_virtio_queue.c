// SPDX-License-Identifier: GPL-2.0-or-later
/* Split rings as good and bad guests make them, and the registers of the MMIO transport. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "tests/fake/fake_virtio.h"

#define MEMORY (16ull << 20)
#define BUF    0x100000ull

static struct memory mem;
static struct fake_line line;
static struct virtio_device dev;
static struct fake_driver drv;
static unsigned works;
static struct virtq_chain chain;

/* Takes one request from each queue and keeps the last. */
static void take_work(struct virtio_device *d)
{
	works++;
	for (unsigned q = 0; q < d->ops->n_queues; q++)
		if (virtio_pop(d, q, &chain))
			virtio_push(d, q, chain.head, 5);
}

static const struct virtio_ops ops = { .name = "test", .id = 42, .n_queues = 2, .work = take_work };

static int setup(void **state)
{
	(void)state;
	fake_line_init(&line);
	if (memory_init(&mem, MEMORY, NULL) < 0 || virtio_init(&dev, &ops, &mem, &line.irq) < 0)
		return -1;
	dev.features |= 1 << 5;
	dev.config[0] = 0x11;
	dev.config[5] = 0x66;
	fake_up(&drv, &dev, &mem, 8);
	works = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	virtio_done(&dev);
	memory_done(&mem);
	return 0;
}

static bool broken(void)
{
	return fake_reg(&dev, 0x70) & VIRTIO_STATUS_NEEDS_RESET;
}

static void one_request(void **state)
{
	const struct fake_buf bufs[] = { { BUF, 10, false }, { BUF + 100, 6, false }, { BUF + 200, 7, true } };
	uint8_t out[16];
	uint32_t len;

	(void)state;
	memory_write(&mem, BUF, "0123456789", 10);
	memory_write(&mem, BUF + 100, "abcdef", 6);
	uint16_t head = fake_add(&drv, 1, bufs, 3);
	virtio_work(&dev);
	assert_int_equal(fake_used(&drv, 1, &len), head);
	assert_int_equal(len, 5);
	assert_int_equal(fake_used(&drv, 1, &len), -1);
	assert_int_equal(chain.out_len, 16);
	assert_int_equal(chain.in_len, 7);
	assert_int_equal(virtq_read(&chain, &mem, 0, out, 16), 0);
	assert_memory_equal(out, "0123456789abcdef", 16);
	assert_int_equal(virtq_read(&chain, &mem, 8, out, 4), 0);
	assert_memory_equal(out, "89ab", 4);
	assert_int_equal(virtq_read(&chain, &mem, 12, out, 5), -ENODATA);
	assert_int_equal(virtq_read(&chain, &mem, UINT64_MAX, out, 1), -ENODATA);
	assert_int_equal(virtq_write(&chain, &mem, 1, "xyz", 3), 0);
	memory_read(&mem, BUF + 200, out, 4);
	assert_memory_equal(out + 1, "xyz", 3);
	assert_int_equal(virtq_write(&chain, &mem, 5, "xyz", 3), -ENODATA);
	assert_true(line.level);
	assert_int_equal(fake_reg(&dev, 0x60), VIRTIO_INT_USED);
	fake_set(&dev, 0x64, VIRTIO_INT_USED);
	assert_false(line.level);
}

static void indices_wrap(void **state)
{
	const struct fake_buf bufs[] = { { BUF, 1, false }, { BUF, 1, true } };

	(void)state;
	for (unsigned i = 0; i < 70000; i++) {
		uint16_t head = fake_add(&drv, 0, bufs, 2);
		virtio_work(&dev);
		if (fake_used(&drv, 0, NULL) != head)
			fail_msg("request %u did not come back", i);
	}
	assert_false(broken());
}

static void no_interrupt_wanted(void **state)
{
	const struct fake_buf buf = { BUF, 1, false };
	const uint16_t flag = 1;

	(void)state;
	memory_write(&mem, FAKE_AVAIL(0), &flag, sizeof(flag));
	fake_add(&drv, 0, &buf, 1);
	virtio_work(&dev);
	assert_int_not_equal(fake_used(&drv, 0, NULL), -1);
	assert_false(line.level);
}

/* Each ends with "needs reset" and an interrupt, and nothing is served until there was one. */
static void refused(void)
{
	const struct fake_buf buf = { BUF, 1, false };

	virtio_work(&dev);
	assert_true(broken());
	assert_true(line.level);
	assert_int_equal(fake_reg(&dev, 0x60), VIRTIO_INT_CONFIG);
	assert_int_equal(fake_used(&drv, 0, NULL), -1);
	fake_set(&dev, 0x70, 0xf); /* the driver cannot just clear it */
	assert_true(broken());
	fake_up(&drv, &dev, &mem, 8);
	assert_false(broken());
	assert_false(line.level);
	fake_add(&drv, 0, &buf, 1);
	virtio_work(&dev);
	assert_int_not_equal(fake_used(&drv, 0, NULL), -1);
	fake_up(&drv, &dev, &mem, 8);
}

static void bad_chains(void **state)
{
	(void)state;
	fake_desc(&drv, 0, 0, BUF, 1, FAKE_NEXT, 1); /* a loop */
	fake_desc(&drv, 0, 1, BUF, 1, FAKE_NEXT, 0);
	fake_offer(&drv, 0, 0);
	refused();
	fake_desc(&drv, 0, 0, BUF, 1, FAKE_NEXT, 8); /* behind the table */
	fake_offer(&drv, 0, 0);
	refused();
	fake_offer(&drv, 0, 8);
	refused();
	fake_offer(&drv, 0, 0xffff);
	refused();
	fake_desc(&drv, 0, 0, BUF, 1, FAKE_WRITE | FAKE_NEXT, 1); /* readable behind writable */
	fake_desc(&drv, 0, 1, BUF, 1, 0, 0);
	fake_offer(&drv, 0, 0);
	refused();
	fake_desc(&drv, 0, 0, BUF, 16, 4, 0); /* an indirect table, which we do not offer */
	fake_offer(&drv, 0, 0);
	refused();
	drv.avail[0] = 8; /* more than the ring holds */
	fake_offer(&drv, 0, 0);
	refused();
}

static void rings_not_in_ram(void **state)
{
	static const uint64_t regs[] = { 0x80, 0x90, 0xa0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(regs); i++) {
		const struct fake_buf buf = { BUF, 1, false };
		fake_set(&dev, 0x30, 0);
		fake_set(&dev, 0x44, 0);
		fake_set(&dev, regs[i], MEMORY - 16);
		fake_set(&dev, regs[i] + 4, i == 0 ? 0 : 0x80000000);
		fake_set(&dev, 0x44, 1);
		fake_add(&drv, 0, &buf, 1);
		if (i == 0) /* the first descriptor is still in RAM, this one is not */
			fake_offer(&drv, 0, 1);
		virtio_work(&dev);
		virtio_work(&dev);
		assert_true(broken());
		fake_up(&drv, &dev, &mem, 8);
	}
}

static void buffers_not_in_ram(void **state)
{
	const struct fake_buf bufs[] = { { MEMORY - 4, 8, false }, { UINT64_MAX - 2, 8, true } };
	uint8_t b[8] = { 0 };

	(void)state;
	fake_add(&drv, 0, bufs, 2);
	virtio_work(&dev);
	assert_int_equal(virtq_read(&chain, &mem, 0, b, 4), 0);
	assert_int_equal(virtq_read(&chain, &mem, 0, b, 5), -EFAULT);
	assert_int_equal(virtq_read(&chain, &mem, 6, b, 1), -EFAULT);
	assert_int_equal(virtq_write(&chain, &mem, 0, b, 1), -EFAULT);
	assert_int_equal(virtq_write(&chain, &mem, 4, b, 1), -EFAULT);
}

static void identity(void **state)
{
	uint8_t b[8] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	(void)state;
	assert_int_equal(fake_reg(&dev, 0x000), 0x74726976);
	assert_int_equal(fake_reg(&dev, 0x004), 2);
	assert_int_equal(fake_reg(&dev, 0x008), 42);
	assert_int_equal(fake_reg(&dev, 0x0fc), 0);
	assert_int_equal(fake_reg(&dev, 0x0b0), UINT32_MAX);
	/* Registers are words; configuration has bytes, and an end. */
	virtio_mmio_access(&dev, 0x001, false, b, 4);
	assert_int_equal(b[0], 0);
	virtio_mmio_access(&dev, 0x000, false, b, 1);
	assert_int_equal(b[0], 0);
	virtio_mmio_access(&dev, 0x105, false, b, 1);
	assert_int_equal(b[0], 0x66);
	virtio_mmio_access(&dev, 0x100, false, b, 8);
	assert_int_equal(b[0], 0x11);
	virtio_mmio_access(&dev, 0x1fc, false, b, 4);
	assert_int_equal(b[0], 0);
	b[0] = 0x77;
	virtio_mmio_access(&dev, 0x100, true, b, 1);
	assert_int_equal(fake_reg(&dev, 0x100), 0x11);
}

static void negotiation(void **state)
{
	(void)state;
	fake_set(&dev, 0x70, 0);
	assert_int_equal(fake_reg(&dev, 0x70), 0);
	fake_set(&dev, 0x14, 1);
	assert_int_equal(fake_reg(&dev, 0x10), 1); /* VIRTIO_F_VERSION_1 */
	fake_set(&dev, 0x14, 7);
	assert_int_equal(fake_reg(&dev, 0x10), 0);
	fake_set(&dev, 0x70, 0xb); /* not even version 1 */
	assert_int_equal(fake_reg(&dev, 0x70), 0x3);
	fake_set(&dev, 0x24, 1);
	fake_set(&dev, 0x20, 1);
	fake_set(&dev, 0x24, 0);
	fake_set(&dev, 0x20, 1 << 6); /* what we did not offer */
	fake_set(&dev, 0x70, 0xb);
	assert_int_equal(fake_reg(&dev, 0x70), 0x3);
	fake_set(&dev, 0x20, 1 << 5);
	fake_set(&dev, 0x70, 0xb);
	assert_int_equal(fake_reg(&dev, 0x70), 0xb);
	fake_set(&dev, 0x20, 1 << 6); /* too late */
	fake_set(&dev, 0x70, 0xf);
	assert_int_equal(fake_reg(&dev, 0x70), 0xf);
}

static void queue_set_up(void **state)
{
	static const uint32_t sizes[] = { 0, 3, 6, 129, 256, 65536, UINT32_MAX };

	(void)state;
	fake_set(&dev, 0x30, 1);
	assert_int_equal(fake_reg(&dev, 0x34), VIRTQ_SIZE_MAX);
	assert_int_equal(fake_reg(&dev, 0x44), 1);
	fake_set(&dev, 0x38, 4); /* in use: nothing moves */
	fake_set(&dev, 0x80, 0);
	assert_int_equal(dev.queues[1].size, 8);
	assert_int_equal(dev.queues[1].desc, FAKE_DESC(1));
	fake_set(&dev, 0x44, 0);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		fake_set(&dev, 0x38, sizes[i]);
		fake_set(&dev, 0x44, 1);
		assert_int_equal(fake_reg(&dev, 0x44), 0);
	}
	fake_set(&dev, 0x38, 128);
	fake_set(&dev, 0x80, (uint32_t)FAKE_DESC(1) + 8); /* not aligned */
	fake_set(&dev, 0x44, 1);
	assert_int_equal(fake_reg(&dev, 0x44), 0);
	fake_set(&dev, 0x30, 2);
	assert_int_equal(fake_reg(&dev, 0x34), 0);
	fake_set(&dev, 0x44, 1);
	assert_int_equal(fake_reg(&dev, 0x44), 0);
	fake_set(&dev, 0x30, UINT32_MAX);
	assert_int_equal(fake_reg(&dev, 0x44), 0);
}

/* Nothing is served before the driver says so, nor after it has reset the device. */
static void not_running(void **state)
{
	const struct fake_buf buf = { BUF, 1, false };

	(void)state;
	fake_add(&drv, 0, &buf, 1);
	dev.status = 0xb;
	virtio_work(&dev);
	assert_int_equal(fake_used(&drv, 0, NULL), -1);
	fake_set(&dev, 0x70, 0);
	virtio_work(&dev);
	assert_int_equal(fake_used(&drv, 0, NULL), -1);
	assert_int_equal(dev.queues[0].size, 0);
	assert_int_equal(works, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_request, setup, teardown),
		cmocka_unit_test_setup_teardown(indices_wrap, setup, teardown),
		cmocka_unit_test_setup_teardown(no_interrupt_wanted, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_chains, setup, teardown),
		cmocka_unit_test_setup_teardown(rings_not_in_ram, setup, teardown),
		cmocka_unit_test_setup_teardown(buffers_not_in_ram, setup, teardown),
		cmocka_unit_test_setup_teardown(identity, setup, teardown),
		cmocka_unit_test_setup_teardown(negotiation, setup, teardown),
		cmocka_unit_test_setup_teardown(queue_set_up, setup, teardown),
		cmocka_unit_test_setup_teardown(not_running, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
