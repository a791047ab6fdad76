/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device's side of one split virtqueue (Virtual I/O Device 1.2, section 2.7).
 * Rings, descriptors and buffers belong to a guest that may be hostile and may
 * change them at any time: each word is read once, checked, and used as read.
 */
#ifndef VMPOKE_VMM_KVM_VIRTQ_H
#define VMPOKE_VMM_KVM_VIRTQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/kvm/memory.h"

#define VIRTQ_SIZE_MAX 128u

struct virtq {
	uint16_t size;		    /* entries, a power of two */
	bool ready;		    /* the driver set it up and did not take it back */
	uint64_t desc, avail, used; /* guest-physical */
	uint16_t next_avail, next_used;
};

struct virtq_segment {
	uint64_t gpa;
	uint32_t len;
};

/* One request: what the device may read, then what it may write. A copy: the guest cannot change it any more. */
struct virtq_chain {
	uint16_t head;
	unsigned n_out, n_in;	   /* segments[]: first out, then in */
	uint64_t out_len, in_len;  /* bytes */
	struct virtq_segment segments[VIRTQ_SIZE_MAX];
};

/* Takes over what the driver set: true, or false when size or alignment are not what 2.7 asks for. */
bool virtq_enable(struct virtq *q);

/* Is there a request? 1, 0, or -EPROTO. */
int virtq_pending(const struct virtq *q, struct memory *mem);

/* The next request: 1, 0 when there is none, -EPROTO when the guest broke the rules (loop, index, order, not RAM). */
int virtq_pop(struct virtq *q, struct memory *mem, struct virtq_chain *ret);

/* Gives a request back, written bytes into it. 1: the driver wants an interrupt, 0: it does not, -EPROTO. */
int virtq_push(struct virtq *q, struct memory *mem, uint16_t head, uint32_t written);

/* len bytes at offset of the readable or of the writable part. -ENODATA beyond its end, -EFAULT when not RAM. */
int virtq_read(const struct virtq_chain *c, struct memory *mem, uint64_t offset, void *buf, size_t len);
int virtq_write(const struct virtq_chain *c, struct memory *mem, uint64_t offset, const void *buf, size_t len);

#endif
