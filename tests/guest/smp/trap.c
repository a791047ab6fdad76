// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Exceptions and interrupts. An NMI, a machine check and a timer interrupt run
 * the sites of their own and are counted; everything else, a breakpoint or debug
 * exception included, must not happen however the text is changed, and ends the
 * vCPU's work. Must never return from an exception it did not expect.
 */
#include "guest.h"

enum { VECTOR_NMI = 2, VECTOR_MCE = 18 };
#define RFLAGS_RF (1ul << 16)
#define MSR_MCG_STATUS 0x17a
#define MSR_MC1_STATUS 0x405

/* An interrupt gate as two words: low offset, selector, type, middle offset; high offset. */
static uint64_t idt[VECTOR_TIMER + 1][2] __attribute__((aligned(16)));
#define GATE_PRESENT_INTERRUPT (0x8eul << 40) /* IF=0 inside */

static void gate_set(unsigned vector, const char *stub)
{
	uint64_t address = (uint64_t)stub;
	uint64_t low = (address & 0xffff) | 0x08ul << 16 | GATE_PRESENT_INTERRUPT | (address >> 16 & 0xffff) << 48;

	__atomic_store_n(&idt[vector][1], address >> 32, __ATOMIC_RELAXED);
	__atomic_store_n(&idt[vector][0], low, __ATOMIC_RELAXED);
}

/*
 * Every vCPU writes the same words, a word at a time: a gate cleared first and filled field by field was
 * seen not present by a vCPU that took timer interrupts already.
 */
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

/*
 * NMIs are blocked from one's delivery to its IRET, whatever a host does in between. A
 * machine check's IRET lifts that too, so the host must not send both at once.
 *
 * RF is taken from the frame: QEMU 10 takes an NMI injected by VMRUN for a fault and sets it
 * (exception_is_fault(), target/i386/tcg/seg_helper.c), which no CPU does; after the IRET a
 * debug register is silent then, and the vCPU executes a site between two stores.
 */
static void nmi(struct trap_frame *frame)
{
	struct smp_vcpu *v = self();

	if (v->in_nmi)
		violation(SMP_VIOLATION_NESTED, frame->vector, 0, frame->rip, 0);
	v->in_nmi++;
	v->nmi_rip = frame->rip;
	frame->rflags &= ~RFLAGS_RF;
	while (CONTROL->nmi_wait)
		__asm__ volatile("pause");
	check_sites(SMP_IN_NMI);
	v->in_nmi--;
	count(&v->nmi_seen);
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
		nmi(frame);
		return;
	case VECTOR_MCE:
		self()->mce_rip = frame->rip;
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
