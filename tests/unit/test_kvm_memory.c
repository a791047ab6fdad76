// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guest RAM without a guest: addresses at every edge, flips that move pages about,
 * and that thousands of them leak neither memory nor mappings. Needs no /dev/kvm.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "vmm/kvm/memory.h"

#define MIB (1ull << 20)

static struct memory mem;

static int setup(void **state)
{
	(void)state;
	return memory_init(&mem, 16 * MIB, NULL);
}

static int teardown(void **state)
{
	(void)state;
	memory_done(&mem);
	return 0;
}

static void edges(void **state)
{
	uint8_t buf[64] = { 1 };

	(void)state;
	assert_int_equal(memory_write(&mem, 16 * MIB - 64, buf, 64), 0);
	assert_int_equal(memory_write(&mem, 16 * MIB - 63, buf, 64), -EFAULT);
	assert_int_equal(memory_read(&mem, 16 * MIB, buf, 1), -EFAULT);
	assert_int_equal(memory_read(&mem, MEMORY_HIGH_START, buf, 1), -EFAULT);
	assert_int_equal(memory_read(&mem, UINT64_MAX, buf, 2), -EFAULT);
	assert_int_equal(memory_read(&mem, UINT64_MAX - 1, buf, 64), -EFAULT);
	assert_int_equal(memory_read(&mem, 0, buf, (size_t)1 << 62), -EFAULT);
	assert_null(memory_at(&mem, 16 * MIB - 4, 8));
	assert_non_null(memory_at(&mem, 16 * MIB - 4, 4));
}

/* A guest counts with its own locked instructions, we with ours: none is lost, also where the page was flipped away. */
static void *count_up(void *arg)
{
	_Atomic uint32_t *word = arg;

	for (int i = 0; i < 50000; i++)
		atomic_fetch_add(word, 1);
	return NULL;
}

static void exchange(void **state)
{
	const uint8_t byte = 0x5a;
	const struct backend_flip f = { .gpa = 0x5000, .len = 1, .bytes = &byte };
	uint32_t now = 7;
	pthread_t guest;

	(void)state;
	assert_int_equal(memory_exchange(&mem, 0x5ff2, 0, 1), -EFAULT);
	assert_int_equal(memory_exchange(&mem, 16 * MIB, 0, 1), -EFAULT);
	memory_write(&mem, 0x5ff0, &now, 4);
	assert_int_equal(memory_exchange(&mem, 0x5ff0, 0, 1), 0);
	assert_int_equal(memory_exchange(&mem, 0x5ff0, 7, 0), 1);
	assert_int_equal(memory_flip(&mem, &f, 1, NULL), 0);
	assert_int_equal(pthread_create(&guest, NULL, count_up, mem.slots + 0x5ff0), 0);
	for (int done = 0; done < 50000;) {
		memory_read(&mem, 0x5ff0, &now, 4);
		done += memory_exchange(&mem, 0x5ff0, now, now + 1);
	}
	pthread_join(guest, NULL);
	memory_read(&mem, 0x5ff0, &now, 4);
	assert_int_equal(now, 100000);
}

/* RAM above 4 GiB follows the low part in the file, with no gap. */
static void high_part(void **state)
{
	struct memory big;
	uint32_t v = 0x12345678, got = 0;

	(void)state;
	assert_int_equal(memory_init(&big, MEMORY_LOW_MAX + 8 * MIB, NULL), 0);
	assert_int_equal(memory_write(&big, MEMORY_HIGH_START + 8 * MIB - 4, &v, 4), 0);
	assert_int_equal(memory_read(&big, MEMORY_HIGH_START + 8 * MIB - 4, &got, 4), 0);
	assert_int_equal(got, v);
	assert_int_equal(memory_read(&big, MEMORY_HIGH_START + 8 * MIB - 3, &got, 4), -EFAULT);
	assert_int_equal(memory_read(&big, MEMORY_LOW_MAX - 2, &got, 4), -EFAULT); /* into the device hole */
	memory_done(&big);
}

/* What KVM would see. */
static uint8_t slot_byte(uint64_t gpa)
{
	return ((volatile uint8_t *)mem.slots)[gpa];
}

static void flip_one(void **state)
{
	const uint8_t new[] = { 0xaa, 0xbb };
	const struct backend_flip f = { .gpa = 0x5ffe, .len = 2, .bytes = new };
	uint8_t page[PAGE_SIZE], got[PAGE_SIZE];

	(void)state;
	memset(page, 0x11, sizeof(page));
	memory_write(&mem, 0x5000, page, sizeof(page));
	assert_int_equal(memory_flip(&mem, &f, 1, NULL), 0);
	memcpy(page + 0xffe, new, 2);
	memory_read(&mem, 0x5000, got, sizeof(got));
	assert_memory_equal(got, page, sizeof(page));
	assert_int_equal(slot_byte(0x5ffe), 0xaa);
	assert_int_equal(slot_byte(0x5000), 0x11);
	/* A write lands where KVM looks now. */
	memory_write(&mem, 0x5001, "z", 1);
	assert_int_equal(slot_byte(0x5001), 'z');
	assert_non_null(memory_at(&mem, 0x5000, PAGE_SIZE));
	assert_null(memory_at(&mem, 0x5ff0, 32)); /* the next page is not behind it in the file any more */
}

static void flip_refusals(void **state)
{
	const uint8_t b[8] = { 0 };
	struct err e = { 0 };
	struct backend_flip f = { .gpa = 0x5ffe, .len = 3, .bytes = b };

	(void)state;
	assert_int_equal(memory_flip(&mem, &f, 1, &e), -EFAULT); /* crosses a page */
	f = (struct backend_flip){ .gpa = 16 * MIB, .len = 1, .bytes = b };
	assert_int_equal(memory_flip(&mem, &f, 1, &e), -EFAULT);
	f = (struct backend_flip){ .gpa = 0, .len = 0, .bytes = b };
	assert_int_equal(memory_flip(&mem, &f, 1, &e), -EFAULT);
	assert_int_equal(memory_flip(&mem, &f, 0, &e), -EINVAL);
}

/* Pages between the touched ones keep what is in them, and stay writable afterwards. */
static void flip_with_a_gap(void **state)
{
	const uint8_t a = 1, b = 2;
	const struct backend_flip f[] = { { 0x9000, 1, &a }, { 0xd000, 1, &b } };

	(void)state;
	memory_write(&mem, 0xb123, "q", 1);
	assert_int_equal(memory_flip(&mem, f, 2, NULL), 0);
	assert_int_equal(slot_byte(0x9000), 1);
	assert_int_equal(slot_byte(0xd000), 2);
	assert_int_equal(slot_byte(0xb123), 'q');
	mem.slots[0xb124] = 'r'; /* SIGSEGV if it were still frozen */
	assert_int_equal(memory_at(&mem, 0xb124, 1)[0], 'r');
}

static unsigned count_mappings(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];
	unsigned n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n += !!strstr(line, "vmpoke-guest");
	fclose(f);
	return n;
}

static blkcnt_t blocks(void)
{
	struct stat st;

	assert_int_equal(fstat(mem.fd, &st), 0);
	return st.st_blocks;
}

/* Ranges of 1 to 8 pages all over 2 MiB, overlapping, checked against a plain copy of what memory should hold. */
static void many_flips(void **state)
{
	enum { AREA = 512 * PAGE_SIZE, ROUNDS = 10000 };
	uint8_t *model = calloc(1, AREA), *got = malloc(AREA);
	uint32_t seed = 12345;

	(void)state;
	for (int i = 0; i < ROUNDS; i++) {
		seed = seed * 1103515245 + 12345;
		uint64_t page = (seed >> 16) % 504, n = 1 + (seed >> 8) % 8;
		uint8_t value = (uint8_t)i;
		const struct backend_flip f[] = { { page * PAGE_SIZE + 7, 1, &value },
						  { (page + n - 1) * PAGE_SIZE + 9, 1, &value } };
		assert_int_equal(memory_flip(&mem, f, 2, NULL), 0);
		model[f[0].gpa] = model[f[1].gpa] = value;
		uint64_t other = (seed >> 4) % AREA;
		memory_write(&mem, other, &value, 1);
		model[other] = value;
	}
	assert_int_equal(memory_read(&mem, 0, got, AREA), 0);
	assert_memory_equal(got, model, AREA);
	assert_memory_equal(mem.slots, model, AREA);
	assert_true(count_mappings() <= 512 + 2);
	/* In use, plus spares: 512 pages each at most, 8 blocks of 512 bytes per page. */
	assert_true(blocks() <= (512 + 512 + 8) * 8);
	free(model);
	free(got);
}

/* The same range again and again: it goes from one shadow to another, its home waits as a spare. */
static void same_range(void **state)
{
	uint8_t v = 0;
	const struct backend_flip f = { 0x123456, 1, &v };

	(void)state;
	for (int i = 0; i < 10000; i++) {
		v = (uint8_t)i;
		assert_int_equal(memory_flip(&mem, &f, 1, NULL), 0);
		assert_int_equal(slot_byte(f.gpa), v);
	}
	assert_int_equal(mem.breaks, 2);
	assert_int_equal(count_mappings(), 4); /* before, the range, behind, and the alias */
	assert_true(blocks() <= 3 * 8);
}

/* Every page of the guest in turn: the mapping never falls into more pieces than it may, and what is counted is so. */
static void every_page(void **state)
{
	unsigned most = 0;

	(void)state;
	for (uint32_t i = 0; i < 10000; i++) {
		uint8_t v = (uint8_t)i;
		const struct backend_flip f = { (uint64_t)(i * 2654435761u >> 20) * PAGE_SIZE, 1, &v };

		assert_int_equal(memory_flip(&mem, &f, 1, NULL), 0);
		assert_int_equal(slot_byte(f.gpa), v);
		most = i % 500 || count_mappings() < most ? most : count_mappings();
	}
	size_t away = 0, breaks = 0;
	for (size_t i = 0; i < mem.pages; i++) {
		away += mem.map[i] >= mem.pages;
		breaks += i && mem.map[i - 1] + 1 != mem.map[i];
	}
	assert_int_equal(mem.away, away);
	assert_int_equal(mem.breaks, breaks);
	assert_true(most > 200 && most <= 300); /* it did come to the limit */
	assert_true(blocks() <= (blkcnt_t)(mem.pages + 1024) * 8);
}

static void huge_pages(void **state)
{
	const uint8_t b = 1;
	const struct backend_flip f = { 0x9000, 1, &b };
	struct memory huge;
	struct err e = { 0 };
	uint32_t v = 0x12345678, got = 0;
	int r = memory_init_huge(&huge, 2 * MEMORY_HUGE_PAGE, &e);

	(void)state;
	if (r < 0) {
		assert_int_equal(r, -ENOMEM);
		memory_done(&huge);
		print_message("skipped: %s\n", e.text);
		skip();
	}
	assert_int_equal(memory_write(&huge, MEMORY_HUGE_PAGE - 2, &v, 4), 0);
	assert_int_equal(memory_read(&huge, MEMORY_HUGE_PAGE - 2, &got, 4), 0);
	assert_int_equal(got, v);
	assert_int_equal(huge.slots[MEMORY_HUGE_PAGE - 2], 0x78);
	assert_int_equal(memory_flip(&huge, &f, 1, &e), -ENOSPC);
	assert_int_equal(huge.slots[0x9000], 0);
	memory_done(&huge);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(edges, setup, teardown),
		cmocka_unit_test_setup_teardown(exchange, setup, teardown),
		cmocka_unit_test_setup_teardown(high_part, setup, teardown),
		cmocka_unit_test(huge_pages),
		cmocka_unit_test_setup_teardown(flip_one, setup, teardown),
		cmocka_unit_test_setup_teardown(flip_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(flip_with_a_gap, setup, teardown),
		cmocka_unit_test_setup_teardown(many_flips, setup, teardown),
		cmocka_unit_test_setup_teardown(same_range, setup, teardown),
		cmocka_unit_test_setup_teardown(every_page, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
