// SPDX-License-Identifier: GPL-2.0-or-later
/* The kernel's own lists of places in its text, as they lie in guest memory; and the signs that it is changing text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake/guest_image.h"
#include "vmm/guest/kprobes.h"
#include "vmm/guest/sites.h"

#define KEYS	 (IMAGE_BASE + 0x900)
#define CALLS	 (IMAGE_BASE + 0x940)
#define FIXUPS	 (IMAGE_BASE + 0x960)
#define LOCKS	 (IMAGE_BASE + 0x980)
#define BP_DESC	 (IMAGE_BASE + 0x9a0)
#define MODULES	 (IMAGE_BASE + 0xa00)
#define MODULE	 (IMAGE_BASE + 0xa80) /* and another one behind it */
#define FTRACE	 (IMAGE_BASE + 0xa20)
#define KPROBES	 (IMAGE_BASE + 0x400) /* 64 lists */
#define KPROBE	 (IMAGE_BASE + 0x600)
#define SOME_KEY (IMAGE_BASE + 0x100040) /* behind its own list, as in a kernel */

static const struct guest_image_symbol symbols[] = {
	{ KEYS, "__start___jump_table" },	 { KEYS + 3 * 16, "__stop___jump_table" },
	{ CALLS, "__start_static_call_sites" },	 { CALLS + 2 * 8, "__stop_static_call_sites" },
	{ FIXUPS, "__start___ex_table" },	 { FIXUPS + 12, "__stop___ex_table" },
	{ LOCKS, "text_mutex" },		 { LOCKS + 8, "jump_label_mutex" },
	{ LOCKS + 16, "static_call_mutex" },	 { BP_DESC, "bp_desc" },
	{ MODULES, "modules" },		 { FTRACE, "ftrace_pages_start" },
	{ LOCKS + 24, "kprobe_mutex" },	 { KPROBES, "kprobe_table" },
};

struct fixture {
	struct guest_image image;
	struct guest *g;
};

static int make(void **state, size_t n_symbols)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	*state = f;
	guest_image_build(&f->image, &(struct guest_image_options){ .extra = symbols, .n_extra = n_symbols });
	memset(guest_image_at(&f->image, KEYS), 0, 0x300);
	for (int i = 0; i < 2; i++)
		guest_image_put64(&f->image, MODULES + 8 * (uint64_t)i, MODULES);
	return guest_probe(&f->image.mem, f->image.regs, IMAGE_CPUS, &f->g, NULL);
}

static int setup(void **state)
{
	return make(state, ARRAY_SIZE(symbols));
}

static int setup_bare(void **state)
{
	return make(state, 0);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	guest_free(f->g);
	free(f);
	return 0;
}

static void put_key(struct fixture *f, size_t i, uint64_t code, uint64_t target, uint64_t key, unsigned flags)
{
	uint64_t at = KEYS + 16 * i;

	guest_image_put32(&f->image, at, (uint32_t)(code - at));
	guest_image_put32(&f->image, at + 4, (uint32_t)(target - (at + 4)));
	guest_image_put64(&f->image, at + 8, (key - (at + 8)) | flags);
}

static void put_call(struct fixture *f, size_t i, uint64_t code, uint64_t key, unsigned flags)
{
	uint64_t at = CALLS + 8 * i;

	guest_image_put32(&f->image, at, (uint32_t)(code - at));
	guest_image_put32(&f->image, at + 4, (uint32_t)(key + flags - (at + 4)));
}

static struct guest_sites read_sites(struct fixture *f, enum guest_site_kind kind)
{
	struct guest_sites s = { 0 };
	struct err e = { 0 };

	if (guest_sites_read(f->g, kind, &s, &e) < 0)
		fail_msg("%s", e.text);
	return s;
}

static void static_keys(void **state)
{
	struct fixture *f = *state;

	put_key(f, 0, IMAGE_FUNC + 0x20, IMAGE_FUNC + 0x30, SOME_KEY, 0);
	put_key(f, 1, IMAGE_FUNC + 5, IMAGE_FUNC + 0x38, SOME_KEY, 1);
	put_key(f, 2, IMAGE_ETEXT + 0x100, IMAGE_ETEXT + 0x110, SOME_KEY - 0x200000, 3);
	struct guest_sites s = read_sites(f, GUEST_SITE_STATIC_KEY);
	assert_int_equal(s.n, 3);
	assert_true(s.site[0].at == IMAGE_FUNC + 5 && s.site[0].target == IMAGE_FUNC + 0x38);
	assert_true(s.site[0].key == SOME_KEY && s.site[0].inverted && !s.site[0].init);
	assert_true(s.site[1].at == IMAGE_FUNC + 0x20 && s.site[1].target == IMAGE_FUNC + 0x30);
	assert_true(s.site[1].key == SOME_KEY && !s.site[1].inverted && !s.site[1].init);
	assert_true(s.site[2].key == SOME_KEY - 0x200000 && s.site[2].inverted && s.site[2].init);
	assert_int_equal(guest_sites_from(&s, 0), 0);
	assert_int_equal(guest_sites_from(&s, IMAGE_FUNC + 6), 1);
	assert_int_equal(guest_sites_from(&s, UINT64_MAX), 3);
	guest_sites_clear(&s);
}

static void static_calls(void **state)
{
	struct fixture *f = *state;

	put_call(f, 0, IMAGE_FUNC + 0x10, SOME_KEY, 1);
	put_call(f, 1, IMAGE_FUNC, SOME_KEY + 16, 2);
	struct guest_sites s = read_sites(f, GUEST_SITE_STATIC_CALL);
	assert_int_equal(s.n, 2);
	assert_true(s.site[0].at == IMAGE_FUNC && s.site[0].key == SOME_KEY + 16 && !s.site[0].tail && s.site[0].init);
	assert_true(s.site[1].at == IMAGE_FUNC + 0x10 && s.site[1].key == SOME_KEY && s.site[1].tail && !s.site[1].init);
	guest_sites_clear(&s);
	guest_image_put32(&f->image, FIXUPS, (uint32_t)(IMAGE_FUNC - FIXUPS));
	guest_image_put32(&f->image, FIXUPS + 4, (uint32_t)(IMAGE_FUNC_END - (FIXUPS + 4)));
	s = read_sites(f, GUEST_SITE_FIXUP);
	assert_true(s.n == 1 && s.site[0].at == IMAGE_FUNC && s.site[0].target == IMAGE_FUNC_END && !s.site[0].key);
	guest_sites_clear(&s);
}

/* Module number i, with text, one jump in it and another outside. The list of keys lies behind it. */
static void put_module(struct fixture *f, size_t i, uint64_t next)
{
	uint64_t at = MODULE + 0x100 * i, keys = at + MODULE_BYTES, text = IMAGE_FUNC + 0x20 * i;

	guest_image_put64(&f->image, at + MODULE_LIST, next);
	guest_image_put64(&f->image, at + MODULE_KEYS, keys);
	guest_image_put32(&f->image, at + MODULE_N_KEYS, 2);
	guest_image_put64(&f->image, at + MODULE_MEM, text);
	guest_image_put32(&f->image, at + MODULE_MEM + 8, 0x10);
	for (uint64_t j = 0; j < 2; j++) {
		guest_image_put32(&f->image, keys + 16 * j, (uint32_t)(text + 8 + 8 * j - (keys + 16 * j)));
		guest_image_put64(&f->image, keys + 16 * j + 8, SOME_KEY - (keys + 16 * j + 8));
	}
}

static void of_modules(void **state)
{
	struct fixture *f = *state;

	guest_image_put64(&f->image, MODULES, MODULE + MODULE_LIST);
	put_module(f, 0, MODULE + 0x100 + MODULE_LIST);
	put_module(f, 1, MODULES);
	struct guest_sites s = read_sites(f, GUEST_SITE_STATIC_KEY);
	assert_true(s.whole);
	assert_int_equal(s.n, 3 + 4);
	for (size_t i = 0; i < s.n; i++)
		if (s.site[i].at == IMAGE_FUNC + 8 || s.site[i].at == IMAGE_FUNC + 0x28)
			assert_true(s.site[i].module && !s.site[i].init && s.site[i].key == SOME_KEY);
		else
			assert_true(!s.site[i].module && (s.site[i].init || s.site[i].at >= KEYS));
	guest_sites_clear(&s);
	guest_image_put32(&f->image, MODULE + MODULE_STATE, 1); /* on its way in */
	s = read_sites(f, GUEST_SITE_STATIC_KEY);
	assert_true(!s.whole && strstr(s.modules_why, "loaded"));
	guest_sites_clear(&s);
	guest_image_put32(&f->image, MODULE + MODULE_STATE, 0);
	guest_image_put64(&f->image, MODULE + MODULE_LIST, MODULE + MODULE_LIST); /* no end */
	s = read_sites(f, GUEST_SITE_STATIC_CALL);
	assert_true(!s.whole && s.n == 2);
	guest_sites_clear(&s);
}

/* Two groups of records, the first with a place that was freed. */
static void of_ftrace(void **state)
{
	static const uint64_t places[] = { IMAGE_FUNC + 4, 0, IMAGE_ETEXT + 0x100, IMAGE_FUNC };
	struct fixture *f = *state;
	uint64_t group = MODULE, records = MODULE + 64;
	struct guest_sites s = { 0 };
	struct err e = { 0 };

	guest_image_put64(&f->image, FTRACE, group);
	guest_image_put64(&f->image, group, group + 32);
	guest_image_put64(&f->image, group + 8, records);
	guest_image_put32(&f->image, group + 16, 3);
	guest_image_put64(&f->image, group + 32 + 8, records + 3 * FTRACE_BYTES);
	guest_image_put32(&f->image, group + 32 + 16, 1);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		guest_image_put64(&f->image, records + i * FTRACE_BYTES, places[i]);
	s = read_sites(f, GUEST_SITE_FENTRY);
	assert_true(s.n == 3 && s.whole);
	assert_true(s.site[0].at == IMAGE_FUNC && s.site[1].at == IMAGE_FUNC + 4 && s.site[2].module);
	guest_sites_clear(&s);
	guest_image_put64(&f->image, group + 32, group); /* no end */
	assert_int_equal(guest_sites_read(f->g, GUEST_SITE_FENTRY, &s, &e), -EBADMSG);
	guest_image_put32(&f->image, group + 16, 0x7fffffff);
	assert_int_equal(guest_sites_read(f->g, GUEST_SITE_FENTRY, &s, &e), -EBADMSG);
	assert_true(s.n == 0);
}

static void nothing_there(void **state)
{
	struct fixture *f = *state;
	struct guest_patching p;
	struct err e = { 0 };

	for (int kind = 0; kind < GUEST_SITE_KINDS; kind++) {
		struct guest_sites s = read_sites(f, (enum guest_site_kind)kind);
		assert_int_equal(s.n, 0);
		guest_sites_clear(&s);
		assert_int_equal(guest_site_kind_from_name(guest_site_kind_name((enum guest_site_kind)kind)), kind);
	}
	assert_int_equal(guest_site_kind_from_name("mcount"), -EINVAL);
	assert_int_equal(guest_site_kind_from_name(NULL), -EINVAL);
	assert_int_equal(guest_patching_prepare(f->g, &p, &e), -EOPNOTSUPP);
	assert_string_equal(e.rule, "guest-poking");
}

static void patching(void **state)
{
	static const uint64_t signs[] = { LOCKS, LOCKS + 8, LOCKS + 16, BP_DESC + 12 };
	struct fixture *f = *state;
	struct guest_patching p;
	struct err e = { 0 };

	assert_int_equal(guest_patching_prepare(f->g, &p, &e), 0);
	assert_int_equal(guest_patching_look(f->g, &p, 0, &e), 0);
	guest_image_put32(&f->image, BP_DESC + 8, 5); /* how many there were last time means nothing */
	assert_int_equal(guest_patching_look(f->g, &p, 0, &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(signs); i++) {
		guest_image_put32(&f->image, signs[i], 1);
		assert_int_equal(guest_patching_look(f->g, &p, 0, &e), 1);
		assert_true(e.kind == ERR_TIMEOUT && e.addr == signs[i] && strcmp(e.rule, "guest-poking") == 0);
		guest_image_put32(&f->image, signs[i], 0);
	}
	assert_int_equal(guest_patching_look(f->g, &p, 0, &e), 0);
	/* text_mutex held for us, with somebody waiting; the other locks by nobody but the guest */
	for (size_t i = 0; i < 3; i++) {
		guest_image_put64(&f->image, signs[i], 0xffff888000123441);
		assert_int_equal(guest_patching_look(f->g, &p, 0xffff888000123440, &e), i > 0);
		assert_int_equal(guest_patching_look(f->g, &p, 0xffff888000123448, &e), 1);
		assert_int_equal(guest_patching_look(f->g, &p, 0, &e), 1);
		guest_image_put64(&f->image, signs[i], 0);
	}
}

static void put_kprobe(struct fixture *f, size_t i, uint64_t addr, uint64_t next)
{
	guest_image_put64(&f->image, KPROBE + KPROBE_BYTES * i + KPROBE_LINK, next);
	guest_image_put64(&f->image, KPROBE + KPROBE_BYTES * i + KPROBE_ADDR, addr);
}

static struct guest_kprobes read_kprobes(struct fixture *f)
{
	struct guest_kprobes k = { 0 };
	struct err e = { 0 };

	if (guest_kprobes_read(f->g, &k, &e) < 0)
		fail_msg("%s", e.text);
	return k;
}

/* One alone in the last list, two in another. */
static void kprobes(void **state)
{
	struct fixture *f = *state;
	struct guest_kprobes k;
	struct err e = { 0 };

	memset(guest_image_at(&f->image, KPROBES), 0, 64 * 8);
	k = read_kprobes(f);
	assert_true(k.n == 0 && !guest_kprobes_near(&k, 0, SIZE_MAX));
	guest_kprobes_clear(&k);
	guest_image_put64(&f->image, KPROBES + 63 * 8, KPROBE);
	put_kprobe(f, 0, IMAGE_FUNC + 8, 0);
	guest_image_put64(&f->image, KPROBES + 7 * 8, KPROBE + KPROBE_BYTES);
	put_kprobe(f, 1, IMAGE_FUNC + 0x100, KPROBE + 2 * KPROBE_BYTES);
	put_kprobe(f, 2, UINT64_MAX, 0);
	k = read_kprobes(f);
	assert_int_equal(k.n, 3);
	assert_true(!guest_kprobes_near(&k, IMAGE_FUNC, 8) && *guest_kprobes_near(&k, IMAGE_FUNC, 9) == IMAGE_FUNC + 8);
	assert_true(guest_kprobes_near(&k, IMAGE_FUNC + 12, 1) && !guest_kprobes_near(&k, IMAGE_FUNC + 13, 16));
	assert_true(*guest_kprobes_near(&k, IMAGE_FUNC + 0xf0, 64) == IMAGE_FUNC + 0x100);
	guest_kprobes_clear(&k);
	put_kprobe(f, 2, IMAGE_FUNC, KPROBE + KPROBE_BYTES); /* no end */
	assert_int_equal(guest_kprobes_read(f->g, &k, &e), -EBADMSG);
	put_kprobe(f, 2, IMAGE_FUNC, 0x1000); /* not mapped */
	assert_true(guest_kprobes_read(f->g, &k, &e) < 0 && !k.at);
	assert_int_equal(guest_kprobes_moving(f->g, &e), 0);
	guest_image_put64(&f->image, LOCKS + 24, 0xffff888000123440);
	assert_int_equal(guest_kprobes_moving(f->g, &e), 1);
}

static void no_kprobes(void **state)
{
	struct fixture *f = *state;
	struct guest_kprobes k = read_kprobes(f);

	assert_true(k.n == 0 && guest_kprobes_moving(f->g, NULL) == 0);
	guest_kprobes_clear(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(static_keys, setup, teardown),
		cmocka_unit_test_setup_teardown(static_calls, setup, teardown),
		cmocka_unit_test_setup_teardown(of_modules, setup, teardown),
		cmocka_unit_test_setup_teardown(of_ftrace, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_there, setup_bare, teardown),
		cmocka_unit_test_setup_teardown(kprobes, setup, teardown),
		cmocka_unit_test_setup_teardown(no_kprobes, setup_bare, teardown),
		cmocka_unit_test_setup_teardown(patching, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
