// SPDX-License-Identifier: GPL-2.0-or-later
/* Changing text of running vCPUs of our own VMM without traps: after a change and its barrier nobody sees the old (kvm_caller.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <sys/ioctl.h>

#include "tests/unit/kvm_caller.h"

static void flips(void **state)
{
	struct backend_barrier count;

	(void)state;
	NEED(BACKEND_REMAP);
	expect(1);
	ROUNDS(v, 2, 200) {
		const struct backend_flip f = { FUNCTION + 1, sizeof(v), (const uint8_t *)&v };
		assert_int_equal(b->ops->live->flip(b, &f, 1, &count, NULL), 0);
		assert_int_equal(count.kicked + count.already_out, n_vcpus);
		assert_true(count.by_notifier);
		expect(v);
	}
}

static void stores_and_barriers(void **state)
{
	const uint64_t gpa = FUNCTION;
	struct backend_barrier count;

	(void)state;
	NEED(BACKEND_NONSTOP);
	ROUNDS(v, 2, 200) {
		uint8_t byte = (uint8_t)v;
		assert_int_equal(b->ops->live->write(b, FUNCTION + 1, &byte, 1, NULL), 0);
		assert_int_equal(b->ops->live->barrier(b, &gpa, 1, &count, NULL), 0);
		assert_int_equal(count.kicked + count.already_out, n_vcpus);
		expect(v);
	}
	uint64_t bad = GUEST_MEMORY;
	assert_int_equal(b->ops->live->write(b, GUEST_MEMORY - 1, "ab", 2, NULL), -EFAULT);
	assert_int_equal(b->ops->live->barrier(b, &bad, 1, &count, NULL), -EFAULT);
}

/* Pages apart: the results page between them is written all the time and loses nothing. */
static void flip_over_written_pages(void **state)
{
	(void)state;
	NEED(BACKEND_REMAP);
	ROUNDS(v, 2, 100) {
		uint8_t far = (uint8_t)v;
		const struct backend_flip f[] = { { FUNCTION + 1, sizeof(v), (const uint8_t *)&v },
						  { RESULTS + 4096, 1, &far } };
		uint64_t calls[VCPUS];
		for (size_t i = 0; i < n_vcpus; i++)
			calls[i] = result(i, 1);
		assert_int_equal(b->ops->live->flip(b, f, 2, NULL, NULL), 0);
		for (size_t i = 0; i < n_vcpus; i++)
			assert_true(result(i, 1) >= calls[i]); /* the counter never goes back */
		expect(v);
	}
}

/*
 * Each round of kicks is a flush that KVM asks of its vCPUs. It counts those of its own
 * as well, which are few: a flip that needed two would be seen.
 */
static void flips_kick_once(void **state)
{
	const char *const name = "remote_tlb_flush";
	unsigned flips = 0;

	(void)state;
	NEED(BACKEND_REMAP);
	_cleanup_close_ int fd = ioctl(machine_of(b)->vm_fd, KVM_GET_STATS_FD, 0);
	uint64_t from = counter(fd, name);
	if (from == UINT64_MAX)
		skip();
	ROUNDS(v, 2, 400) {
		const struct backend_flip f[] = { { FUNCTION + 1, sizeof(v), (const uint8_t *)&v },
						  { FUNCTION + 100, sizeof(v), (const uint8_t *)&v } };
		assert_int_equal(b->ops->live->flip(b, f, 2, NULL, NULL), 0);
		wait_calls();
		flips++;
	}
	uint64_t flushes = counter(fd, name) - from;
	print_message("%u flips, %lu flushes\n", flips, (unsigned long)flushes);
	assert_true(flushes <= flips + flips / 4 + 2);
}

static void virtual_access(void **state)
{
	const struct backend_live_ops *live = b ? b->ops->live : NULL;
	struct backend_fault fault = { 0 };
	uint8_t buf[16] = "0123456789abcde", got[16] = { 0 };
	bool was;

	(void)state;
	NEED(0);
	assert_int_equal(b->ops->pause(b, NULL, &was, NULL), 0);
	assert_int_equal(live->write_virtual(b, 0, 0x400ff8, buf, 16, &fault), 0); /* across a page */
	assert_int_equal(live->read_virtual(b, 0, 0x400ff8, got, 16, &fault), 0);
	assert_memory_equal(buf, got, 16);
	assert_int_equal(live->read_virtual(b, 0, 0x800000000000ull, got, 8, &fault), -EFAULT);
	assert_int_equal(fault.vector, 13);
	assert_int_equal(live->read_virtual(b, 0, 0x7ffffffffffcull, got, 8, &fault), -EFAULT);
	assert_int_equal(fault.vector, 13);
	assert_int_equal(live->write_virtual(b, 0, 0x4000000000ull, buf, 8, &fault), -EFAULT); /* not mapped */
	assert_int_equal(fault.vector, 14);
	assert_int_equal(fault.error_code, 2);
	assert_int_equal(fault.cr2, 0x4000000000ull);
	assert_int_equal(live->read_virtual(b, 0, GUEST_MEMORY, got, 8, &fault), -EFAULT); /* mapped, no RAM there */
	assert_int_equal(live->read_virtual(b, 0, 0, got, 8192, &fault), -EINVAL);
	assert_int_equal(live->read_virtual(b, n_vcpus, 0, got, 8, &fault), -EINVAL);
	uint32_t word = 0x101;
	assert_int_equal(live->write_virtual(b, 0, 0x400ff8, &word, 4, &fault), 0);
	assert_int_equal(live->exchange_virtual(b, 0, 0x400ff8, 0, 1, &fault), 0);
	assert_int_equal(live->exchange_virtual(b, 0, 0x400ff8, 0x101, 1, &fault), 1);
	assert_int_equal(live->read_virtual(b, 0, 0x400ff8, &word, 4, &fault), 0);
	assert_int_equal(word, 1);
	assert_int_equal(live->exchange_virtual(b, 0, 0x400ff9, 0, 1, &fault), -EINVAL);
	assert_int_equal(live->exchange_virtual(b, 0, 0x4000000000ull, 0, 1, &fault), -EFAULT);
	assert_int_equal(live->exchange_virtual(b, n_vcpus, 0x400ff8, 1, 0, &fault), -EINVAL);
	assert_int_equal(b->ops->resume(b, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON(one, flips),		    ON(all, flips),
		ON(one, stores_and_barriers), ON(all, stores_and_barriers),
		ON(all, flip_over_written_pages),
		ON(one, flips_kick_once),   ON(all, flips_kick_once),
		ON(one, virtual_access),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
