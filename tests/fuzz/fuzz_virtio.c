// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A hostile guest (and a careless host) against the console, a disk and a read-only
 * disk: register accesses, descriptors, rings, bytes through the port, in any order.
 * The interrupt line must always say what the register says, and the read-only disk
 * must stay as it was. Input: operations of a kind, a device and seven bytes each.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/kvm/virtio_blk.h"
#include "vmm/kvm/virtio_console.h"

#define MEMORY	  (1ull << 20)
#define RINGS(q)  ((q) * 0x4000ull) /* descriptors, +0x1000 available, +0x2000 used */
#define RING	  8u
#define DISK	  (64u << 10)
#define DEVICES	  3u
#define OPS_MAX	  2000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct line {
	struct virtio_irq irq;
	bool level;
};

struct world {
	struct memory mem;
	struct line lines[DEVICES];
	struct virtio_console *console;
	struct virtio_blk *disks[2];
	struct virtio_device *devices[DEVICES];
	int images[2], host;
};

struct op {
	uint8_t kind, device, b[6];
} __attribute__((packed));

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void line_set(struct virtio_irq *irq, bool level)
{
	container_of(irq, struct line, irq)->level = level;
}

static void world_init(struct world *w)
{
	*w = (struct world){ .host = -1 };
	check(memory_init(&w->mem, MEMORY, NULL) == 0);
	for (unsigned i = 0; i < DEVICES; i++)
		w->lines[i].irq.set = line_set;
	check(virtio_console_create(&w->mem, &w->lines[0].irq, &w->console, NULL) == 0);
	w->devices[0] = virtio_console_device(w->console);
	for (unsigned i = 0; i < 2; i++) {
		w->images[i] = memfd_create("fuzz", MFD_CLOEXEC);
		check(w->images[i] >= 0 && ftruncate(w->images[i], DISK) == 0);
		check(virtio_blk_create(&w->mem, &w->lines[i + 1].irq, w->images[i], i == 1, "id", &w->disks[i], NULL) == 0);
		w->devices[i + 1] = virtio_blk_device(w->disks[i]);
	}
}

static void world_done(struct world *w)
{
	static const uint8_t zeroes[DISK];
	static uint8_t got[DISK];

	check(pread(w->images[1], got, DISK, 0) == DISK && memcmp(got, zeroes, DISK) == 0);
	virtio_console_destroy(w->console);
	for (unsigned i = 0; i < 2; i++) {
		virtio_blk_destroy(w->disks[i]);
		close(w->images[i]);
	}
	if (w->host >= 0)
		close(w->host);
	memory_done(&w->mem);
}

static void set(struct virtio_device *d, uint64_t reg, uint32_t value)
{
	virtio_mmio_access(d, reg, true, (uint8_t *)&value, sizeof(value));
}

/* As a driver does it, so that the fuzzer need not find the way. */
static void bring_up(struct virtio_device *d)
{
	set(d, 0x70, 0);
	set(d, 0x24, 1);
	set(d, 0x20, 1);
	set(d, 0x24, 0);
	set(d, 0x20, (uint32_t)d->features);
	set(d, 0x70, 0xb);
	for (uint32_t q = 0; q < d->ops->n_queues; q++) {
		set(d, 0x30, q);
		set(d, 0x38, RING);
		set(d, 0x80, (uint32_t)RINGS(q));
		set(d, 0x90, (uint32_t)RINGS(q) + 0x1000);
		set(d, 0xa0, (uint32_t)RINGS(q) + 0x2000);
		set(d, 0x44, 1);
	}
	set(d, 0x70, 0xf);
}

/* Makes descriptor b[1] available in queue b[0]. */
static void offer(struct world *w, const uint8_t *b)
{
	uint64_t avail = RINGS(b[0] % VIRTIO_QUEUES_MAX) + 0x1000;
	uint16_t idx, head = b[1];

	memory_read(&w->mem, avail + 2, &idx, sizeof(idx));
	memory_write(&w->mem, avail + 4 + 2ull * (idx % RING), &head, sizeof(head));
	idx++;
	memory_write(&w->mem, avail + 2, &idx, sizeof(idx));
}

/* Descriptor b[1] of queue b[0]: page b[2], length 2^(b[3] % 32) - (b[3] / 32), flags b[4], next b[5]. */
static void describe(struct world *w, const uint8_t *b)
{
	struct {
		uint64_t gpa;
		uint32_t len;
		uint16_t flags, next;
	} d = { b[2] * 0x1080ull, (1u << b[3] % 32) - b[3] / 32, b[4] & 7, b[5] };

	memory_write(&w->mem, RINGS(b[0] % VIRTIO_QUEUES_MAX) + 16ull * b[1], &d, sizeof(d));
}

static void host_side(struct world *w, const uint8_t *b)
{
	uint8_t buf[512] = { 0 };

	if (b[0] % 4 == 0 || w->host < 0) {
		if (w->host >= 0)
			close(w->host);
		w->host = b[1] & 1 ? virtio_console_connect(w->console, NULL) : -1;
	} else if (b[0] % 4 == 1) {
		check(read(w->host, buf, sizeof(buf)) <= (ssize_t)sizeof(buf));
	} else {
		check(write(w->host, buf, b[1] * 2u) <= (ssize_t)sizeof(buf));
	}
}

static void run(struct world *w, const struct op *op)
{
	struct virtio_device *d = w->devices[op->device % DEVICES];
	uint16_t place;
	uint32_t value;
	uint8_t buf[8] = { 0 };

	memcpy(&place, op->b, sizeof(place));
	memcpy(&value, op->b + 2, sizeof(value));
	uint64_t offset = place % VIRTIO_MMIO_SIZE;
	switch (op->kind % 8) {
	case 0: virtio_mmio_access(d, offset, true, (uint8_t *)&value, 1 + op->device / 64); break;
	case 1: virtio_mmio_access(d, offset, false, buf, 1 + op->device % 8); break;
	case 2: memory_write(&w->mem, place * 16ull, &value, sizeof(value)); break;
	case 3: virtio_work(d); break;
	case 4: host_side(w, op->b); break;
	case 5: bring_up(d); break;
	case 6: describe(w, op->b); break;
	default: offer(w, op->b); break;
	}
	for (unsigned i = 0; i < DEVICES; i++)
		check(w->lines[i].level == (w->devices[i]->interrupt != 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world w;
	struct op op;

	world_init(&w);
	for (unsigned n = 0; size >= sizeof(op) && n < OPS_MAX; n++) {
		memcpy(&op, data, sizeof(op));
		data += sizeof(op);
		size -= sizeof(op);
		run(&w, &op);
	}
	world_done(&w);
	return 0;
}
