// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The registers of a virtio device: MMIO transport, version 2 (Virtual I/O Device
 * 1.2, section 4.2). MMIO and not PCI because it is the smallest thing a stock
 * Debian kernel finds by itself: its virtio_mmio module binds to ACPI devices with
 * the id LNRO0005 (acpi_dsdt.c), while PCI would take a host bridge, configuration
 * space, BARs and MSI-X. The command-line way (virtio_mmio.device=) is compiled
 * out of Debian's kernels. Interrupts are level-triggered and shared by all queues
 * of a device. Must never let a register write reach guest memory: queues are
 * looked at by the device's thread alone.
 */
#include <string.h>

#include "vmm/kvm/virtio.h"

#define MAGIC	0x74726976u /* "virt" */
#define VERSION 2u
#define VENDOR	0x4b504d56u /* "VMPK" */

enum {
	REG_MAGIC = 0x000,
	REG_VERSION = 0x004,
	REG_DEVICE_ID = 0x008,
	REG_VENDOR_ID = 0x00c,
	REG_DEVICE_FEATURES = 0x010,
	REG_DEVICE_FEATURES_SEL = 0x014,
	REG_DRIVER_FEATURES = 0x020,
	REG_DRIVER_FEATURES_SEL = 0x024,
	REG_QUEUE_SEL = 0x030,
	REG_QUEUE_NUM_MAX = 0x034,
	REG_QUEUE_NUM = 0x038,
	REG_QUEUE_READY = 0x044,
	REG_QUEUE_NOTIFY = 0x050,
	REG_INTERRUPT_STATUS = 0x060,
	REG_INTERRUPT_ACK = 0x064,
	REG_STATUS = 0x070,
	REG_QUEUE_DESC = 0x080, /* low half, high half behind it */
	REG_QUEUE_AVAIL = 0x090,
	REG_QUEUE_USED = 0x0a0,
	REG_SHM_LEN = 0x0b0, /* four registers, all ones: there is no shared memory */
	REG_SHM_END = 0x0c0,
	REG_CONFIG = 0x100, /* configuration generation, at 0xfc, is always 0: it never changes */
};

static void set_line(struct virtio_device *d)
{
	d->irq->set(d->irq, d->interrupt != 0);
}

void virtio_interrupt(struct virtio_device *d, uint32_t bits)
{
	d->interrupt |= bits;
	set_line(d);
}

void virtio_fail(struct virtio_device *d)
{
	d->status |= VIRTIO_STATUS_NEEDS_RESET;
	virtio_interrupt(d, VIRTIO_INT_CONFIG);
}

bool virtio_running(const struct virtio_device *d)
{
	const uint32_t up = VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK;

	return (d->status & (up | VIRTIO_STATUS_NEEDS_RESET)) == up;
}

bool virtio_pop(struct virtio_device *d, unsigned n, struct virtq_chain *ret)
{
	int r = virtio_running(d) ? virtq_pop(&d->queues[n], d->memory, ret) : 0;

	if (r < 0)
		virtio_fail(d);
	return r > 0;
}

void virtio_push(struct virtio_device *d, unsigned n, uint16_t head, uint32_t written)
{
	int r = virtq_push(&d->queues[n], d->memory, head, written);

	if (r < 0)
		virtio_fail(d);
	else if (r > 0)
		virtio_interrupt(d, VIRTIO_INT_USED);
}

void virtio_reset(struct virtio_device *d)
{
	d->status = d->interrupt = 0;
	d->features_sel = d->driver_sel = d->queue_sel = 0;
	d->driver_features = 0;
	d->generation++;
	memset(d->queues, 0, sizeof(d->queues));
	if (d->ops->reset)
		d->ops->reset(d);
	set_line(d);
}

/* 3.1.1: FEATURES_OK stays off when we cannot work with what the driver chose. */
static void write_status(struct virtio_device *d, uint32_t value)
{
	if (!value) {
		virtio_reset(d);
		return;
	}
	value &= 0xffu & ~VIRTIO_STATUS_NEEDS_RESET;
	if (d->driver_features & ~d->features || !(d->driver_features & VIRTIO_F_VERSION_1))
		value &= ~VIRTIO_STATUS_FEATURES_OK;
	d->status = value | (d->status & VIRTIO_STATUS_NEEDS_RESET);
	if (virtio_running(d))
		virtio_kick(d);
}

static uint32_t half(uint64_t value, uint32_t sel)
{
	return sel > 1 ? 0 : (uint32_t)(value >> 32 * sel);
}

static void set_half(uint64_t *value, uint32_t sel, uint32_t v)
{
	if (sel <= 1)
		*value = (*value & ~(0xffffffffull << 32 * sel)) | (uint64_t)v << 32 * sel;
}

/* The queue the driver talks about, or NULL. */
static struct virtq *selected(struct virtio_device *d)
{
	return d->queue_sel < d->ops->n_queues ? &d->queues[d->queue_sel] : NULL;
}

static uint32_t reg_read(struct virtio_device *d, uint64_t reg)
{
	const struct virtq *q = selected(d);

	switch (reg) {
	case REG_MAGIC: return MAGIC;
	case REG_VERSION: return VERSION;
	case REG_DEVICE_ID: return d->ops->id;
	case REG_VENDOR_ID: return VENDOR;
	case REG_DEVICE_FEATURES: return half(d->features, d->features_sel);
	case REG_QUEUE_NUM_MAX: return q ? VIRTQ_SIZE_MAX : 0;
	case REG_QUEUE_READY: return q && q->ready;
	case REG_INTERRUPT_STATUS: return d->interrupt;
	case REG_STATUS: return d->status;
	default: return reg >= REG_SHM_LEN && reg < REG_SHM_END ? UINT32_MAX : 0;
	}
}

static void queue_ready(struct virtq *q, uint32_t value)
{
	if (!value)
		q->ready = false;
	else if (!q->ready)
		virtq_enable(q);
}

/* 4.2.2.2: a queue in use is not touched. */
static void queue_write(struct virtq *q, uint64_t reg, uint32_t value)
{
	const uint32_t high = reg & 4 ? 1 : 0;

	if (reg == REG_QUEUE_READY)
		queue_ready(q, value);
	if (q->ready)
		return;
	switch (reg) {
	case REG_QUEUE_NUM:
		q->size = value <= VIRTQ_SIZE_MAX ? (uint16_t)value : 0;
		break;
	case REG_QUEUE_DESC:
	case REG_QUEUE_DESC + 4:
		set_half(&q->desc, high, value);
		break;
	case REG_QUEUE_AVAIL:
	case REG_QUEUE_AVAIL + 4:
		set_half(&q->avail, high, value);
		break;
	case REG_QUEUE_USED:
	case REG_QUEUE_USED + 4:
		set_half(&q->used, high, value);
		break;
	default:
		break;
	}
}

static void reg_write(struct virtio_device *d, uint64_t reg, uint32_t value)
{
	switch (reg) {
	case REG_DEVICE_FEATURES_SEL:
		d->features_sel = value;
		break;
	case REG_DRIVER_FEATURES:
		/* 3.1.1: no more of them after FEATURES_OK. */
		if (!(d->status & VIRTIO_STATUS_FEATURES_OK))
			set_half(&d->driver_features, d->driver_sel, value);
		break;
	case REG_DRIVER_FEATURES_SEL:
		d->driver_sel = value;
		break;
	case REG_QUEUE_SEL:
		d->queue_sel = value;
		break;
	case REG_QUEUE_NOTIFY:
		virtio_kick(d);
		break;
	case REG_INTERRUPT_ACK:
		d->interrupt &= ~value;
		set_line(d);
		break;
	case REG_STATUS:
		write_status(d, value);
		break;
	default:
		if (selected(d))
			queue_write(selected(d), reg, value);
		break;
	}
}

/* Ours are read-only. */
static void config_access(const struct virtio_device *d, uint64_t at, bool write, uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len && !write; i++)
		data[i] = at + i < sizeof(d->config) ? d->config[at + i] : 0;
}

void virtio_mmio_access(struct virtio_device *d, uint64_t offset, bool write, uint8_t *data, size_t len)
{
	uint32_t value = 0;

	if (offset >= REG_CONFIG) {
		config_access(d, offset - REG_CONFIG, write, data, len);
		return;
	}
	/* 4.2.2.2: aligned 32-bit accesses only. */
	if (len != sizeof(value) || offset % sizeof(value)) {
		if (!write)
			memset(data, 0, len);
		return;
	}
	pthread_mutex_lock(&d->lock);
	if (write) {
		memcpy(&value, data, sizeof(value));
		reg_write(d, offset, value);
	} else {
		value = reg_read(d, offset);
		memcpy(data, &value, sizeof(value));
	}
	pthread_mutex_unlock(&d->lock);
}
