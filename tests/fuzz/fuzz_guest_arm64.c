// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A valid little arm64 guest (tests/fake/guest_arm64.c) with the input's edits applied, so that mutations
 * get deep: page tables, kallsyms, code that refers to tables, notes, BTF, tasks, per-cpu areas, registers.
 * Input: records { u8 area and width, u16 offset in the area, value }.
 */
#include <stdlib.h>
#include <string.h>

/* The fuzz build links no test helpers. */
#include "tests/fake/guest_arm64.c"

#define EDITS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *area_of(struct guest_arm64 *g, unsigned which, size_t *ret_len)
{
	const struct {
		uint8_t *start;
		size_t len;
	} areas[8] = {
		{ g->ram + ARM_TABLES, 0x4000 },
		{ guest_arm64_at(g, g->num_syms) - 8, 64 },
		{ guest_arm64_at(g, g->token_table) - 256, 2048 },
		{ guest_arm64_at(g, ARM_TEXT + 0x1000), 0x140 }, /* code */
		{ guest_arm64_at(g, g->banner), 1024 },		 /* and the tables and notes behind it */
		{ guest_arm64_at(g, g->btf), 1400 },
		{ guest_arm64_at(g, g->task[0]), ARM_TASKS * ARM_TASK_BYTES },
		{ (uint8_t *)&g->regs, sizeof(g->regs) },
	};

	*ret_len = areas[which & 7].len;
	return areas[which & 7].start;
}

static const uint8_t *edit(struct guest_arm64 *g, const uint8_t *p, const uint8_t *end)
{
	size_t width = (size_t)1 << (p[0] >> 3 & 3), len;
	uint8_t *area = area_of(g, p[0], &len);
	size_t at = ((size_t)(p[1] | p[2] << 8)) % len;

	p += 3;
	if ((size_t)(end - p) < width || at + width > len)
		return end;
	memcpy(area + at, p, width);
	for (int i = 0; i < ARM_CPUS; i++)
		g->regs[i].arch = VCPU_ARM64;
	return p + width;
}

static void look_around(struct guest_arm64 *image, struct guest *g)
{
	struct guest_range range = { ARM_FUNC, ARM_FUNC_END };
	struct guest_blocker blocker = { 0 };
	struct guest_symbol s;
	uint64_t addr, size;
	struct err e = { 0 };

	guest_symbol_find(g, "__start___jump_table", &addr, NULL, NULL);
	guest_symbol_at(g, ARM_FUNC + 8, &s, &size);
	if (guest_stacks_scan(g, image->regs, ARM_CPUS, &range, 1, GUEST_STACKS_ALL, &blocker, &e) < 0 && !e.text[0])
		abort();
	guest_revalidate(g, image->regs, ARM_CPUS, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct guest_arm64 *pristine, *image;
	const uint8_t *p = data, *end = data + size;
	struct guest *g = NULL;
	struct err e = { 0 };

	if (!image) {
		pristine = malloc(sizeof(*pristine));
		image = malloc(sizeof(*image));
		if (!pristine || !image)
			abort();
		guest_arm64_build(pristine);
	}
	memcpy(image, pristine, sizeof(*image));
	for (int i = 0; i < EDITS_MAX && end - p >= 4; i++)
		p = edit(image, p, end);
	int r = guest_probe(&image->mem, image->regs, ARM_CPUS, &g, &e);
	if (r < 0 ? !e.text[0] : !g)
		abort();
	if (r == 0)
		look_around(image, g);
	guest_free(g);
	return 0;
}
