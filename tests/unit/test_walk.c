// SPDX-License-Identifier: GPL-2.0-or-later
/* Page walk: levels, page sizes, holes, hostile tables; and which top table a probe settles on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/util.h"
#include "tests/fake/guest_image.h"
#include "vmm/guest/walk.h"

#define PAGES 16
#define NX    (1ull << 63)
#define HUGE  0x80ull

struct ram {
	struct guest_memory mem;
	uint64_t page[PAGES][512];
	struct walk walk;
};

static int ram_read(struct guest_memory *m, uint64_t gpa, void *buf, size_t len, struct err *e)
{
	struct ram *r = container_of(m, struct ram, mem);

	if (gpa > sizeof(r->page) || len > sizeof(r->page) - gpa)
		return err_set(e, ERR_FAILED, EFAULT, NULL, "not RAM");
	memcpy(buf, (uint8_t *)r->page + gpa, len);
	return 0;
}

static int setup(void **state)
{
	struct ram *r = calloc(1, sizeof(*r));

	if (!r)
		return -1;
	r->mem.read = ram_read;
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct ram *r = *state;

	walk_done(&r->walk);
	free(r);
	return 0;
}

/* Tables 1..4 (or 5) in pages 1.., every entry for GVA 0x...: index 511 of all but the last. */
static void start(struct ram *r, unsigned levels)
{
	for (unsigned i = 1; i < levels; i++)
		r->page[i][511] = (uint64_t)(i + 1) << 12 | 3;
	assert_int_equal(walk_init(&r->walk, &r->mem, 0x1000, levels), 0);
}

static void test_4k(void **state)
{
	struct ram *r = *state;
	struct walk_page p;

	for (unsigned levels = 4; levels <= 5; levels++) {
		start(r, levels);
		r->page[levels][510] = 0x9000 | 3 | NX;
		assert_int_equal(walk_translate(&r->walk, 0xffffffffffffe123, &p, NULL), 0);
		assert_int_equal(p.gpa, 0x9123);
		assert_int_equal(p.left, 0x1000 - 0x123);
		assert_false(p.exec);
		assert_true(p.write);
		r->page[levels][510] = 0x9000 | 1;
		assert_int_equal(walk_translate(&r->walk, 0xffffffffffffe123, &p, NULL), 0);
		assert_false(p.exec); /* cached */
		walk_flush(&r->walk);
		assert_int_equal(walk_translate(&r->walk, 0xffffffffffffe123, &p, NULL), 0);
		assert_true(p.exec);
		assert_false(p.write);
		walk_done(&r->walk);
	}
}

static void test_huge_pages(void **state)
{
	struct ram *r = *state;
	struct walk_page p;

	start(r, 4);
	r->page[3][511] = 0x40000000 | 1 << 12 | HUGE | 3; /* 2 MiB; bit 12 is PAT, no address */
	assert_int_equal(walk_translate(&r->walk, 0xffffffffffe12345, &p, NULL), 0);
	assert_int_equal(p.gpa, 0x40012345);
	assert_int_equal(p.left, 0x200000 - 0x12345);
	r->page[2][511] = 0x80000000 | HUGE | 3; /* 1 GiB */
	walk_flush(&r->walk);
	assert_int_equal(walk_translate(&r->walk, 0xffffffffffe12345, &p, NULL), 0);
	assert_int_equal(p.gpa, 0x80000000 + 0x3fe12345);
	assert_int_equal(p.left, 0x40000000 - 0x3fe12345);
	r->page[1][511] |= HUGE; /* reserved at level 4 */
	walk_flush(&r->walk);
	assert_int_equal(walk_translate(&r->walk, 0xffffffffffe12345, &p, NULL), -EFAULT);
}

static void test_permissions_of_upper_levels(void **state)
{
	struct ram *r = *state;
	struct walk_page p;

	start(r, 4);
	r->page[4][511] = 0x9000 | 3;
	r->page[2][511] |= NX;
	r->page[3][511] &= ~2ull;
	assert_int_equal(walk_translate(&r->walk, 0xfffffffffffff000, &p, NULL), 0);
	assert_false(p.exec);
	assert_false(p.write);
}

static void test_holes(void **state)
{
	static const uint64_t size[] = { 1ull << 39, 1ull << 30, 2u << 20, 4096 };
	struct ram *r = *state;
	struct walk_page p;
	struct err e = { 0 };

	start(r, 4);
	r->page[4][511] = 0x9000 | 3;
	for (int i = 3; i >= 0; i--) {
		uint64_t gva = 0xffffffffffffff00;
		r->page[i + 1][511] &= ~1ull;
		walk_flush(&r->walk);
		assert_int_equal(walk_translate(&r->walk, gva, &p, &e), -EFAULT);
		assert_true(e.has_addr && e.addr == gva);
		assert_int_equal(p.left, size[i] - (gva & (size[i] - 1)));
	}
}

static void test_hostile_tables(void **state)
{
	struct ram *r = *state;
	struct walk_page p;
	uint8_t buf[64];

	start(r, 5);
	for (int i = 1; i <= 5; i++) /* all tables are the same one: 5 levels later it ends */
		r->page[i][511] = 0x1000 | 3;
	assert_int_equal(walk_translate(&r->walk, 0xfffffffffffff000, &p, NULL), 0);
	assert_int_equal(p.gpa, 0x1000);
	r->page[1][511] = 0x000ffffffffff000 | 3; /* a table outside RAM maps nothing */
	walk_flush(&r->walk);
	assert_int_equal(walk_translate(&r->walk, 0xfffffffffffff000, &p, NULL), -EFAULT);
	assert_int_equal(walk_read(&r->walk, 0xfffffffffffff000, buf, sizeof(buf), NULL), -EFAULT);
	assert_int_equal(walk_translate(&r->walk, 0x8000ffffffffffffull, &p, NULL), -EFAULT); /* not canonical */
	walk_root(&r->walk, 0xfffffffffffff000);
	assert_int_equal(walk_translate(&r->walk, 0, &p, NULL), -EFAULT);
}

static void test_read_across_pages(void **state)
{
	struct ram *r = *state;
	uint8_t buf[0x2000], *raw = (uint8_t *)r->page;

	start(r, 4);
	r->page[4][509] = 0x9000 | 3;
	r->page[4][510] = 0xa000 | 3; /* follows in memory */
	r->page[4][511] = 0x7000 | 3; /* does not */
	for (size_t i = 0x7000; i < 0xb000; i++)
		raw[i] = (uint8_t)(i * 31 >> 4);
	assert_int_equal(walk_read(&r->walk, 0xffffffffffffd800, buf, sizeof(buf), NULL), 0);
	assert_memory_equal(buf, raw + 0x9800, 0x1800);
	assert_memory_equal(buf + 0x1800, raw + 0x7000, 0x800);
	assert_int_equal(walk_read(&r->walk, 0xffffffffffffc800, buf, sizeof(buf), NULL),
			 -EFAULT); /* begins in a hole */
	assert_int_equal(walk_read(&r->walk, 0xffffffffffffe800, buf, sizeof(buf), NULL),
			 -EFAULT); /* runs off the end */
}

/* --- which top table a probe uses --- */

static struct guest_image *image(bool five, bool kpti)
{
	struct guest_image *g = malloc(sizeof(*g));

	assert_non_null(g);
	guest_image_build(g, &(struct guest_image_options){ .five_levels = five, .kpti = kpti });
	return g;
}

static void test_probe_levels_and_kpti(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		_cleanup_free_ struct guest_image *m = image(i & 1, i & 2);
		_cleanup_(guest_free) struct guest *g = NULL;
		struct err e = { 0 };
		if (i & 2) { /* user mode: the user half, with a PCID */
			m->regs[0].cs = m->regs[1].cs = 0x33;
			m->regs[0].cr3 = m->regs[1].cr3 = IMAGE_PGD | 0x1000 | 0x806;
		}
		assert_int_equal(guest_probe(&m->mem, m->regs, 2, &g, &e), 0);
		const struct guest_facts *f = guest_facts(g);
		assert_int_equal(f->paging_levels, i & 1 ? 5 : 4);
		assert_int_equal(f->kpti, !!(i & 2));
		assert_int_equal(f->kernel_cr3, IMAGE_PGD);
		assert_true(f->base == IMAGE_BASE);
		assert_true(f->kaslr_offset == IMAGE_BASE - 0xffffffff81000000ull);
		assert_true(f->phys_base == (int64_t)(IMAGE_PA - (IMAGE_BASE - 0xffffffff80000000ull)));
		assert_string_equal(f->release, "6.1.0-test");
		assert_string_equal(f->build_id_hex, "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3");
	}
}

/* CR3 with bit 12 set and no KPTI: clearing the bit leads nowhere, the value as it is does. */
static void test_probe_odd_root(void **state)
{
	_cleanup_free_ struct guest_image *m = image(false, false);
	_cleanup_(guest_free) struct guest *g = NULL;

	(void)state;
	memcpy(m->ram + 0x9000, m->ram + IMAGE_PGD, 4096);
	m->regs[0].cr3 = m->regs[1].cr3 = 0x9000;
	assert_int_equal(guest_probe(&m->mem, m->regs, 2, &g, NULL), 0);
	assert_int_equal(guest_facts(g)->kernel_cr3, IMAGE_PGD); /* the kernel's own, not the process's */
	memset(m->ram + 0x9000, 0, 4096);			 /* the process ended */
	char text[5];
	assert_int_equal(guest_read(g, m->banner, text, sizeof(text), NULL), 0);
	assert_memory_equal(text, "Linux", 5);
}

static void test_probe_uses_the_vcpu_that_works(void **state)
{
	_cleanup_free_ struct guest_image *m = image(false, false);
	_cleanup_(guest_free) struct guest *g = NULL;
	struct err e = { 0 };

	(void)state;
	m->regs[0] = (struct vcpu_regs){ .cs = 0xf000, .rip = 0xfff0 }; /* not started */
	assert_int_equal(guest_probe(&m->mem, m->regs, 1, &g, &e), -ENOENT);
	assert_non_null(strstr(e.text, "64-bit mode"));
	assert_int_equal(guest_probe(&m->mem, m->regs, 0, &g, &e), -ENOENT);
	assert_null(g);
	m->regs[1].has_idt = false; /* as QEMU's gdbstub gives it */
	assert_int_equal(guest_probe(&m->mem, m->regs, 2, &g, &e), 0);
	assert_true(guest_facts(g)->base == IMAGE_BASE);
}

static void test_probe_contradictions(void **state)
{
	(void)state;
	for (int i = 0; i < 7; i++) {
		_cleanup_free_ struct guest_image *m = image(false, false);
		_cleanup_(guest_free) struct guest *g = NULL;
		struct err e = { 0 };
		int want = -EBADMSG;
		switch (i) {
		case 0:
			guest_image_put64(m, m->phys_base, 0x1000);
			break;
		case 1:
			memcpy(guest_image_at(m, m->banner), "Minix", 5);
			break;
		case 2:
			guest_image_put32(m, m->notes, 0xffffffff);
			break;
		case 3:
			guest_image_put64(m, m->regs[0].idt_base + 14 * 16, 0x9a208e0000100900);
			break; /* another handler */
		case 4:
			memset(guest_image_at(m, m->banner) + 14, ' ', 1);
			break; /* no release */
		case 5:
			memset(m->ram + IMAGE_PGD, 0, 4096);
			want = -ENOENT;
			break;
		case 6:
			memset(guest_image_at(m, m->token_table), 'x', 64);
			want = -ENOENT;
			break;
		}
		assert_int_equal(guest_probe(&m->mem, m->regs, 2, &g, &e), want);
		assert_int_equal(e.error, -want);
		assert_true(strlen(e.text) > 10);
		assert_null(g);
	}
}

static void test_revalidate(void **state)
{
	_cleanup_free_ struct guest_image *m = image(false, false);
	_cleanup_(guest_free) struct guest *g = NULL;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(guest_probe(&m->mem, m->regs, 2, &g, &e), 0);
	assert_int_equal(guest_revalidate(g, m->regs, 2, &e), 0);
	uint64_t cr3 = m->regs[0].cr3;
	m->regs[0].cr3 = m->regs[1].cr3 = 0xb000; /* vCPUs run on other tables: rebooted */
	assert_int_equal(guest_revalidate(g, m->regs, 2, &e), -ESTALE);
	m->regs[0].cr3 = cr3;
	assert_int_equal(guest_revalidate(g, m->regs, 2, &e), 0);
	*guest_image_at(m, m->notes + 12 + 12 + 12 + 4) ^= 1; /* the build-id's first byte */
	assert_int_equal(guest_revalidate(g, m->regs, 2, &e), -ESTALE);
	*guest_image_at(m, m->notes + 12 + 12 + 12 + 4) ^= 1;
	assert_int_equal(guest_revalidate(g, m->regs, 2, &e), 0);
	*guest_image_at(m, m->banner + 16) ^= 1;
	assert_int_equal(guest_revalidate(g, m->regs, 2, &e), -ESTALE);
}

/* What is left of an idle guest: what is known of it, but no symbol, and no use without a new probe. */
static void test_shrink(void **state)
{
	_cleanup_free_ struct guest_image *m = image(false, false);
	_cleanup_(guest_free) struct guest *g = NULL;
	struct guest_symbol found;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(guest_probe(&m->mem, m->regs, 2, &g, &e), 0);
	struct guest_facts facts = *guest_facts(g);
	assert_int_equal(guest_symbol_get(g, 0, &found), 0);
	guest_names_index(g);
	guest_shrink(g);
	guest_shrink(g);
	guest_shrink(NULL);
	assert_memory_equal(&facts, guest_facts(g), sizeof(facts));
	assert_int_equal(guest_symbol_get(g, 0, &found), -ERANGE);
	assert_int_equal(guest_symbol_find(g, "_text", NULL, NULL, NULL), -ENOENT);
	assert_int_equal(guest_symbol_at(g, facts.base, &found, NULL), -ENOENT);
	char text[6] = "";
	assert_int_equal(guest_read(g, m->banner, text, 5, &e), 0); /* memory can still be read */
	assert_string_equal(text, "Linux");
	assert_int_equal(guest_revalidate(g, m->regs, 2, &e), -ESTALE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_4k, setup, teardown),
		cmocka_unit_test_setup_teardown(test_huge_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_permissions_of_upper_levels, setup, teardown),
		cmocka_unit_test_setup_teardown(test_holes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile_tables, setup, teardown),
		cmocka_unit_test_setup_teardown(test_read_across_pages, setup, teardown),
		cmocka_unit_test(test_probe_levels_and_kpti),
		cmocka_unit_test(test_probe_odd_root),
		cmocka_unit_test(test_probe_uses_the_vcpu_that_works),
		cmocka_unit_test(test_probe_contradictions),
		cmocka_unit_test(test_revalidate),
		cmocka_unit_test(test_shrink),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
