// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The kinds that change what the guest keeps data of, static_key and static_call: what they
 * want is what the kernel would write, and nothing where they cannot tell. And immediate.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake/guest_image.h"
#include "vmm/kind/kind.h"

#define AT(offset) (IMAGE_BASE + (offset))
#define KEYS	   AT(0x900)
#define CALLS	   AT(0x960)
#define KEY	   AT(0xe00)
#define CALL_KEY   AT(0xe40)
#define NULL_KEY   AT(0xe60)
#define TRAMP	   AT(0xc00)
#define NULL_TRAMP AT(0xc10)
#define RET0	   AT(0xc20)
#define FUNC	   AT(0xc40)
#define OTHER	   AT(0xc60)

static const struct guest_image_symbol symbols[] = {
	{ KEYS, "__start___jump_table" },
	{ KEYS + 4 * 16, "__stop___jump_table" },
	{ CALLS, "__start_static_call_sites" },
	{ CALLS + 5 * 8, "__stop_static_call_sites" },
	{ KEY, "my_key" },
	{ CALL_KEY, "__SCK__my_call" },
	{ NULL_KEY, "__SCK__nothing" },
	{ TRAMP, "__SCT__my_call" },
	{ NULL_TRAMP, "__SCT__nothing" },
	{ RET0, "__static_call_return0" },
	{ FUNC, "my_func" },
	{ OTHER, "my_other" },
	{ AT(0xc80), "behind" },
	{ AT(0xf00), "modules" }, /* a list whose one entry leads nowhere */
};

struct fixture {
	struct guest_image image;
	struct guest *g;
	struct want_list list;
	struct err e;
};

static void text(struct fixture *f, uint64_t at, const char *hex)
{
	uint8_t bytes[16];
	ssize_t n = hex_decode(hex, bytes, sizeof(bytes));

	assert_true(n > 0);
	memcpy(guest_image_at(&f->image, at), bytes, (size_t)n);
}

static void put_key(struct fixture *f, size_t i, uint64_t code, uint64_t target, unsigned flags)
{
	uint64_t at = KEYS + 16 * i;

	guest_image_put32(&f->image, at, (uint32_t)(code - at));
	guest_image_put32(&f->image, at + 4, (uint32_t)(target - (at + 4)));
	guest_image_put64(&f->image, at + 8, (KEY - (at + 8)) | flags);
}

static void put_call(struct fixture *f, size_t i, uint64_t code, uint64_t key, unsigned flags)
{
	uint64_t at = CALLS + 8 * i;

	guest_image_put32(&f->image, at, (uint32_t)(code - at));
	guest_image_put32(&f->image, at + 4, (uint32_t)(key + flags - (at + 4)));
}

/* A key that is off: a NOP of 5, one of 2 bytes, a jump that is taken while it is off, and one of the boot. */
static void make_key(struct fixture *f)
{
	text(f, AT(0x200), "0f1f440000");
	text(f, AT(0x210), "6690");
	text(f, AT(0x220), "e90b000000");
	put_key(f, 0, AT(0x200), AT(0x230), 0);
	put_key(f, 1, AT(0x210), AT(0x230), 0);
	put_key(f, 2, AT(0x220), AT(0x230), 1);
	put_key(f, 3, AT(0x238), AT(0x230), 2);
	guest_image_put64(&f->image, KEY, 0);
	guest_image_put64(&f->image, KEY + 8, KEYS);
}

/* A call of FUNC: a call, a tail, a conditional tail, one of the boot; and a call of nothing elsewhere. */
static void make_call(struct fixture *f)
{
	text(f, AT(0x240), "e8fb090000");
	text(f, AT(0x250), "e9eb090000");
	text(f, AT(0x260), "0f84da090000");
	text(f, TRAMP, "e93b000000 0fb9cc");
	text(f, NULL_TRAMP, "c3cccccccc 0fb9cc");
	put_call(f, 0, AT(0x240), CALL_KEY, 0);
	put_call(f, 1, AT(0x250), CALL_KEY, 1);
	put_call(f, 2, AT(0x260), CALL_KEY, 1);
	put_call(f, 3, AT(0x270), CALL_KEY, 2);
	put_call(f, 4, AT(0x280), NULL_KEY, 0);
	guest_image_put64(&f->image, CALL_KEY, FUNC);
	guest_image_put64(&f->image, CALL_KEY + 8, CALLS | GUEST_CALL_SITES);
	guest_image_put64(&f->image, NULL_KEY, 0);
	guest_image_put64(&f->image, NULL_KEY + 8, (CALLS + 32) | GUEST_CALL_SITES);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	*state = f;
	guest_image_build(&f->image,
			  &(struct guest_image_options){ .extra = symbols, .n_extra = ARRAY_SIZE(symbols) });
	memset(guest_image_at(&f->image, KEYS), 0, 0x600);
	make_key(f);
	make_call(f);
	return guest_probe(&f->image.mem, f->image.regs, IMAGE_CPUS, &f->g, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	guest_free(f->g);
	want_list_clear(&f->list);
	free(f);
	return 0;
}

static int expand(struct fixture *f, enum patch_kind kind, const char *at, bool enable, const char *to)
{
	struct kind_context ctx = { .arch = &arch_x86_64, .guest = f->g };
	struct patchfile_site s = { .kind = kind, .line = 3, .enable = enable };

	want_list_clear(&f->list);
	f->e = (struct err){ 0 };
	assert_int_equal(patch_place_parse(at, &s.at), 0);
	assert_int_equal(patch_place_parse(to ? to : "x", &s.to), 0);
	return kind_expand(&ctx, &s, &f->list, &f->e);
}

static void expands(struct fixture *f, enum patch_kind kind, const char *at, bool enable, const char *to, size_t n)
{
	if (expand(f, kind, at, enable, to) < 0)
		fail_msg("refused: %s", f->e.text);
	assert_int_equal(f->list.n, n);
}

static void refuses(struct fixture *f, enum patch_kind kind, const char *at, bool enable, const char *to, int error,
		    const char *rule)
{
	assert_int_equal(expand(f, kind, at, enable, to), -error);
	assert_string_equal(f->e.rule, rule);
	assert_non_null(strstr(f->e.text, "line 3"));
	assert_int_equal(f->list.n, 0);
}

/* The state of the key, and the pointer behind it that stays. */
static void holds_state(const struct fixture *f, uint8_t from, uint8_t to)
{
	const struct plan_want *w = &f->list.wants[0];
	const uint64_t expected[] = { from, KEYS }, become[] = { to, KEYS };

	assert_true(w->gva == KEY && w->len == sizeof(expected) && w->data && w->has_expected);
	assert_memory_equal(w->expected, expected, sizeof(expected));
	assert_memory_equal(w->new_bytes, become, sizeof(become));
}

static void holds(const struct fixture *f, size_t i, uint64_t gva, const char *from, const char *to)
{
	const struct plan_want *w = &f->list.wants[i];
	uint8_t bytes[16];
	ssize_t n = hex_decode(from, bytes, sizeof(bytes));

	assert_true(w->gva == gva && w->len == n && w->has_expected);
	assert_memory_equal(w->expected, bytes, w->len);
	assert_int_equal(hex_decode(to, bytes, sizeof(bytes)), n);
	assert_memory_equal(w->new_bytes, bytes, w->len);
}

/* And is a plan, whose sites are the wants that differ. */
static void plans(struct fixture *f, size_t n_sites)
{
	struct poke_plan *p = NULL;

	if (plan_build(&arch_x86_64, BACKEND_REMAP | BACKEND_NONSTOP, f->list.wants, f->list.n, &p, &f->e) < 0)
		fail_msg("refused: %s", f->e.text);
	assert_int_equal(p->n_sites, n_sites);
	assert_true(!n_sites || p->mode == POKE_MODE_STOPPED);
	plan_free(p);
}

static void key_enabled(void **state)
{
	struct fixture *f = *state;

	expands(f, PATCH_KIND_STATIC_KEY, "my_key", true, NULL, 4);
	holds_state(f, 0, 1);
	holds(f, 1, AT(0x200), "0f1f440000", "e92b000000");
	holds(f, 2, AT(0x210), "6690", "eb1e");
	holds(f, 3, AT(0x220), "e90b000000", "0f1f440000");
	assert_true(f->list.wants[0].data && !f->list.wants[1].data && f->list.wants[1].new_is_code);
	assert_string_equal(f->list.wants[0].label, "my_key");
	plans(f, 4);
	expands(f, PATCH_KIND_STATIC_KEY, "my_key", false, NULL, 4);
	plans(f, 0);
}

static void key_disabled(void **state)
{
	struct fixture *f = *state;

	guest_image_put32(&f->image, KEY, 1);
	text(f, AT(0x200), "e92b000000");
	text(f, AT(0x210), "eb1e");
	text(f, AT(0x220), "0f1f440000");
	expands(f, PATCH_KIND_STATIC_KEY, "my_key", false, NULL, 4);
	holds_state(f, 1, 0);
	holds(f, 1, AT(0x200), "e92b000000", "0f1f440000");
	plans(f, 4);
}

static void key_refusals(void **state)
{
	struct fixture *f = *state;
	struct poke_plan *p = NULL;

	refuses(f, PATCH_KIND_STATIC_KEY, "my_func", true, NULL, ENOENT, "not-key");
	refuses(f, PATCH_KIND_STATIC_KEY, "nix", true, NULL, ENOENT, "unknown-symbol");
	guest_image_put32(&f->image, KEY, 2);
	refuses(f, PATCH_KIND_STATIC_KEY, "my_key", false, NULL, EBUSY, "key-count");
	guest_image_put32(&f->image, KEY, 0xffffffff);
	refuses(f, PATCH_KIND_STATIC_KEY, "my_key", false, NULL, EBUSY, "guest-poking");
	guest_image_put32(&f->image, KEY, 0);
	guest_image_put64(&f->image, KEY + 8, KEYS | GUEST_KEY_LINKED);
	refuses(f, PATCH_KIND_STATIC_KEY, "my_key", true, NULL, EOPNOTSUPP, "modules");
	guest_image_put64(&f->image, KEY + 8, KEYS);
	text(f, AT(0x210), "cc90");
	refuses(f, PATCH_KIND_STATIC_KEY, "my_key", true, NULL, EBUSY, "kprobe");
	text(f, AT(0x210), "0f1f00");
	refuses(f, PATCH_KIND_STATIC_KEY, "my_key", true, NULL, ESTALE, "old-bytes");
	text(f, AT(0x210), "6690");
	put_key(f, 1, AT(0x210), AT(0x800), 0); /* too far for two bytes */
	refuses(f, PATCH_KIND_STATIC_KEY, "my_key", true, NULL, ERANGE, "range");
	put_key(f, 1, IMAGE_ETEXT + 0x10, AT(0x230), 0);
	refuses(f, PATCH_KIND_STATIC_KEY, "my_key", true, NULL, EFAULT, "not-text");
	/* One that is on although its key is off: the plan sees it. */
	put_key(f, 1, AT(0x210), AT(0x230), 0);
	text(f, AT(0x200), "e92b000000");
	text(f, AT(0x220), "e90c000000");
	expands(f, PATCH_KIND_STATIC_KEY, "my_key", true, NULL, 4);
	assert_int_equal(plan_build(&arch_x86_64, 0, f->list.wants, f->list.n, &p, &f->e), -ESTALE);
	assert_string_equal(f->e.rule, "old-bytes");
}

static void call_moves(void **state)
{
	struct fixture *f = *state;

	expands(f, PATCH_KIND_STATIC_CALL, "my_call", false, "my_other", 5);
	assert_true(f->list.wants[0].gva == CALL_KEY && f->list.wants[0].data && f->list.wants[0].len == 16);
	holds(f, 1, TRAMP, "e93b000000", "e95b000000");
	holds(f, 2, AT(0x240), "e8fb090000", "e81b0a0000");
	holds(f, 3, AT(0x250), "e9eb090000", "e90b0a0000");
	holds(f, 4, AT(0x260), "0f84da090000", "0f84fa090000");
	plans(f, 5);
	expands(f, PATCH_KIND_STATIC_CALL, "__SCK__my_call", false, "my_func", 5);
	plans(f, 0);
}

static void call_of_nothing(void **state)
{
	struct fixture *f = *state;

	expands(f, PATCH_KIND_STATIC_CALL, "my_call", false, "ret0", 5);
	holds(f, 1, TRAMP, "e93b000000", "e91b000000");
	holds(f, 2, AT(0x240), "e8fb090000", "2e2e2e31c0");
	holds(f, 3, AT(0x250), "e9eb090000", "e9cb090000");
	plans(f, 5);

	/* Without __static_call_return a conditional tail cannot become one; without that tail all is known. */
	refuses(f, PATCH_KIND_STATIC_CALL, "my_call", false, "null", ERANGE, "range");
	put_call(f, 2, AT(0x270), CALL_KEY, 3);
	expands(f, PATCH_KIND_STATIC_CALL, "my_call", false, "null", 4);
	holds(f, 1, TRAMP, "e93b000000", "c3cccccccc");
	holds(f, 2, AT(0x240), "e8fb090000", "0f1f440000");
	holds(f, 3, AT(0x250), "e9eb090000", "c3cccccccc");
	plans(f, 4);

	text(f, NULL_TRAMP, "e94b000000"); /* this kernel returns through what is at OTHER */
	expands(f, PATCH_KIND_STATIC_CALL, "my_call", false, "null", 4);
	holds(f, 1, TRAMP, "e93b000000", "e95b000000");
	holds(f, 3, AT(0x250), "e9eb090000", "e90b0a0000");
	guest_image_put64(&f->image, NULL_KEY, FUNC); /* no call of nothing to learn it from */
	refuses(f, PATCH_KIND_STATIC_CALL, "my_call", false, "null", ERANGE, "range");
}

static void call_refusals(void **state)
{
	struct fixture *f = *state;
	struct poke_plan *p = NULL;

	refuses(f, PATCH_KIND_STATIC_CALL, "my_key", false, "my_other", ENOENT, "not-key");
	refuses(f, PATCH_KIND_STATIC_CALL, "nix", false, "my_other", ENOENT, "unknown-symbol");
	refuses(f, PATCH_KIND_STATIC_CALL, "my_call", false, "nix", ENOENT, "unknown-symbol");
	refuses(f, PATCH_KIND_STATIC_CALL, "my_call", false, "my_other+0x1", EINVAL, "not-entry");
	guest_image_put64(&f->image, CALL_KEY + 8, CALLS);
	refuses(f, PATCH_KIND_STATIC_CALL, "my_call", false, "my_other", EOPNOTSUPP, "modules");
	guest_image_put64(&f->image, CALL_KEY + 8, CALLS | GUEST_CALL_SITES);
	text(f, AT(0x240), "cc");
	expands(f, PATCH_KIND_STATIC_CALL, "my_call", false, "my_other", 5);
	assert_int_equal(plan_build(&arch_x86_64, 0, f->list.wants, f->list.n, &p, &f->e), -EBUSY);
	assert_string_equal(f->e.rule, "kprobe");
}

/* At the start of my_func. error 0: the want has these bytes. */
static void immediate(struct fixture *f, const char *from, const char *number, int error, const char *to)
{
	struct kind_context ctx = { .arch = &arch_x86_64, .guest = f->g };
	struct patchfile_site s = { .kind = PATCH_KIND_IMMEDIATE, .line = 3 };
	bool negative = number[0] == '-';
	uint64_t v = strtoull(number + negative, NULL, 0);

	want_list_clear(&f->list);
	f->e = (struct err){ 0 };
	assert_int_equal(patch_place_parse("my_func", &s.at), 0);
	s.value = (int64_t)(negative ? -v : v);
	s.value_unsigned = !negative && v > INT64_MAX;
	text(f, FUNC, from);
	assert_int_equal(kind_expand(&ctx, &s, &f->list, &f->e), -error);
	if (error) {
		assert_string_equal(f->e.rule, to);
		return;
	}
	struct plan_want *w = &f->list.wants[0];
	uint8_t bytes[16];
	assert_int_equal(hex_decode(to, bytes, sizeof(bytes)), w->len);
	assert_memory_equal(w->new_bytes, bytes, w->len);
	assert_true(f->list.n == 1 && w->gva == FUNC && w->new_is_code && !w->data);
}

static void immediates(void **state)
{
	struct fixture *f = *state;

	immediate(f, "b863000000", "77", 0, "b84d000000");	       /* mov $99,%eax */
	immediate(f, "b863000000", "4294967295", 0, "b8ffffffff");
	immediate(f, "b863000000", "-1", 0, "b8ffffffff");
	immediate(f, "b863000000", "4294967296", ERANGE, "range");
	immediate(f, "b863000000", "0xffffffffffffffff", ERANGE, "range");
	immediate(f, "48c7c0daffffff", "-1", 0, "48c7c0ffffffff");     /* mov $-38,%rax: sign-extended */
	immediate(f, "48c7c0daffffff", "0x80000000", ERANGE, "range");
	immediate(f, "b063", "255", 0, "b0ff");			       /* mov $99,%al */
	immediate(f, "b063", "256", ERANGE, "range");
	immediate(f, "66b86300", "-32768", 0, "66b80080");	       /* mov $99,%ax */
	immediate(f, "48b86300000000000000", "0xffffffffffffffff", 0, "48b8ffffffffffffffff");
	immediate(f, "c744240401000000", "2", 0, "c744240402000000"); /* movl $1,4(%rsp) */
	immediate(f, "83c001", "2", EINVAL, "not-immediate");	       /* add $1,%eax */
	immediate(f, "89c0", "2", EINVAL, "not-immediate");	       /* mov %eax,%eax */
	immediate(f, "e863000000", "2", EINVAL, "not-immediate");
	immediate(f, "cc63000000", "99", EBUSY, "kprobe");	       /* also where nothing would change */
	immediate(f, "b863000000", "99", 0, "b863000000");
	plans(f, 0);
}

/* Keys of arm64 are jumps and NOPs of one word each. */
static void key_of_words(void **state)
{
	struct fixture *f = *state;
	struct kind_context ctx = { .arch = &arch_arm64, .guest = f->g };
	struct patchfile_site site = { .kind = PATCH_KIND_STATIC_KEY, .line = 7, .enable = true };

	text(f, AT(0x200), "1f2003d5");
	text(f, AT(0x210), "1f2003d5");
	text(f, AT(0x220), "04000014");
	snprintf(site.at.symbol, sizeof(site.at.symbol), "my_key");
	if (kind_expand(&ctx, &site, &f->list, &f->e) < 0)
		fail_msg("refused: %s", f->e.text);
	assert_int_equal(f->list.n, 4);
	holds_state(f, 0, 1);
	holds(f, 1, AT(0x200), "1f2003d5", "0c000014");
	holds(f, 2, AT(0x210), "1f2003d5", "08000014");
	holds(f, 3, AT(0x220), "04000014", "1f2003d5");
	want_list_clear(&f->list);
	text(f, AT(0x210), "800020d4"); /* BRK #4 */
	assert_int_equal(kind_expand(&ctx, &site, &f->list, &f->e), -EBUSY);
	assert_string_equal(f->e.rule, "kprobe");
}

/* arm64 has none of these, and says so before it looks at anything. */
static void other_architecture(void **state)
{
	struct fixture *f = *state;
	struct kind_context ctx = { .arch = &arch_arm64, .guest = f->g };
	struct patchfile_site site = { .line = 7 };

	site.kind = PATCH_KIND_IMMEDIATE;
	snprintf(site.at.symbol, sizeof(site.at.symbol), "my_func");
	text(f, FUNC, "1f2003d51f2003d5");
	assert_int_equal(kind_expand(&ctx, &site, &f->list, &f->e), -EOPNOTSUPP);
	assert_string_equal(f->e.rule, "arch");
	site.kind = PATCH_KIND_FUNCTION;
	assert_int_equal(kind_expand(&ctx, &site, &f->list, &f->e), -EOPNOTSUPP);
	assert_string_equal(f->e.rule, "arch");
	assert_int_equal(f->list.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(other_architecture, setup, teardown),
		cmocka_unit_test_setup_teardown(key_of_words, setup, teardown),
		cmocka_unit_test_setup_teardown(key_enabled, setup, teardown),
		cmocka_unit_test_setup_teardown(key_disabled, setup, teardown),
		cmocka_unit_test_setup_teardown(key_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(call_moves, setup, teardown),
		cmocka_unit_test_setup_teardown(call_of_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(call_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(immediates, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
