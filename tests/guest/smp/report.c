// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Says on the serial port what went wrong first on a vCPU: the host may not be
 * able to read memory of a guest that fell over. Called once per vCPU, also from
 * handlers, so it must never wait for a lock for ever.
 */
#include "guest.h"

#define SERIAL	      0x3f8
#define PATIENCE      100000
#define PATIENCE_LOCK 100000000 /* a line takes a while where every byte is an exit */

static uint64_t lock; /* 0, or 1 + the vCPU that writes a line */

static void out(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static uint8_t in(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static void put(char c)
{
	for (unsigned i = 0; i < PATIENCE && !(in(SERIAL + 5) & 0x20); i++)
		;
	out(SERIAL, (uint8_t)c);
}

static void put_text(const char *text)
{
	while (*text)
		put(*text++);
}

static void put_hex(const char *name, uint64_t value)
{
	put_text(name);
	put_text("0x");
	for (int shift = 60; shift >= 0; shift -= 4)
		if (value >> shift || shift == 0)
			put("0123456789abcdef"[value >> shift & 15]);
}

/* A handler may have interrupted its own vCPU in the middle of a line: then the lines mix. */
static void lock_take(uint64_t owner)
{
	for (unsigned i = 0; i < PATIENCE_LOCK; i++) {
		uint64_t free = 0;

		if (__atomic_compare_exchange_n(&lock, &free, owner, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) ||
		    free == owner)
			return;
		__asm__ volatile("pause");
	}
}

void report(uint64_t vcpu, const struct smp_vcpu *v)
{
	static const char *const names[SMP_VIOLATION_KINDS] = {
		[SMP_VIOLATION_RESULT] = "result",
		[SMP_VIOLATION_STALE] = "stale",
		[SMP_VIOLATION_PAIR] = "pair",
		[SMP_VIOLATION_EXCEPTION] = "exception",
		[SMP_VIOLATION_NESTED] = "nested",
	};

	lock_take(vcpu + 1);
	put_text("violation ");
	put_text(names[v->kind]);
	put_hex(" vcpu ", vcpu);
	put_hex(v->kind >= SMP_VIOLATION_EXCEPTION ? " vector " : " site ", v->site);
	put_hex(v->kind >= SMP_VIOLATION_EXCEPTION ? " error " : " value ", v->value);
	put_hex(v->kind >= SMP_VIOLATION_EXCEPTION ? " rip " : " expected ", v->expected);
	put_hex(" seq ", v->seq);
	put('\n');
	__atomic_store_n(&lock, 0, __ATOMIC_SEQ_CST);
}
