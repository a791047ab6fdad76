// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The device's side of a split virtqueue; see virtq.h. Every access goes through
 * memory_read() and memory_write(), so that it lands in the page that is the
 * guest's at that moment: pages move when text is flipped. Must never keep a host
 * address, never believe a length, and never walk a chain further than the ring
 * is long.
 */
#include "vmm/kvm/virtq.h"

#include <errno.h>
#include <stdatomic.h>

/* 2.7.5, 2.7.6, 2.7.8. All little-endian, as we are. */
struct desc {
	uint64_t gpa;
	uint32_t len;
	uint16_t flags, next;
};
#define DESC_NEXT  1u
#define DESC_WRITE 2u

struct used_elem {
	uint32_t id, len;
};
#define RING_IDX	   2u /* offset of idx in both rings; flags are at 0 */
#define RING_ENTRIES	   4u
#define AVAIL_NO_INTERRUPT 1u

bool virtq_enable(struct virtq *q)
{
	bool ok = q->size && q->size <= VIRTQ_SIZE_MAX && !(q->size & (q->size - 1)) && !(q->desc % 16) &&
		  !(q->avail % 2) && !(q->used % 4);

	q->next_avail = q->next_used = 0;
	q->ready = ok;
	return ok;
}

int virtq_pending(const struct virtq *q, struct memory *mem)
{
	uint16_t idx;

	if (!q->ready)
		return 0;
	if (memory_read(mem, q->avail + RING_IDX, &idx, sizeof(idx)) < 0)
		return -EPROTO;
	uint16_t n = (uint16_t)(idx - q->next_avail);
	if (n > q->size)
		return -EPROTO;
	/* What the entries point to was written before idx was. */
	atomic_thread_fence(memory_order_acquire);
	return n > 0;
}

static int add_segment(struct virtq_chain *c, const struct desc *d)
{
	bool in = d->flags & DESC_WRITE;

	/* 2.7.4.2: the driver puts what the device may write behind all it may read. We offer no indirect tables. */
	if (d->flags & ~(DESC_NEXT | DESC_WRITE) || (!in && c->n_in))
		return -EPROTO;
	c->segments[c->n_out + c->n_in] = (struct virtq_segment){ d->gpa, d->len };
	c->n_in += in;
	c->n_out += !in;
	*(in ? &c->in_len : &c->out_len) += d->len;
	return 0;
}

static int walk_chain(const struct virtq *q, struct memory *mem, uint16_t head, struct virtq_chain *c)
{
	uint16_t index = head;

	c->head = head;
	c->n_out = c->n_in = 0;
	c->out_len = c->in_len = 0;
	/* 2.7.5.1: no chain is longer than the ring; more is a loop. */
	for (unsigned n = 0; n < q->size; n++) {
		struct desc d;
		if (index >= q->size || memory_read(mem, q->desc + index * sizeof(d), &d, sizeof(d)) < 0 ||
		    add_segment(c, &d) < 0)
			return -EPROTO;
		if (!(d.flags & DESC_NEXT))
			return 1;
		index = d.next;
	}
	return -EPROTO;
}

int virtq_pop(struct virtq *q, struct memory *mem, struct virtq_chain *ret)
{
	uint64_t slot = RING_ENTRIES + 2ull * (q->next_avail & (q->size - 1u));
	uint16_t head;
	int r = virtq_pending(q, mem);

	if (r <= 0)
		return r;
	if (memory_read(mem, q->avail + slot, &head, sizeof(head)) < 0)
		return -EPROTO;
	r = walk_chain(q, mem, head, ret);
	if (r > 0)
		q->next_avail++;
	return r;
}

int virtq_push(struct virtq *q, struct memory *mem, uint16_t head, uint32_t written)
{
	const struct used_elem elem = { head, written };
	uint64_t slot = RING_ENTRIES + sizeof(elem) * (q->next_used & (q->size - 1u));
	uint16_t idx = (uint16_t)(q->next_used + 1), flags;

	if (!q->ready)
		return 0; /* taken back meanwhile */
	if (memory_write(mem, q->used + slot, &elem, sizeof(elem)) < 0)
		return -EPROTO;
	atomic_thread_fence(memory_order_release);
	if (memory_write(mem, q->used + RING_IDX, &idx, sizeof(idx)) < 0)
		return -EPROTO;
	q->next_used = idx;
	/* 2.7.7.2: flags are looked at after idx is out, else a driver that just asked for an interrupt gets none. */
	atomic_thread_fence(memory_order_seq_cst);
	if (memory_read(mem, q->avail, &flags, sizeof(flags)) < 0)
		return -EPROTO;
	return !(flags & AVAIL_NO_INTERRUPT);
}

typedef int transfer_fn(struct memory *mem, uint64_t gpa, uint8_t *buf, size_t len);

static int from_guest(struct memory *mem, uint64_t gpa, uint8_t *buf, size_t len)
{
	return memory_read(mem, gpa, buf, len);
}

static int to_guest(struct memory *mem, uint64_t gpa, uint8_t *buf, size_t len)
{
	return memory_write(mem, gpa, buf, len);
}

static int transfer(const struct virtq_segment *s, unsigned n, struct memory *mem, uint64_t offset, uint8_t *buf,
		    size_t len, transfer_fn *move)
{
	for (unsigned i = 0; i < n && len; i++) {
		if (offset >= s[i].len) {
			offset -= s[i].len;
			continue;
		}
		size_t part = s[i].len - offset < len ? (size_t)(s[i].len - offset) : len;
		if (s[i].gpa > UINT64_MAX - offset || move(mem, s[i].gpa + offset, buf, part) < 0)
			return -EFAULT;
		buf += part;
		len -= part;
		offset = 0;
	}
	return len ? -ENODATA : 0;
}

int virtq_read(const struct virtq_chain *c, struct memory *mem, uint64_t offset, void *buf, size_t len)
{
	return transfer(c->segments, c->n_out, mem, offset, buf, len, from_guest);
}

int virtq_write(const struct virtq_chain *c, struct memory *mem, uint64_t offset, const void *buf, size_t len)
{
	return transfer(c->segments + c->n_out, c->n_in, mem, offset, (uint8_t *)(uintptr_t)buf, len, to_guest);
}
