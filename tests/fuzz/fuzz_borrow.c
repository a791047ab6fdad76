// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Hits of any registers on any memory: whatever a guest makes up, a vCPU is either left
 * alone or sent to one of the few places that the states know, with a stack pointer
 * near the one it came with.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/borrow/steps.h"

struct input {
	struct borrow_memory ops;
	const uint8_t *data;
	size_t len;
};

static int take(struct input *in, void *buf, size_t len)
{
	if (in->len < len)
		return -EFAULT;
	memcpy(buf, in->data, len);
	in->data += len;
	in->len -= len;
	return 0;
}

static int read_any(struct borrow_memory *m, uint64_t gva, void *buf, size_t len)
{
	(void)gva;
	return take(container_of(m, struct input, ops), buf, len);
}

static int write_any(struct borrow_memory *m, uint64_t gva, const void *buf, size_t len)
{
	uint8_t byte;

	(void)buf;
	(void)len;
	return gva < 0x1000 ? -EFAULT : read_any(m, gva, &byte, 1) < 0 || byte ? 0 : -EFAULT;
}

/* One hit; the compact form of registers keeps interesting values likely. */
static int hit(struct input *in, struct borrow_steps *s)
{
	uint8_t head[4];
	struct vcpu_regs r = { .cs = 0x10, .rflags = 0x202 }, before;

	if (take(in, head, sizeof(head)) < 0)
		return -ENODATA;
	r.rip = head[0] < BORROW_SITES ? s->site[head[0]] : head[0];
	if (head[1] & 1)
		r.cs = 0x33;
	if (head[1] & 2)
		r.rflags = 0;
	r.gpr[VCPU_RSP] = 0xffffc90000010000u + head[2] * 0x40u;
	r.gpr[VCPU_RDI] = 0xffffc90000010000u + head[3] * 0x40u + 0x18;
	if ((head[1] & 4) && take(in, &r.gpr, sizeof(r.gpr)) < 0)
		return -ENODATA;
	before = r;
	if (borrow_steps_hit(s, &in->ops, &r) != BORROW_GO)
		return memcmp(&r, &before, sizeof(r)) ? abort(), 0 : 0;
	uint64_t moved = r.gpr[VCPU_RSP] - before.gpr[VCPU_RSP] + 16;
	if ((r.rip != s->fn && r.rip != s->lock_fn && r.rip != s->sleep_fn && r.rip != s->back) || moved > 24 ||
	    r.rip < s->text_start || r.rip >= s->text_end || before.cs != 0x10)
		abort();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { .ops = { read_any, write_any }, .data = data, .len = size };
	struct borrow_steps s = {
		.site = { 0xffffffff81001000, 0xffffffff81001010, 0xffffffff81002000 },
		.text_start = 0xffffffff81000000,
		.text_end = 0xffffffff81100000,
		.fn = 0xffffffff81003000,
		.lock_fn = 0xffffffff81003100,
		.sleep_fn = 0xffffffff81003200,
	};
	uint8_t state;

	while (take(&in, &state, 1) == 0) {
		if (state & 0x80)
			s.state = state & 0x40	  ? BORROW_WANTED
				  : state & 0x20 ? BORROW_LOCK_WANTED
				  : state & 0x10 ? BORROW_KEPT_WANTED
						 : BORROW_RELEASED;
		if ((s.state == BORROW_RELEASED || s.state == BORROW_KEPT_WANTED) && !s.back)
			s.state = BORROW_IDLE; /* only ever from BORROW_KEPT */
		if (hit(&in, &s) < 0)
			break;
	}
	return 0;
}
