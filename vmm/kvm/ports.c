// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The I/O ports behind which there is something: serial console, ACPI power
 * management, keyboard-controller reset, clock, exit port of test guests. A port
 * where nothing is reads as all ones and swallows writes, as on a real bus.
 */
#include "vmm/kvm/ports.h"

#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "vmm/kvm/machine_private.h"

struct port_range {
	uint16_t first, count;
	void (*access)(struct machine *m, unsigned reg, bool out, uint8_t *data, size_t len);
};

static void set_irq(struct machine *m, uint32_t irq, bool level)
{
	struct kvm_irq_level line = { .irq = irq, .level = level };

	if (m->irqchip)
		ioctl(m->vm_fd, KVM_IRQ_LINE, &line);
}

static void serial_port(struct machine *m, unsigned reg, bool out, uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		set_irq(m, SERIAL_IRQ, serial_access(&m->serial, (reg + (unsigned)i) & 7, out, &data[i]));
}

static void keyboard_port(struct machine *m, unsigned reg, bool out, uint8_t *data, size_t len)
{
	(void)reg;
	if (!out)
		memset(data, 0, len); /* no key, no mouse, not busy */
	else if (data[0] == PORT_RESET_VALUE)
		machine_end(m, BACKEND_SHUTDOWN, BACKEND_EVENT_RESET, "reset");
}

static uint8_t bcd(int n)
{
	return (uint8_t)((n / 10) << 4 | n % 10);
}

/* The guest's clock is ours, in UTC; alarms and interrupts are not there. */
static uint8_t clock_read(uint8_t reg)
{
	time_t now = time(NULL);
	struct tm t;

	gmtime_r(&now, &t);
	switch (reg) {
	case 0x00: return bcd(t.tm_sec);
	case 0x02: return bcd(t.tm_min);
	case 0x04: return bcd(t.tm_hour);
	case 0x06: return bcd(t.tm_wday + 1);
	case 0x07: return bcd(t.tm_mday);
	case 0x08: return bcd(t.tm_mon + 1);
	case 0x09: return bcd(t.tm_year % 100);
	case 0x32: return bcd(t.tm_year / 100 + 19);
	case 0x0b: return 0x02; /* 24 hours, BCD */
	case 0x0d: return 0x80; /* battery is good */
	default: return 0;	/* 0x0a: no update in progress */
	}
}

static void clock_port(struct machine *m, unsigned reg, bool out, uint8_t *data, size_t len)
{
	if (reg == 0 && out)
		atomic_store(&m->clock_reg, data[0] & 0x7f);
	else if (!out)
		memset(data, reg ? clock_read(atomic_load(&m->clock_reg)) : 0xff, len);
}

/* ACPI 6.4, 4.8.3: PM1 event block (status, enable), PM1 control with SLP_EN in bit 13, SLP_TYP in 12:10. */
static void power_port(struct machine *m, unsigned reg, bool out, uint8_t *data, size_t len)
{
	uint16_t value = 0;

	if (len > sizeof(value))
		len = sizeof(value);
	if (out) {
		memcpy(&value, data, len);
		if (reg == PORT_PM1_ENABLE - PORT_PM1_STATUS)
			atomic_store(&m->pm1_enable, value);
		else if (reg == PORT_PM1_CONTROL - PORT_PM1_STATUS && value & 1 << 13 && (value >> 10 & 7) == PM1_S5_TYPE)
			machine_end(m, BACKEND_SHUTDOWN, BACKEND_EVENT_SHUTDOWN, "the guest powered off");
		return;
	}
	if (reg == PORT_PM1_ENABLE - PORT_PM1_STATUS)
		value = atomic_load(&m->pm1_enable);
	else if (reg == PORT_PM1_CONTROL - PORT_PM1_STATUS)
		value = 1; /* SCI_EN: there is no legacy mode */
	memcpy(data, &value, len);
}

static void exit_port(struct machine *m, unsigned reg, bool out, uint8_t *data, size_t len)
{
	uint32_t value = 0;

	(void)reg;
	if (!out) {
		memset(data, 0xff, len);
		return;
	}
	memcpy(&value, data, len < sizeof(value) ? len : sizeof(value));
	machine_end(m, BACKEND_SHUTDOWN, BACKEND_EVENT_SHUTDOWN, "exit %u", value);
}

static const struct port_range ranges[] = {
	{ 0x60, 1, keyboard_port },
	{ PORT_RESET, 1, keyboard_port },
	{ 0x70, 2, clock_port },
	{ MACHINE_PORT_EXIT, 4, exit_port },
	{ SERIAL_PORT, 8, serial_port },
	{ PORT_PM1_STATUS, 6, power_port },
};

void ports_access(struct machine *m, uint16_t port, bool out, uint8_t *data, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		if (port >= ranges[i].first && port - ranges[i].first < ranges[i].count) {
			ranges[i].access(m, port - ranges[i].first, out, data, len);
			return;
		}
	}
	if (!out)
		memset(data, 0xff, len);
}
