// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The ACPI tables Linux needs to find its CPUs and IO-APIC and to power off: RSDP,
 * XSDT, FADT, FACS, MADT, DSDT. ACPI and not MP tables, because stock kernels are
 * built without an MP-table parser. Layout from the ACPI 6.4 specification.
 */
#include <errno.h>
#include <string.h>

#include "vmm/kvm/acpi_dsdt.h"
#include "vmm/kvm/boot.h"
#include "vmm/kvm/layout.h"
#include "vmm/kvm/memory.h"
#include "vmm/kvm/ports.h"

#define LAPIC_ADDR  0xfee00000u
#define IOAPIC_ADDR 0xfec00000u
#define IO_SPACE    1
#define TABLES_MAX  8192

struct acpi_head {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem[6], oem_table[8];
	uint32_t oem_revision;
	char creator[4];
	uint32_t creator_revision;
} __attribute__((packed));

struct acpi_address {
	uint8_t space, bits, offset, access;
	uint64_t address;
} __attribute__((packed));

struct acpi_rsdp {
	char signature[8];
	uint8_t checksum;
	char oem[6];
	uint8_t revision;
	uint32_t rsdt, length;
	uint64_t xsdt;
	uint8_t checksum_all, reserved[3];
} __attribute__((packed));

struct acpi_xsdt {
	struct acpi_head head;
	uint64_t table[2];
} __attribute__((packed));

struct acpi_facs {
	char signature[4];
	uint32_t length;
	uint8_t rest[56];
} __attribute__((packed));

struct acpi_fadt {
	struct acpi_head head;
	uint32_t facs, dsdt;
	uint8_t model, profile;
	uint16_t sci_irq;
	uint32_t smi_command;
	uint8_t enable, disable, s4bios, pstate;
	uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer, gpe0, gpe1;
	uint8_t pm1_event_len, pm1_control_len, pm2_control_len, pm_timer_len, gpe0_len, gpe1_len, gpe1_base, cst;
	uint16_t c2_latency, c3_latency, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
	uint16_t boot_flags;
	uint8_t reserved;
	uint32_t flags;
	struct acpi_address reset;
	uint8_t reset_value;
	uint16_t arm_boot;
	uint8_t minor;
	uint64_t x_facs, x_dsdt;
	struct acpi_address x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control, x_pm2_control, x_pm_timer,
		x_gpe0, x_gpe1;
} __attribute__((packed));

#define FADT_WBINVD	   (1u << 0)
#define FADT_C1		   (1u << 2)
#define FADT_NO_PWR_BUTTON (1u << 4) /* set: not a fixed-hardware button */
#define FADT_NO_SLP_BUTTON (1u << 5)
#define FADT_RESET	   (1u << 10)
#define BOOT_NO_VGA	   (1u << 2)
#define BOOT_NO_CMOS_RTC   (1u << 5)

struct acpi_madt {
	struct acpi_head head;
	uint32_t lapic, flags; /* flags bit 0: there is an 8259 too */
} __attribute__((packed));

struct madt_lapic {
	uint8_t type, length, uid, id;
	uint32_t flags;
} __attribute__((packed));

struct madt_ioapic {
	uint8_t type, length, id, reserved;
	uint32_t address, gsi_base;
} __attribute__((packed));

struct madt_override {
	uint8_t type, length, bus, irq;
	uint32_t gsi;
	uint16_t flags;
} __attribute__((packed));

struct builder {
	uint8_t bytes[TABLES_MAX];
	size_t used;
};

static uint8_t checksum(const uint8_t *bytes, size_t len)
{
	unsigned sum = 0;

	while (len--)
		sum += *bytes++;
	return (uint8_t)-sum;
}

static void *reserve(struct builder *b, size_t len)
{
	void *at = b->bytes + b->used;

	b->used += (len + 15) & ~(size_t)15;
	return at;
}

static uint64_t address(const struct builder *b, const void *at)
{
	return LAYOUT_ACPI + (uint64_t)((const uint8_t *)at - b->bytes);
}

static void head(struct acpi_head *h, const char *signature, uint8_t revision, size_t len)
{
	memcpy(h->signature, signature, 4);
	h->length = (uint32_t)len;
	h->revision = revision;
	memcpy(h->oem, "VMPOKE", 6);
	memcpy(h->oem_table, "VMPOKE  ", 8);
	h->oem_revision = 1;
	memcpy(h->creator, "VMPK", 4);
	h->creator_revision = 1;
	h->checksum = checksum((const uint8_t *)h, len);
}

static struct acpi_address port(uint16_t number, uint8_t bits)
{
	return (struct acpi_address){ .space = IO_SPACE, .bits = bits, .access = bits == 8 ? 1 : 2, .address = number };
}

static uint64_t build_dsdt(struct builder *b, unsigned devices)
{
	uint8_t body[ACPI_DSDT_MAX];
	size_t len = acpi_dsdt_body(body, devices);
	struct acpi_head *dsdt = reserve(b, sizeof(*dsdt) + len);

	memcpy(dsdt + 1, body, len);
	head(dsdt, "DSDT", 2, sizeof(*dsdt) + len);
	return address(b, dsdt);
}

static uint64_t build_fadt(struct builder *b, unsigned devices)
{
	struct acpi_fadt *f = reserve(b, sizeof(*f));
	struct acpi_facs *facs;

	f->x_dsdt = f->dsdt = (uint32_t)build_dsdt(b, devices);
	b->used = (b->used + 63) & ~(size_t)63;
	facs = reserve(b, sizeof(*facs));
	memcpy(facs->signature, "FACS", 4);
	facs->length = sizeof(*facs);
	f->facs = (uint32_t)address(b, facs);
	f->sci_irq = PM1_SCI_IRQ;
	f->pm1a_event = PORT_PM1_STATUS;
	f->pm1a_control = PORT_PM1_CONTROL;
	f->pm1_event_len = 4;
	f->pm1_control_len = 2;
	f->c2_latency = f->c3_latency = 0xffff; /* not supported */
	f->boot_flags = BOOT_NO_VGA | BOOT_NO_CMOS_RTC;
	f->flags = FADT_WBINVD | FADT_C1 | FADT_NO_PWR_BUTTON | FADT_NO_SLP_BUTTON | FADT_RESET;
	f->reset = port(PORT_RESET, 8);
	f->reset_value = PORT_RESET_VALUE;
	f->x_pm1a_event = port(PORT_PM1_STATUS, 32);
	f->x_pm1a_control = port(PORT_PM1_CONTROL, 16);
	head(&f->head, "FACP", 5, sizeof(*f));
	return address(b, f);
}

static uint64_t build_madt(struct builder *b, unsigned vcpus)
{
	size_t len = sizeof(struct acpi_madt) + vcpus * sizeof(struct madt_lapic) + sizeof(struct madt_ioapic) +
		     sizeof(struct madt_override);
	struct acpi_madt *m = reserve(b, len);
	struct madt_lapic *cpu = (struct madt_lapic *)(void *)(m + 1);

	m->lapic = LAPIC_ADDR;
	m->flags = 1;
	for (unsigned i = 0; i < vcpus; i++)
		*cpu++ = (struct madt_lapic){ .type = 0, .length = sizeof(*cpu), .uid = (uint8_t)i, .id = (uint8_t)i, .flags = 1 };
	struct madt_ioapic *io = (struct madt_ioapic *)(void *)cpu;
	*io = (struct madt_ioapic){ .type = 1, .length = sizeof(*io), .address = IOAPIC_ADDR };
	struct madt_override *sci = (struct madt_override *)(void *)(io + 1);
	*sci = (struct madt_override){ .type = 2, .length = sizeof(*sci), .irq = PM1_SCI_IRQ, .gsi = PM1_SCI_IRQ,
				       .flags = 0x0d /* level, active high */ };
	head(&m->head, "APIC", 3, len);
	return address(b, m);
}

int acpi_write(struct memory *mem, unsigned vcpus, unsigned devices, struct err *e)
{
	_cleanup_free_ struct builder *b = calloc(1, sizeof(*b));

	if (!b)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	struct acpi_rsdp *rsdp = reserve(b, sizeof(*rsdp));
	struct acpi_xsdt *xsdt = reserve(b, sizeof(*xsdt));
	xsdt->table[0] = build_fadt(b, devices);
	xsdt->table[1] = build_madt(b, vcpus);
	head(&xsdt->head, "XSDT", 1, sizeof(*xsdt));
	memcpy(rsdp->signature, "RSD PTR ", 8);
	memcpy(rsdp->oem, "VMPOKE", 6);
	rsdp->revision = 2;
	rsdp->length = sizeof(*rsdp);
	rsdp->xsdt = address(b, xsdt);
	rsdp->checksum = checksum((const uint8_t *)rsdp, 20);
	rsdp->checksum_all = checksum((const uint8_t *)rsdp, sizeof(*rsdp));
	if (memory_write(mem, LAYOUT_ACPI, b->bytes, b->used) < 0)
		return err_set(e, ERR_FAILED, EFAULT, "", "ACPI tables do not fit into guest memory");
	return 0;
}
