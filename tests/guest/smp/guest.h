/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside the SMP test guest: what its few files offer each other. */
#ifndef VMPOKE_TESTS_GUEST_SMP_GUEST_H
#define VMPOKE_TESTS_GUEST_SMP_GUEST_H

#include "smp.h"

#define CONTROL	     ((volatile struct smp_control *)SMP_CONTROL)
#define VECTOR_TIMER 0x40

/* What entry.S leaves on the stack for trap_handle(). */
struct trap_frame {
	uint64_t r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax;
	uint64_t vector, error_code;
	uint64_t rip, cs, rflags, rsp, ss;
};

/* entry.S: one 16-byte stub per vector below 0x20, and the timer's. */
extern const char trap_stubs[], trap_stub_timer[];

void guest_main(uint64_t vcpu) __attribute__((noreturn));
void trap_install(void);
void trap_handle(struct trap_frame *frame);
void apic_timer_start(void);
void apic_timer_done(void);

/* Runs every site of a context once and judges the results. */
void check_sites(enum smp_context context);
void check_pairs(uint64_t round);
void violation(enum smp_violation kind, uint64_t site, uint64_t value, uint64_t expected, uint64_t seq);

/* One line about a violation on the serial port, and never more than a few. */
void report(uint64_t vcpu, const struct smp_vcpu *self);

struct smp_vcpu *self(void);
uint64_t self_index(void);

/* Read-modify-write in one instruction: a handler on the same vCPU counts too. */
static inline void count(uint64_t *counter)
{
	__asm__ volatile("incq %0" : "+m"(*counter));
}

static inline void rest(void)
{
	for (;;)
		__asm__ volatile("sti; pause");
}

/*
 * To the next instruction. Bochs 2.7 was seen to keep one vCPU's NMI blocking over the entry
 * of another one, whose own NMI then stays pending until an IRET.
 */
static inline void iret_here(void)
{
	__asm__ volatile("mov %%rsp, %%rax\n\t"
			 "pushq $0x10\n\t"
			 "pushq %%rax\n\t"
			 "pushfq\n\t"
			 "pushq $0x08\n\t"
			 "lea 1f(%%rip), %%rax\n\t"
			 "pushq %%rax\n\t"
			 "iretq\n"
			 "1:"
			 :
			 :
			 : "rax", "memory", "cc");
}

static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return (uint64_t)hi << 32 | lo;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

#endif
