// SPDX-License-Identifier: GPL-2.0-or-later
/* See fake_virtio.h. Writes rings byte by byte as told: must never correct what a test does wrong on purpose. */
#include "tests/fake/fake_virtio.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/util.h"

static void line_set(struct virtio_irq *irq, bool level)
{
	struct fake_line *l = container_of(irq, struct fake_line, irq);

	l->raised += level && !l->level;
	l->level = level;
}

void fake_line_init(struct fake_line *l)
{
	*l = (struct fake_line){ .irq.set = line_set };
}

uint32_t fake_reg(struct virtio_device *d, uint64_t reg)
{
	uint32_t value = 0xdeadbeef;

	virtio_mmio_access(d, reg, false, (uint8_t *)&value, sizeof(value));
	return value;
}

void fake_set(struct virtio_device *d, uint64_t reg, uint32_t value)
{
	virtio_mmio_access(d, reg, true, (uint8_t *)&value, sizeof(value));
}

static void put(struct fake_driver *f, uint64_t gpa, const void *bytes, size_t len)
{
	if (memory_write(f->mem, gpa, bytes, len) < 0)
		abort();
}

static void set_address(struct virtio_device *d, uint64_t reg, uint64_t gpa)
{
	fake_set(d, reg, (uint32_t)gpa);
	fake_set(d, reg + 4, (uint32_t)(gpa >> 32));
}

void fake_up(struct fake_driver *f, struct virtio_device *d, struct memory *mem, uint16_t size)
{
	static const uint8_t zeroes[0x4000];

	*f = (struct fake_driver){ .d = d, .mem = mem, .size = size };
	fake_set(d, 0x70, 0);
	fake_set(d, 0x70, 3);
	for (uint32_t half = 0; half < 2; half++) {
		fake_set(d, 0x14, half);
		fake_set(d, 0x24, half);
		fake_set(d, 0x20, fake_reg(d, 0x10));
	}
	fake_set(d, 0x70, 0xb);
	for (unsigned q = 0; q < d->ops->n_queues; q++) {
		put(f, FAKE_DESC(q), zeroes, sizeof(zeroes));
		fake_set(d, 0x30, q);
		fake_set(d, 0x38, size);
		set_address(d, 0x80, FAKE_DESC(q));
		set_address(d, 0x90, FAKE_AVAIL(q));
		set_address(d, 0xa0, FAKE_USED(q));
		fake_set(d, 0x44, 1);
	}
	fake_set(d, 0x70, 0xf);
}

void fake_desc(struct fake_driver *f, unsigned q, uint16_t index, uint64_t gpa, uint32_t len, uint16_t flags, uint16_t next)
{
	struct {
		uint64_t gpa;
		uint32_t len;
		uint16_t flags, next;
	} d = { gpa, len, flags, next };

	put(f, FAKE_DESC(q) + index * 16ull, &d, sizeof(d));
}

void fake_offer(struct fake_driver *f, unsigned q, uint16_t head)
{
	put(f, FAKE_AVAIL(q) + 4 + 2ull * (f->avail[q] % f->size), &head, sizeof(head));
	f->avail[q]++;
	put(f, FAKE_AVAIL(q) + 2, &f->avail[q], sizeof(f->avail[q]));
}

uint16_t fake_add(struct fake_driver *f, unsigned q, const struct fake_buf *bufs, unsigned n)
{
	uint16_t head = f->next_desc[q] % f->size;

	for (unsigned i = 0; i < n; i++) {
		uint16_t index = f->next_desc[q]++ % f->size, next = f->next_desc[q] % f->size;
		uint16_t flags = (uint16_t)((bufs[i].write ? FAKE_WRITE : 0) | (i + 1 < n ? FAKE_NEXT : 0));
		fake_desc(f, q, index, bufs[i].gpa, bufs[i].len, flags, next);
	}
	fake_offer(f, q, head);
	return head;
}

int fake_used(struct fake_driver *f, unsigned q, uint32_t *ret_len)
{
	uint32_t elem[2];
	uint16_t idx;

	if (memory_read(f->mem, FAKE_USED(q) + 2, &idx, sizeof(idx)) < 0)
		abort();
	if (idx == f->seen[q])
		return -1;
	memory_read(f->mem, FAKE_USED(q) + 4 + 8ull * (f->seen[q] % f->size), elem, sizeof(elem));
	f->seen[q]++;
	if (ret_len)
		*ret_len = elem[1];
	return (int)elem[0];
}
