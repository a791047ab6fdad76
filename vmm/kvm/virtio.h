/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtio device of our VMM: registers (virtio_mmio.c), a thread that does its
 * work (virtio_thread.c), and ops that say which device it is. Knows guest memory
 * and an interrupt line, no KVM: tests drive it on plain memory.
 *
 * Threads: vCPU threads access registers, the device's own thread serves the
 * queues. device.lock guards every field marked (L) and is held for short work
 * only, never over disk I/O, because a vCPU may wait for it. Order: device.lock,
 * then memory.lock; machine.lock is never taken under either.
 */
#ifndef VMPOKE_VMM_KVM_VIRTIO_H
#define VMPOKE_VMM_KVM_VIRTIO_H

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/err.h"
#include "vmm/kvm/memory.h"
#include "vmm/kvm/virtq.h"

#define VIRTIO_QUEUES_MAX 6
#define VIRTIO_CONFIG_MAX 32
#define VIRTIO_MMIO_SIZE  0x200u

#define VIRTIO_ID_BLK	  2
#define VIRTIO_ID_CONSOLE 3

/* Device status, 2.1. */
#define VIRTIO_STATUS_FEATURES_OK 0x08u
#define VIRTIO_STATUS_DRIVER_OK	  0x04u
#define VIRTIO_STATUS_NEEDS_RESET 0x40u

#define VIRTIO_F_VERSION_1 (1ull << 32)

#define VIRTIO_INT_USED	  1u
#define VIRTIO_INT_CONFIG 2u

struct virtio_device;

struct virtio_ops {
	const char *name;
	uint32_t id;
	unsigned n_queues;
	/* On the device's thread, under the lock (which it may drop and take again): serves what is there, never waits. */
	void (*work)(struct virtio_device *d);
	/* Under the lock: a descriptor the thread also waits for; p->fd is -1 before. NULL: none. */
	void (*wants)(struct virtio_device *d, struct pollfd *p);
	/* Under the lock: the guest reset the device. NULL: nothing to forget. */
	void (*reset)(struct virtio_device *d);
};

/* The interrupt line of a device, level-triggered. */
struct virtio_irq {
	void (*set)(struct virtio_irq *irq, bool level);
};

struct virtio_device {
	const struct virtio_ops *ops;
	struct memory *memory;
	struct virtio_irq *irq;
	uint64_t features;		  /* offered */
	uint8_t config[VIRTIO_CONFIG_MAX]; /* fixed after set-up */
	int kick_fd;			  /* eventfd: something to do */
	pthread_t thread;
	bool has_thread;
	atomic_bool stop;
	pthread_mutex_t lock;
	uint32_t status, interrupt;	    /* (L) */
	uint32_t features_sel, driver_sel;  /* (L) */
	uint64_t driver_features;	    /* (L) */
	uint32_t queue_sel;		    /* (L) */
	uint64_t generation;		    /* (L) grows with each reset: who dropped the lock must look */
	struct virtq queues[VIRTIO_QUEUES_MAX]; /* (L) */
};

/* Everything but ops-specific fields; -errno. done() stops the thread; zeroed objects allowed. */
int virtio_init(struct virtio_device *d, const struct virtio_ops *ops, struct memory *mem, struct virtio_irq *irq);
void virtio_done(struct virtio_device *d);

/* One access of 1 to 8 bytes to the register window. Reads of nothing are zero. */
void virtio_mmio_access(struct virtio_device *d, uint64_t offset, bool write, uint8_t *data, size_t len);

/* virtio_thread.c */
int virtio_start(struct virtio_device *d, struct err *e);
void virtio_kick(struct virtio_device *d);
/* One round of work on the calling thread, for tests; what the thread does in its loop. */
void virtio_work(struct virtio_device *d);

/* The ones below: caller holds the lock. */
bool virtio_running(const struct virtio_device *d); /* driver is up, nothing is broken */
void virtio_reset(struct virtio_device *d); /* what the driver does by writing 0 to the status */
void virtio_interrupt(struct virtio_device *d, uint32_t bits);
/* The guest broke the rules: it must reset the device before anything else is done for it (2.1.2). */
void virtio_fail(struct virtio_device *d);
/* virtq_pop() and virtq_push() of queue n, with failure and interrupt seen to. pop: true: there is a request. */
bool virtio_pop(struct virtio_device *d, unsigned n, struct virtq_chain *ret);
void virtio_push(struct virtio_device *d, unsigned n, uint16_t head, uint32_t written);

#endif
