// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The local APIC's timer, periodic, so that interrupts arrive between any two
 * instructions of a site. Touched only when the host says there is one.
 */
#include "guest.h"

#define APIC_BASE 0xfee00000ul
enum {
	APIC_EOI = 0xb0,
	APIC_SPURIOUS = 0xf0,
	APIC_LVT_TIMER = 0x320,
	APIC_TIMER_COUNT = 0x380,
	APIC_TIMER_DIVIDE = 0x3e0
};

static void apic_write(unsigned reg, uint32_t value)
{
	*(volatile uint32_t *)(APIC_BASE + reg) = value;
}

void apic_timer_start(void)
{
	apic_write(APIC_SPURIOUS, 0x1ff);   /* enabled, spurious vector 0xff never comes: nothing is masked late */
	apic_write(APIC_TIMER_DIVIDE, 0x3); /* by 16 */
	apic_write(APIC_LVT_TIMER, 1u << 17 | VECTOR_TIMER);
	apic_write(APIC_TIMER_COUNT, CONTROL->timer_count);
}

void apic_timer_done(void)
{
	apic_write(APIC_EOI, 0);
}
