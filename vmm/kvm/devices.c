// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Ties virtio devices to a machine; see devices.h. Their set is fixed at creation.
 * A device raises its line from its own thread and lowers it from a vCPU thread,
 * both under the device's lock, so that the line never says what the register does
 * not.
 */
#include "vmm/kvm/devices.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "vmm/kvm/virtio_blk.h"
#include "vmm/kvm/virtio_console.h"

static void line_set(struct virtio_irq *irq, bool level)
{
	struct device_line *line = container_of(irq, struct device_line, irq);
	struct kvm_irq_level l = { .irq = line->number, .level = level };

	if (line->vm_fd >= 0)
		ioctl(line->vm_fd, KVM_IRQ_LINE, &l);
}

static struct virtio_irq *next_line(struct devices *d, int vm_fd)
{
	struct device_line *line = &d->lines[d->n];

	*line = (struct device_line){ { line_set }, vm_fd, DEVICES_IRQ_BASE + (uint32_t)d->n };
	return &line->irq;
}

static int add_disk(struct devices *d, const struct machine_disk *disk, struct memory *mem, int vm_fd, struct err *e)
{
	char serial[24];

	snprintf(serial, sizeof(serial), "vmpoke-disk%zu", d->n_disks);
	int r = virtio_blk_create(mem, next_line(d, vm_fd), disk->fd, disk->read_only, serial, &d->disks[d->n_disks], e);
	if (r >= 0)
		d->at[d->n++] = virtio_blk_device(d->disks[d->n_disks++]);
	return r;
}

static int add_console(struct devices *d, struct memory *mem, int vm_fd, struct err *e)
{
	int r = virtio_console_create(mem, next_line(d, vm_fd), &d->console, e);

	if (r >= 0)
		d->at[d->n++] = virtio_console_device(d->console);
	return r;
}

int devices_create(struct devices *ret, const struct machine_config *config, struct memory *mem, int vm_fd,
		   bool irqchip, struct err *e)
{
	int fd = irqchip ? vm_fd : -1, r = 0;

	if (config->n_disks > MACHINE_DISKS_MAX)
		return err_set(e, ERR_USAGE, E2BIG, "", "%zu disks: at most %d are possible", config->n_disks,
			       MACHINE_DISKS_MAX);
	if (config->agent)
		r = add_console(ret, mem, fd, e);
	for (size_t i = 0; i < config->n_disks && r >= 0; i++) {
		r = add_disk(ret, &config->disks[i], mem, fd, e);
		if (r < 0)
			err_prefix(e, "disk %zu", i);
	}
	for (size_t i = 0; i < ret->n && r >= 0; i++)
		r = virtio_start(ret->at[i], e);
	return r < 0 ? r : 0;
}

void devices_destroy(struct devices *d)
{
	virtio_console_destroy(d->console);
	for (size_t i = 0; i < d->n_disks; i++)
		virtio_blk_destroy(d->disks[i]);
	*d = (struct devices){ 0 };
}

static void rewire(struct device_line *line, struct virtio_device *d, int vm_fd, bool reset)
{
	pthread_mutex_lock(&d->lock);
	line->vm_fd = vm_fd;
	if (reset)
		virtio_reset(d);
	pthread_mutex_unlock(&d->lock);
}

void devices_unplug(struct devices *d)
{
	for (size_t i = 0; i < d->n; i++)
		rewire(&d->lines[i], d->at[i], -1, true);
}

void devices_plug(struct devices *d, int vm_fd)
{
	for (size_t i = 0; i < d->n; i++)
		rewire(&d->lines[i], d->at[i], vm_fd, false);
}

bool devices_access(struct devices *d, uint64_t gpa, bool write, uint8_t *data, size_t len)
{
	if (gpa < DEVICES_BASE || gpa - DEVICES_BASE >= d->n * DEVICES_STRIDE)
		return false;
	uint64_t offset = (gpa - DEVICES_BASE) % DEVICES_STRIDE;
	if (offset >= VIRTIO_MMIO_SIZE || len > VIRTIO_MMIO_SIZE - offset)
		return false;
	virtio_mmio_access(d->at[(gpa - DEVICES_BASE) / DEVICES_STRIDE], offset, write, data, len);
	return true;
}
