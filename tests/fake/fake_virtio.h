/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A scripted virtio driver on plain guest memory: what the guest's kernel would do, and what a bad one would. */
#ifndef VMPOKE_TESTS_FAKE_VIRTIO_H
#define VMPOKE_TESTS_FAKE_VIRTIO_H

#include "vmm/kvm/virtio.h"

#define FAKE_DESC(q)  (0x10000ull + (q) * 0x4000ull)
#define FAKE_AVAIL(q) (FAKE_DESC(q) + 0x1000)
#define FAKE_USED(q)  (FAKE_DESC(q) + 0x2000)
#define FAKE_WRITE    2u /* descriptor flag: for the device to write */
#define FAKE_NEXT     1u

struct fake_line {
	struct virtio_irq irq;
	bool level;
	unsigned raised;
};
void fake_line_init(struct fake_line *l);

struct fake_buf {
	uint64_t gpa;
	uint32_t len;
	bool write;
};

struct fake_driver {
	struct virtio_device *d;
	struct memory *mem;
	uint16_t size, next_desc[VIRTIO_QUEUES_MAX], avail[VIRTIO_QUEUES_MAX], seen[VIRTIO_QUEUES_MAX];
};

uint32_t fake_reg(struct virtio_device *d, uint64_t reg);
void fake_set(struct virtio_device *d, uint64_t reg, uint32_t value);

/* Resets the device and brings it up with all features it offers and all its queues, size entries each. */
void fake_up(struct fake_driver *f, struct virtio_device *d, struct memory *mem, uint16_t size);

/* Writes descriptor index of queue q as it is told. */
void fake_desc(struct fake_driver *f, unsigned q, uint16_t index, uint64_t gpa, uint32_t len, uint16_t flags, uint16_t next);
/* Makes descriptor head available. */
void fake_offer(struct fake_driver *f, unsigned q, uint16_t head);
/* A chain of n buffers, made available. Returns its head. */
uint16_t fake_add(struct fake_driver *f, unsigned q, const struct fake_buf *bufs, unsigned n);
/* The next request that came back: its head, or -1. *ret_len: what the device says it wrote. */
int fake_used(struct fake_driver *f, unsigned q, uint32_t *ret_len);

#endif
