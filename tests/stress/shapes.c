// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The shapes of patch sites, one row each: what kernels change in their text
 * (calls, jumps, branches, immediates, NOP pads), a function's prologue replaced
 * by a jump, and two that need more than emulation: a load relative to RIP, and
 * a range with a call inside, whose return address lies in the middle of it.
 * Bytes are written out by hand: the decoder under test must not be their source.
 */
#include <string.h>

#include "protocol/util.h"
#include "tests/stress/text.h"

static void put(uint8_t *out, size_t *n, const uint8_t *bytes, size_t len)
{
	memcpy(out + *n, bytes, len);
	*n += len;
}

#define BEFORE(c, ...) \
	put((c)->before, &(c)->n_before, (const uint8_t[]){ __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }))
#define AFTER(c, ...) \
	put((c)->after, &(c)->n_after, (const uint8_t[]){ __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }))
#define OLD(c, ...) memcpy((c)->versions[0], (const uint8_t[]){ __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }))
#define NEW(c, ...) memcpy((c)->versions[1], (const uint8_t[]){ __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }))

/* An opcode and the distance from its end to a target, at an offset in the site. */
static void relative(const struct text_frame *f, uint8_t *site, size_t at, const uint8_t *opcode, size_t n_opcode,
		     uint64_t target)
{
	uint32_t distance = (uint32_t)(target - (f->site + at + n_opcode + 4));

	memcpy(site + at, opcode, n_opcode);
	memcpy(site + at + n_opcode, &distance, 4);
}

/* mov $result, %eax; ret: 6 bytes. */
static void return_result(const struct text_frame *f, struct text_code *c, int version)
{
	uint32_t value = (uint32_t)f->results[version];

	AFTER(c, 0xb8);
	put(c->after, &c->n_after, (const uint8_t *)&value, 4);
	AFTER(c, 0xc3);
}

static void build_call(const struct text_frame *f, struct text_code *c)
{
	BEFORE(c, 0x48, 0x83, 0xec, 0x08); /* sub $8, %rsp */
	c->n_site = 5;
	for (int v = 0; v < 2; v++)
		relative(f, c->versions[v], 0, (const uint8_t[]){ 0xe8 }, 1, f->leaf[v]);
	AFTER(c, 0x48, 0x83, 0xc4, 0x08, 0xc3); /* add $8, %rsp; ret */
}

static void build_jmp(const struct text_frame *f, struct text_code *c)
{
	c->n_site = 5;
	for (int v = 0; v < 2; v++)
		relative(f, c->versions[v], 0, (const uint8_t[]){ 0xe9 }, 1, f->leaf[v]);
	AFTER(c, 0x0f, 0x0b); /* ud2 */
}

static void build_jcc(const struct text_frame *f, struct text_code *c)
{
	BEFORE(c, 0x31, 0xc0); /* xor %eax, %eax: ZF */
	c->n_site = 6;
	for (int v = 0; v < 2; v++)
		relative(f, c->versions[v], 0, (const uint8_t[]){ 0x0f, 0x84 }, 2, f->leaf[v]); /* je */
	AFTER(c, 0x0f, 0x0b);
}

static void build_jcc_invert(const struct text_frame *f, struct text_code *c)
{
	BEFORE(c, 0x31, 0xc0);
	c->n_site = 6;
	relative(f, c->versions[0], 0, (const uint8_t[]){ 0x0f, 0x84 }, 2, f->leaf[0]); /* je, taken */
	relative(f, c->versions[1], 0, (const uint8_t[]){ 0x0f, 0x85 }, 2, f->leaf[0]); /* jne, not taken */
	return_result(f, c, 1);
}

static void build_jmp8(const struct text_frame *f, struct text_code *c)
{
	c->n_site = 2;
	OLD(c, 0xeb, 0x00);
	NEW(c, 0xeb, 0x06);
	return_result(f, c, 0);
	return_result(f, c, 1);
}

static void build_jcc8(const struct text_frame *f, struct text_code *c)
{
	BEFORE(c, 0x31, 0xc0);
	c->n_site = 2;
	OLD(c, 0x75, 0x06); /* jne, not taken */
	NEW(c, 0x74, 0x06); /* je, taken */
	return_result(f, c, 0);
	return_result(f, c, 1);
}

/* mov $imm, %al / %ax / %eax / %rax; ret. */
static void build_mov(const struct text_frame *f, struct text_code *c, const uint8_t *opcode, size_t n_opcode,
		      size_t width)
{
	BEFORE(c, 0x31, 0xc0);
	c->n_site = n_opcode + width;
	for (int v = 0; v < 2; v++) {
		memcpy(c->versions[v], opcode, n_opcode);
		memcpy(c->versions[v] + n_opcode, &f->results[v], width);
	}
	AFTER(c, 0xc3);
}

static void build_mov1(const struct text_frame *f, struct text_code *c)
{
	build_mov(f, c, (const uint8_t[]){ 0xb0 }, 1, 1);
}

static void build_mov2(const struct text_frame *f, struct text_code *c)
{
	build_mov(f, c, (const uint8_t[]){ 0x66, 0xb8 }, 2, 2);
}

static void build_mov4(const struct text_frame *f, struct text_code *c)
{
	build_mov(f, c, (const uint8_t[]){ 0xb8 }, 1, 4);
}

static void build_mov8(const struct text_frame *f, struct text_code *c)
{
	build_mov(f, c, (const uint8_t[]){ 0x48, 0xb8 }, 2, 8);
}

/* A static key: nop <-> jmp. */
static void build_nop_jmp(const struct text_frame *f, struct text_code *c)
{
	c->n_site = 5;
	OLD(c, 0x0f, 0x1f, 0x44, 0x00, 0x00);
	relative(f, c->versions[1], 0, (const uint8_t[]){ 0xe9 }, 1, f->leaf[1]);
	return_result(f, c, 0);
}

/* A function tracer: nop <-> call. */
static void build_nop_call(const struct text_frame *f, struct text_code *c)
{
	uint32_t value = (uint32_t)f->results[0];

	BEFORE(c, 0x48, 0x83, 0xec, 0x08, 0xb8); /* sub $8, %rsp; mov $result, %eax */
	put(c->before, &c->n_before, (const uint8_t *)&value, 4);
	c->n_site = 5;
	OLD(c, 0x0f, 0x1f, 0x44, 0x00, 0x00);
	relative(f, c->versions[1], 0, (const uint8_t[]){ 0xe8 }, 1, f->leaf[1]);
	AFTER(c, 0x48, 0x83, 0xc4, 0x08, 0xc3);
}

/* A function replaced from its first instruction on: push, mov, sub <-> jmp, nop. */
static void build_prologue(const struct text_frame *f, struct text_code *c)
{
	uint32_t value = (uint32_t)f->results[0];

	c->n_site = 8;
	OLD(c, 0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x10);
	relative(f, c->versions[1], 0, (const uint8_t[]){ 0xe9 }, 1, f->leaf[1]);
	memcpy(c->versions[1] + 5, (const uint8_t[]){ 0x0f, 0x1f, 0x00 }, 3);
	AFTER(c, 0xb8);
	put(c->after, &c->n_after, (const uint8_t *)&value, 4);
	AFTER(c, 0xc9, 0xc3); /* leave; ret */
}

/* mov distance(%rip), %rax; ret; then the two values. */
static void build_load(const struct text_frame *f, struct text_code *c)
{
	c->n_site = 7;
	OLD(c, 0x48, 0x8b, 0x05, 0x01, 0x00, 0x00, 0x00);
	NEW(c, 0x48, 0x8b, 0x05, 0x09, 0x00, 0x00, 0x00);
	AFTER(c, 0xc3);
	put(c->after, &c->n_after, (const uint8_t *)f->results, sizeof(f->results));
}

/* call, nop <-> nop, call: while the old callee runs, the range has a return address in its middle. */
static void build_call_inside(const struct text_frame *f, struct text_code *c)
{
	BEFORE(c, 0x48, 0x83, 0xec, 0x08);
	c->n_site = 8;
	relative(f, c->versions[0], 0, (const uint8_t[]){ 0xe8 }, 1, f->leaf[0]);
	memcpy(c->versions[0] + 5, (const uint8_t[]){ 0x0f, 0x1f, 0x00 }, 3);
	memcpy(c->versions[1], (const uint8_t[]){ 0x0f, 0x1f, 0x00 }, 3);
	relative(f, c->versions[1], 3, (const uint8_t[]){ 0xe8 }, 1, f->leaf[1]);
	AFTER(c, 0x48, 0x83, 0xc4, 0x08, 0xc3);
}

const struct text_shape text_shapes[] = {
	{ "call", 4, build_call, false },
	{ "jmp", 4, build_jmp, false },
	{ "jcc", 4, build_jcc, false },
	{ "jcc-invert", 4, build_jcc_invert, false },
	{ "jmp8", 4, build_jmp8, false },
	{ "jcc8", 4, build_jcc8, false },
	{ "mov1", 1, build_mov1, false },
	{ "mov2", 2, build_mov2, false },
	{ "mov4", 4, build_mov4, false },
	{ "mov8", 8, build_mov8, false },
	{ "nop-jmp", 4, build_nop_jmp, false },
	{ "nop-call", 4, build_nop_call, false },
	{ "prologue", 4, build_prologue, .may_fault = true },
	{ "load", 8, build_load, .may_fault = true },
	{ "call-inside", 4, build_call_inside, .may_fault = true },
};
const size_t text_n_shapes = ARRAY_SIZE(text_shapes);

const struct text_shape *text_shape_find(const char *name, size_t len)
{
	for (size_t i = 0; i < text_n_shapes; i++)
		if (strlen(text_shapes[i].name) == len && memcmp(text_shapes[i].name, name, len) == 0)
			return &text_shapes[i];
	return NULL;
}
