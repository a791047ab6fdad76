/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtio devices of a machine: where they are in guest-physical space and on
 * which interrupt line. Number 0 is the console (if there is an agent), disks follow.
 */
#ifndef VMPOKE_VMM_KVM_DEVICES_H
#define VMPOKE_VMM_KVM_DEVICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/kvm/machine.h"
#include "vmm/kvm/virtio.h"

/* In the hole between RAM and the IO-APIC, a page apart. Lines: the IO-APIC's inputs above the 16 of the ISA bus. */
#define DEVICES_BASE	 0xd0000000ull
#define DEVICES_STRIDE	 0x1000ull
#define DEVICES_IRQ_BASE 16u
#define DEVICES_MAX	 (MACHINE_DISKS_MAX + 1)

struct virtio_console;
struct virtio_blk;

struct device_line {
	struct virtio_irq irq;
	int vm_fd; /* -1: no irqchip */
	uint32_t number;
};

struct devices {
	struct virtio_console *console; /* NULL: none */
	struct virtio_blk *disks[MACHINE_DISKS_MAX];
	size_t n_disks;
	struct virtio_device *at[DEVICES_MAX];
	struct device_line lines[DEVICES_MAX];
	size_t n;
};

/* Makes and starts what the configuration asks for. *ret must be zeroed; devices_destroy() also after a failure. */
int devices_create(struct devices *ret, const struct machine_config *config, struct memory *mem, int vm_fd,
		   bool irqchip, struct err *e);
void devices_destroy(struct devices *d); /* joins their threads */

/*
 * For a new VM in place of the old: unplug() resets every device and cuts its line, and
 * when it returns none touches guest memory; plug() connects the lines to the new one.
 */
void devices_unplug(struct devices *d);
void devices_plug(struct devices *d, int vm_fd);

/* An access of 1 to 8 bytes. False: no device is there. Any vCPU thread. */
bool devices_access(struct devices *d, uint64_t gpa, bool write, uint8_t *data, size_t len);

#endif
