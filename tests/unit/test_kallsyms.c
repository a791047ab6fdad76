// SPDX-License-Identifier: GPL-2.0-or-later
/* Finding the symbol tables in each layout, and refusing every damaged one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake/guest_image.h"
#include "vmm/guest/kallsyms.h"

static struct guest_image *image(enum image_layout layout, size_t fillers)
{
	struct guest_image *m = malloc(sizeof(*m));

	assert_non_null(m);
	guest_image_build(m, &(struct guest_image_options){ .layout = layout, .fillers = fillers });
	return m;
}

static int probe(struct guest_image *m, struct guest **ret)
{
	struct err e = { 0 };

	return guest_probe(&m->mem, m->regs, IMAGE_CPUS, ret, &e);
}

/* Every symbol as the image was built: in order, right address, type and name. */
static void check_all(const struct guest *g, size_t fillers)
{
	struct guest_symbol_cursor c = { 0 };
	struct guest_symbol s, by_index;
	size_t n = 0, seen = 0;
	uint64_t last = 0;

	for (; guest_symbol_next(g, &c, &s) > 0; n++) {
		unsigned long i;
		assert_true(s.addr >= last);
		last = s.addr;
		assert_int_equal(guest_symbol_get(g, n, &by_index), 0);
		assert_string_equal(by_index.name, s.name);
		assert_true(by_index.addr == s.addr && by_index.type == s.type);
		struct guest_symbol_cursor there;
		assert_int_equal(guest_symbol_seek(g, n, &there), 0);
		assert_int_equal(guest_symbol_next(g, &there, &by_index), 1);
		assert_string_equal(by_index.name, s.name);
		assert_memory_equal(&there, &c, sizeof(c));
		if (sscanf(s.name, "filler_%lu", &i) == 1) {
			assert_true(s.addr == IMAGE_BASE + 0xa00 + i % 0x500);
			assert_int_equal(s.type, 't');
			seen++;
		}
	}
	assert_int_equal(n, guest_facts(g)->symbols);
	assert_int_equal(seen, fillers);
	assert_int_equal(guest_symbol_get(g, n, &s), -ERANGE);
	assert_int_equal(guest_symbol_seek(g, n, &c), -ERANGE);
}

static void test_layouts(void **state)
{
	static const char *const names[] = { "6.1", "6.1 without seqs", "6.4+" };

	(void)state;
	for (size_t fillers = 0; fillers <= 600; fillers += 200) /* up to three markers */
		for (int layout = IMAGE_61; layout <= IMAGE_64; layout++) {
			_cleanup_free_ struct guest_image *m = image((enum image_layout)layout, fillers);
			_cleanup_(guest_free) struct guest *g = NULL;
			assert_int_equal(probe(m, &g), 0);
			assert_string_equal(guest_facts(g)->kallsyms_layout, names[layout]);
			check_all(g, fillers);
		}
}

/* One damage each; the tables no longer hold together and must not be found. */
static void test_damaged(void **state)
{
	(void)state;
	for (int layout = IMAGE_61; layout <= IMAGE_64; layout++)
		for (int i = 0; i < 9; i++) {
			_cleanup_free_ struct guest_image *m = image((enum image_layout)layout, 300);
			_cleanup_(guest_free) struct guest *g = NULL;
			switch (i) {
			case 0:
				guest_image_put32(m, m->num_syms, 0xffffffff);
				break;
			case 1:
				guest_image_put32(m, m->num_syms, 1u << 20);
				break;
			case 2:
				guest_image_put32(m, m->num_syms, 299);
				break;
			case 3:
				guest_image_put32(m, m->num_syms, 0);
				break;
			case 4:
				*guest_image_at(m, m->names) = 0xff;
				break; /* two-byte length, far too long */
			case 5:
				*guest_image_at(m, m->names) += 1;
				break;
			case 6:
				*guest_image_at(m, m->markers + 4) ^= 1;
				break;
			case 7:
				*guest_image_at(m, m->token_table) = 'x';
				break; /* strings no longer match their index */
			case 8:
				guest_image_put64(m, m->relative_base, IMAGE_BASE + 0x200000);
				break; /* _text elsewhere */
			}
			assert_int_equal(probe(m, &g), -ENOENT);
			assert_null(g);
		}
}

/* Other digits before the real table are no token table; the search goes on. */
static void test_decoy(void **state)
{
	static const char digits[] = "0\0001\0002\0003\0004\0005\0006\0007\0008\0009";
	_cleanup_free_ struct guest_image *m = image(IMAGE_61, 20);
	_cleanup_(guest_free) struct guest *g = NULL;

	(void)state;
	assert_true(m->banner + 80 < m->notes);
	memcpy(guest_image_at(m, m->banner + 48), digits, sizeof(digits));
	assert_int_equal(probe(m, &g), 0);
	check_all(g, 20);
}

/* A two-byte length, as 6.1 has it for names longer than 127 tokens; and how long names are cut. */
static void test_long_names(void **state)
{
	struct kallsyms k = { .n = 1, .names_len = 302, .names = calloc(302, 1) };
	char name[GUEST_SYMBOL_MAX], cut[8], type;
	size_t next;

	(void)state;
	assert_non_null(k.names);
	k.token_index[1] = 0;
	memcpy(k.tokens, "Tab", 4);
	memcpy(k.tokens + 4, "yz", 3);
	k.token_index[2] = 4;
	k.names[0] = 0x80 | (300 & 0x7f);
	k.names[1] = 300 >> 7;
	k.names[2] = 1;
	memset(k.names + 3, 2, 299);
	assert_int_equal(kallsyms_expand(&k, 0, &type, name, sizeof(name)), 302);
	assert_int_equal(type, 'T');
	assert_int_equal(strlen(name), sizeof(name) - 1); /* 600 characters cut to 511 */
	assert_memory_equal(name, "abyzyz", 6);
	assert_int_equal(kallsyms_expand(&k, 0, &type, cut, sizeof(cut)), 302);
	assert_string_equal(cut, "abyzyzy");
	assert_false(kallsyms_named(&k, 0, "abyzyz", &type, &next));
	assert_int_equal(next, 302);
	k.names_len = 301; /* one byte short */
	const uint8_t *tokens;
	assert_int_equal(kallsyms_entry(k.names, k.names_len, 0, &tokens, &next), 0);
	assert_int_equal(kallsyms_entry(k.names, 1, 0, &tokens, &next), 0);
	free(k.names);
}

static void test_odd_bytes_are_not_passed_on(void **state)
{
	struct kallsyms k = { .n = 1, .names_len = 2, .names = (uint8_t[]){ 1, 0 } };
	char name[16], type;

	(void)state;
	memcpy(k.tokens, "ta\033[m \x80", 8);
	kallsyms_expand(&k, 0, &type, name, sizeof(name));
	assert_string_equal(name, "a?[m??");
}

static void test_addresses(void **state)
{
	struct kallsyms k = { .n = 3,
			      .relative_base = 0xffffffff81000000ull,
			      .offsets = (int32_t[]){ 0x1000, -1, -0x201 },
			      .absolute_percpu = true };

	(void)state;
	assert_true(kallsyms_address(&k, 0) == 0x1000);
	assert_false(kallsyms_is_address(&k, 0));
	assert_true(kallsyms_address(&k, 1) == 0xffffffff81000000ull);
	assert_true(kallsyms_address(&k, 2) == 0xffffffff81000200ull);
	assert_true(kallsyms_is_address(&k, 2));
	k.absolute_percpu = false;
	assert_true(kallsyms_address(&k, 0) == 0xffffffff81001000ull);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layouts),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_decoy),
		cmocka_unit_test(test_long_names),
		cmocka_unit_test(test_odd_bytes_are_not_passed_on),
		cmocka_unit_test(test_addresses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
