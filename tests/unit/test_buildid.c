// SPDX-License-Identifier: GPL-2.0-or-later
/* ELF notes: where the build-id is found, and every way a block can be malformed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "vmm/guest/internal.h"

struct block {
	uint8_t bytes[256];
	size_t len;
};

static void note(struct block *b, const char *name, uint32_t namesz, uint32_t type, uint32_t descsz, uint8_t fill)
{
	const Elf64_Nhdr h = { namesz, descsz, type };

	memcpy(b->bytes + b->len, &h, sizeof(h));
	b->len += sizeof(h);
	memcpy(b->bytes + b->len, name, strlen(name));
	b->len += (namesz + 3) & ~3u;
	memset(b->bytes + b->len, fill, descsz);
	b->len += (descsz + 3) & ~3u;
}

static void test_found_behind_others(void **state)
{
	struct block b = { 0 };
	uint8_t id[20], want[20];

	(void)state;
	note(&b, "Linux", 6, 256, 7, 1);
	note(&b, "GNU", 4, 1, 16, 2); /* another type of the same owner */
	note(&b, "GNU", 4, NT_GNU_BUILD_ID, 20, 0xab);
	memset(want, 0xab, sizeof(want));
	assert_int_equal(buildid_parse(b.bytes, b.len, id), 0);
	assert_memory_equal(id, want, sizeof(want));
}

static void test_absent(void **state)
{
	struct block b = { 0 };
	uint8_t id[20];

	(void)state;
	assert_int_equal(buildid_parse(b.bytes, 0, id), -ENOENT);
	note(&b, "Linux", 6, 256, 4, 1);
	assert_int_equal(buildid_parse(b.bytes, b.len, id), -ENOENT);
	assert_int_equal(buildid_parse(b.bytes, 11, id), -ENOENT); /* no room for a header */
}

static void test_wrong_length(void **state)
{
	struct block b = { 0 };
	uint8_t id[20];

	(void)state;
	note(&b, "GNU", 4, NT_GNU_BUILD_ID, 16, 0xab);
	assert_int_equal(buildid_parse(b.bytes, b.len, id), -EBADMSG);
}

static void test_lengths_beyond_the_block(void **state)
{
	static const uint32_t bad[] = { 0xffffffff, 0xfffffffd, 0x80000000, 64 };
	uint8_t id[20];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		for (int field = 0; field < 2; field++) {
			struct block b = { 0 };
			note(&b, "GNU", 4, NT_GNU_BUILD_ID, 20, 0xab);
			memcpy(b.bytes + 4 * field, &bad[i], 4);
			assert_int_equal(buildid_parse(b.bytes, b.len, id), -EBADMSG);
		}
}

static void test_every_cut(void **state)
{
	struct block b = { 0 };
	uint8_t id[20];

	(void)state;
	note(&b, "GNU", 4, NT_GNU_BUILD_ID, 20, 0xab);
	for (size_t len = 0; len < b.len; len++) {
		uint8_t *exact = malloc(len + 1); /* so that ASan sees a read beyond len */
		uint8_t *start = exact + 1;
		memcpy(start, b.bytes, len);
		assert_true(buildid_parse(start, len, id) < 0);
		free(exact);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found_behind_others), cmocka_unit_test(test_absent),
		cmocka_unit_test(test_wrong_length),	    cmocka_unit_test(test_lengths_beyond_the_block),
		cmocka_unit_test(test_every_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
