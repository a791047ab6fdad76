// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Exceptions and interrupts. An NMI, a machine check and a timer interrupt run
 * the sites of their own and are counted; everything else, a breakpoint or debug
 * exception included, must not happen however the text is changed, and ends the
 * vCPU's work. Must never return from an exception it did not expect.
 */
#include "guest.h"

enum { VECTOR_NMI = 2, VECTOR_MCE = 18 };
#define MSR_MCG_STATUS 0x17a
#define MSR_MC1_STATUS 0x405

struct gate {
	uint16_t offset_low, selector;
	uint8_t ist, type;
	uint16_t offset_middle;
	uint32_t offset_high, zero;
};

static struct gate idt[VECTOR_TIMER + 1] __attribute__((aligned(16)));

static void gate_set(unsigned vector, const char *stub)
{
	uint64_t address = (uint64_t)stub;

	idt[vector] = (struct gate){ .offset_low = (uint16_t)address,
				     .selector = 0x08,
				     .type = 0x8e, /* present interrupt gate: IF=0 inside */
				     .offset_middle = (uint16_t)(address >> 16),
				     .offset_high = (uint32_t)(address >> 32) };
}

/* Every vCPU writes the same bytes: no order among them is needed. */
void trap_install(void)
{
	const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) pointer = { sizeof(idt) - 1, (uint64_t)idt };

	for (unsigned i = 0; i < 32; i++)
		gate_set(i, trap_stubs + 16ul * i);
	gate_set(VECTOR_TIMER, trap_stub_timer);
	__asm__ volatile("lidt %0" : : "m"(pointer) : "memory");
}

/* Bank and MCIP are cleared last: with MCIP set a second one is a shutdown. */
static void machine_check(void)
{
	check_sites(SMP_IN_MCE);
	wrmsr(MSR_MC1_STATUS, 0);
	wrmsr(MSR_MCG_STATUS, 0);
	count(&self()->mce_seen);
}

static void unexpected(const struct trap_frame *frame)
{
	violation(SMP_VIOLATION_EXCEPTION, frame->vector, frame->error_code, frame->rip, 0);
	__atomic_store_n(&self()->dead, 1, __ATOMIC_SEQ_CST);
	rest();
}

void trap_handle(struct trap_frame *frame)
{
	switch (frame->vector) {
	case VECTOR_NMI:
		check_sites(SMP_IN_NMI);
		count(&self()->nmi_seen);
		return;
	case VECTOR_MCE:
		machine_check();
		return;
	case VECTOR_TIMER:
		check_sites(SMP_IN_TIMER);
		count(&self()->timer_seen);
		apic_timer_done();
		return;
	default:
		unexpected(frame);
	}
}
