// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The body of the DSDT: the sleep type that powers off, and one device with id
 * LNRO0005 for each virtio device, by which Linux's virtio_mmio finds its registers
 * and its interrupt. AML as in ACPI 6.4, chapter 20; resources as in 6.4.
 */
#include <errno.h>
#include <string.h>

#include "vmm/kvm/acpi_dsdt.h"
#include "vmm/kvm/devices.h"
#include "vmm/kvm/ports.h"

/* Name (_S5, Package () { 5, 5, 0, 0 }): the sleep type that power_port() takes as "off". */
static const uint8_t sleep_type[] = { 0x08, '_',  'S', '5',  '_',	  0x12, 0x08, 0x04,
				      0x0a, PM1_S5_TYPE, 0x0a, PM1_S5_TYPE, 0x00, 0x00 };

/* Everything of one device, with the length bytes and the numbers that differ filled in later. */
struct dsdt_device {
	uint8_t scope_op, scope_len[2], root, sb[4]; /* Scope (\_SB) */
	uint8_t device_op[2], device_len[2], name[4];
	uint8_t hid_op, hid[4], hid_string, id[9];
	uint8_t uid_op, uid[4], uid_byte, number;
	uint8_t crs_op, crs[4], buffer_op, buffer_len, size_byte, size;
	/* Memory32Fixed (ReadWrite, base, length) */
	uint8_t memory, memory_len[2], writable;
	uint32_t base, length;
	/* Interrupt (ResourceConsumer, Level, ActiveHigh, Exclusive) { irq } */
	uint8_t interrupt, interrupt_len[2], flags, count;
	uint32_t irq;
	uint8_t end, checksum; /* 0: not checked */
} __attribute__((packed));

#define CRS_SIZE (sizeof(struct dsdt_device) - offsetof(struct dsdt_device, memory))

/* PkgLength of two bytes counts itself and all that follows: low nibble, then eight bits above it. */
static void package_length(uint8_t at[2], size_t len)
{
	at[0] = (uint8_t)(0x40 | (len & 0xf));
	at[1] = (uint8_t)(len >> 4);
}

static void fill(struct dsdt_device *d, unsigned n)
{
	*d = (struct dsdt_device){
		.scope_op = 0x10, .root = '\\', .sb = { '_', 'S', 'B', '_' },
		.device_op = { 0x5b, 0x82 }, .name = { 'V', 'I', 'O', (uint8_t)('0' + n) },
		.hid_op = 0x08, .hid = { '_', 'H', 'I', 'D' }, .hid_string = 0x0d, .id = "LNRO0005",
		.uid_op = 0x08, .uid = { '_', 'U', 'I', 'D' }, .uid_byte = 0x0a, .number = (uint8_t)n,
		.crs_op = 0x08, .crs = { '_', 'C', 'R', 'S' }, .buffer_op = 0x11, .buffer_len = CRS_SIZE + 3,
		.size_byte = 0x0a, .size = CRS_SIZE,
		.memory = 0x86, .memory_len = { 9, 0 }, .writable = 1,
		.base = (uint32_t)(DEVICES_BASE + n * DEVICES_STRIDE), .length = VIRTIO_MMIO_SIZE,
		.interrupt = 0x89, .interrupt_len = { 6, 0 }, .flags = 1, .count = 1, .irq = DEVICES_IRQ_BASE + n,
		.end = 0x79,
	};
	package_length(d->scope_len, sizeof(*d) - offsetof(struct dsdt_device, scope_len));
	package_length(d->device_len, sizeof(*d) - offsetof(struct dsdt_device, device_len));
}

size_t acpi_dsdt_body(uint8_t buf[static ACPI_DSDT_MAX], unsigned devices)
{
	size_t len = sizeof(sleep_type);

	_Static_assert(ACPI_DSDT_MAX >= sizeof(sleep_type) + DEVICES_MAX * sizeof(struct dsdt_device), "");
	memcpy(buf, sleep_type, len);
	for (unsigned i = 0; i < devices && i < DEVICES_MAX; i++) {
		struct dsdt_device d;
		fill(&d, i);
		memcpy(buf + len, &d, sizeof(d));
		len += sizeof(d);
	}
	return len;
}
