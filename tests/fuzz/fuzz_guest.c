// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A valid little guest (tests/fake/guest_image.c) with the input's edits applied, so that mutations
 * get deep: page tables, kallsyms, notes, BTF, task lists, per-cpu areas. Input: one byte of
 * options, then records { u8 area and width, u16 offset in the area, value }.
 */
#include <stdlib.h>
#include <string.h>

/* The fuzz build links no test helpers. */
#include "tests/fake/guest_image.c"
#include "vmm/guest/padding.h"
#include "vmm/guest/kprobes.h"
#include "vmm/guest/sites.h"
#include "vmm/kind/kind.h"

#define VARIANTS  32
#define EDITS_MAX 64

struct area {
	uint64_t start, len; /* in ram[] */
};

static uint64_t in_ram(uint64_t gva)
{
	return gva - IMAGE_BASE + IMAGE_PA;
}

static struct area area_of(const struct guest_image *g, unsigned which)
{
	const struct area areas[8] = {
		{ 0x2000, 0x6000 },		 /* page tables */
		{ in_ram(g->num_syms) - 8, 64 }, /* count, first names, what lies before */
		{ in_ram(g->offsets), 1024 },
		{ in_ram(g->token_table) - 256, 2048 }, /* tokens, index, markers before them */
		{ in_ram(g->notes), 80 },
		{ in_ram(g->btf), 1400 },
		{ in_ram(g->task[0]), TASK_COUNT * TASK_BYTES + 32 },
		{ 0, IMAGE_RAM },
	};

	return areas[which & 7];
}

static const uint8_t *edit(struct guest_image *g, const uint8_t *p, const uint8_t *end)
{
	size_t width = (size_t)1 << (p[0] >> 3 & 3);
	struct area a = area_of(g, p[0]);
	uint64_t scale = a.len > 65536 ? 8 : 1;
	uint64_t at = a.start + ((uint64_t)(p[1] | p[2] << 8) * scale + (p[0] >> 5)) % a.len;

	p += 3;
	if ((size_t)(end - p) < width)
		return end;
	if (at + width <= IMAGE_RAM)
		memcpy(g->ram + at, p, width);
	return p + width;
}

/* A key that is off with a jump of two bytes, a static call of do_nothing. */
static void keys_put(struct guest_image *g)
{
	const uint64_t keys = IMAGE_BASE + 0x900, calls = IMAGE_BASE + 0x930;

	guest_image_put32(g, keys, (uint32_t)(IMAGE_BASE + 0x2c0 - keys));
	guest_image_put32(g, keys + 4, (uint32_t)(IMAGE_BASE + 0x2d0 - (keys + 4)));
	guest_image_put64(g, keys + 8, IMAGE_BASE + 0x8c0 - (keys + 8));
	guest_image_put32(g, IMAGE_BASE + 0x2c0, 0xcccc9066);
	memset(guest_image_at(g, IMAGE_BASE + 0x8c0), 0, 32);
	guest_image_put32(g, calls, (uint32_t)(IMAGE_BASE + 0x2e0 - calls));
	guest_image_put32(g, calls + 4, (uint32_t)(IMAGE_BASE + 0x8d0 - (calls + 4)));
	guest_image_put64(g, IMAGE_BASE + 0x8d0, IMAGE_FUNC);
	guest_image_put32(g, IMAGE_BASE + 0x2e0, 0xffff1be8);
	guest_image_put32(g, IMAGE_BASE + 0x2e4, 0xccccccff);
	guest_image_put32(g, IMAGE_BASE + 0x280, 0xffff7be9);
	guest_image_put32(g, IMAGE_BASE + 0x284, 0xccb90fff);
}

static const struct guest_image *variant(unsigned i)
{
	static struct guest_image *made[VARIANTS];

	static const struct guest_image_symbol lists[] = {
		{ IMAGE_BASE + 0x900, "__start___jump_table" },	     { IMAGE_BASE + 0x930, "__stop___jump_table" },
		{ IMAGE_BASE + 0x930, "__start_static_call_sites" }, { IMAGE_BASE + 0x940, "__stop_static_call_sites" },
		{ IMAGE_BASE + 0x980, "text_mutex" },		     { IMAGE_BASE + 0x988, "jump_label_mutex" },
		{ IMAGE_BASE + 0x8d0, "__SCK__call" },		     { IMAGE_BASE + 0x280, "__SCT__call" },
		{ IMAGE_BASE + 0x990, "modules" },		     { IMAGE_BASE + 0x9f8, "ftrace_pages_start" },
		{ IMAGE_BASE + 0x400, "kprobe_table" },		     { IMAGE_BASE + 0x998, "kprobe_mutex" },
	};

	if (!made[i]) {
		const struct guest_image_options o = {
			.layout = i % 3,
			.five_levels = i & 4,
			.kpti = i & 8,
			.hot = i & 16,
			.fillers = i & 1 ? 300 : 20,
			.extra = lists,
			.n_extra = i & 2 ? ARRAY_SIZE(lists) : 0,
		};
		made[i] = malloc(sizeof(*made[i]));
		if (!made[i])
			abort();
		guest_image_build(made[i], &o);
		memset(guest_image_at(made[i], IMAGE_BASE + 0xa00), PADDING_BYTE, 0x400);
		keys_put(made[i]);
		/* A module; its list of keys is the kernel's own. */
		guest_image_put64(made[i], IMAGE_BASE + 0x990, IMAGE_BASE + 0x9a0 + MODULE_LIST);
		guest_image_put64(made[i], IMAGE_BASE + 0x9a0 + MODULE_LIST, IMAGE_BASE + 0x990);
		guest_image_put64(made[i], IMAGE_BASE + 0x9a0 + MODULE_KEYS, IMAGE_BASE + 0x900);
		guest_image_put32(made[i], IMAGE_BASE + 0x9a0 + MODULE_N_KEYS, 3);
		/* A kprobe; what lies around it is anything. */
		memset(guest_image_at(made[i], IMAGE_BASE + 0x400), 0, 64 * 8);
		guest_image_put64(made[i], IMAGE_BASE + 0x408, IMAGE_BASE + 0x600);
		/* A group of ftrace's records, which are anything. */
		guest_image_put64(made[i], IMAGE_BASE + 0x9f8, IMAGE_BASE + 0x8e0);
		guest_image_put64(made[i], IMAGE_BASE + 0x8e8, IMAGE_BASE + 0x200);
		guest_image_put32(made[i], IMAGE_BASE + 0x8f0, 4);
	}
	return made[i];
}

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void use_symbols(const struct guest *g)
{
	const struct guest_facts *f = guest_facts(g);
	struct guest_symbol_cursor c = { 0 };
	struct guest_symbol s, again;
	uint64_t addr, size;
	size_t n = 0, count;
	char type, text[600];

	for (; guest_symbol_next(g, &c, &s) > 0; n++)
		check(memchr(s.name, 0, sizeof(s.name)));
	check(n == f->symbols);
	check(guest_symbol_get(g, n, &s) < 0);
	if (n)
		check(guest_symbol_get(g, n - 1, &again) == 0 && again.addr == s.addr &&
		      strcmp(again.name, s.name) == 0);
	guest_symbol_find(g, "do_nothing", &addr, &type, &count);
	if (guest_symbol_at(g, IMAGE_FUNC + 3, &s, &size) == 0)
		check(s.addr <= IMAGE_FUNC + 3 && IMAGE_FUNC + 3 - s.addr < size);
	guest_format_addr(g, IMAGE_FUNC + 3, text, sizeof(text));
	guest_is_text(g, UINT64_MAX, SIZE_MAX);
	guest_is_text(g, IMAGE_FUNC, 5);
}

/* Whatever the guest says of itself: what is offered is padding, with a margin of it, and in the text. */
static void use_padding(struct guest *g)
{
	struct padding_run runs[4];
	uint8_t byte;
	int n = guest_padding_find(g, 8192, runs, ARRAY_SIZE(runs), NULL);

	for (int i = 0; i < n; i++) {
		check(runs[i].start % 16 == 0 && runs[i].end % 16 == 0 && runs[i].start < runs[i].end);
		check(guest_is_text(g, runs[i].start, runs[i].end - runs[i].start));
		for (uint64_t at = runs[i].start - PADDING_MARGIN; at < runs[i].end + PADDING_MARGIN; at++)
			check(guest_read(g, at, &byte, 1, NULL) == 0 && byte == PADDING_BYTE);
	}
}

/* Whatever the tables say: as many sites as they have entries, in order. */
static void use_sites(struct guest *g)
{
	struct guest_patching p;

	for (int kind = 0; kind < GUEST_SITE_KINDS; kind++) {
		__attribute__((cleanup(guest_sites_clear))) struct guest_sites s = { 0 };

		if (guest_sites_read(g, (enum guest_site_kind)kind, &s, NULL) < 0)
			check(s.n == 0);
		for (size_t i = 1; i < s.n; i++)
			check(s.site[i - 1].at <= s.site[i].at);
	}
	if (guest_patching_prepare(g, &p, NULL) == 0)
		guest_patching_look(g, &p, 0, NULL);
	__attribute__((cleanup(guest_kprobes_clear))) struct guest_kprobes k = { 0 };
	if (guest_kprobes_read(g, &k, NULL) < 0)
		check(k.n == 0);
	guest_kprobes_near(&k, IMAGE_FUNC, 16);
	guest_kprobes_moving(g, NULL);
}

/* Kinds that believe those tables: every want is one that plan_build() can be given. */
static void use_kind(struct guest *g, enum patch_kind kind, uint64_t at, const char *to)
{
	__attribute__((cleanup(want_list_clear))) struct want_list wants = { 0 };
	__attribute__((cleanup(kind_tables_clear))) struct kind_tables tables = { 0 };
	_cleanup_(plan_free) struct poke_plan *plan = NULL;
	const struct kind_context ctx = { .arch = &arch_x86_64, .guest = g, .tables = &tables };
	struct patchfile_site s = { .kind = kind, .line = 1, .enable = true };
	struct err e = { 0 };

	patch_place_parse(to, &s.to);
	s.at.offset = at;
	if (kind_expand(&ctx, &s, &wants, &e) < 0) {
		check(wants.n == 0 && e.kind != ERR_NONE && e.text[0]);
		return;
	}
	check(wants.n >= 2 && wants.wants[0].data);
	for (size_t i = 0; i < wants.n; i++)
		check(wants.wants[i].len >= 1 && wants.wants[i].len <= 16 && wants.wants[i].split >= 1);
	if (plan_build(&arch_x86_64, BACKEND_NONSTOP | BACKEND_REMAP, wants.wants, wants.n, &plan, &e) == 0)
		check(plan->n_sites <= wants.n);
}

static void use(struct guest_image *image, struct guest *g)
{
	const struct guest_range ranges[] = { { IMAGE_FUNC, IMAGE_FUNC + 5 }, { IMAGE_FUNC_END, IMAGE_FUNC_END + 64 } };
	struct guest_blocker b = { 0 };
	uint64_t gpa, left;
	uint8_t buf[64];

	use_symbols(g);
	guest_revalidate(g, image->regs, IMAGE_CPUS, NULL);
	guest_translate(g, IMAGE_FUNC, &gpa, &left, NULL);
	guest_read(g, IMAGE_FUNC - 8, buf, sizeof(buf), NULL);
	use_padding(g);
	use_sites(g);
	use_kind(g, PATCH_KIND_STATIC_KEY, IMAGE_BASE + 0x8c0, "x");
	use_kind(g, PATCH_KIND_STATIC_CALL, IMAGE_BASE + 0x8d0, "null");
	use_kind(g, PATCH_KIND_STATIC_CALL, IMAGE_BASE + 0x8d0, "do_something");
	guest_stacks_prepare(g, NULL);
	if (guest_stacks_scan(g, image->regs, IMAGE_CPUS, ranges, ARRAY_SIZE(ranges), GUEST_STACKS_ALL, &b, NULL) == 1)
		check(b.range < ARRAY_SIZE(ranges) && memchr(b.comm, 0, sizeof(b.comm)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct guest_image image;
	_cleanup_(guest_free) struct guest *g = NULL;
	struct err e = { 0 };

	if (len == 0)
		return 0;
	image = *variant(data[0] % VARIANTS);
	if (data[0] & 0x20)
		image.regs[0].cs = 0x33;
	if (data[0] & 0x40)
		image.regs[0].gpr[VCPU_RSP] = image.per_cpu[0] + PCPU_IRQ + 4000;
	if (data[0] & 0x80)
		image.regs[1].has_idt = image.regs[0].has_idt = false;
	const uint8_t *p = data + 1, *end = data + len;
	for (int n = 0; n < EDITS_MAX && end - p > 3; n++)
		p = edit(&image, p, end);
	int r = guest_probe(&image.mem, image.regs, IMAGE_CPUS, &g, &e);
	if (r == 0)
		use(&image, g);
	else
		check(e.error == -r && e.text[0]);
	return 0;
}
