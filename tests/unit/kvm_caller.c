// SPDX-License-Identifier: GPL-2.0-or-later
/* See kvm_caller.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <sched.h>

#include "tests/unit/kvm_caller.h"

#define STACKS 0x300000ull /* per vCPU 4 KiB */
#define TABLES 0x400000ull /* pointers to IDT and GDT, 16 bytes apart; the tables, a page each, after it */
#define HANDLER 0x102000ull

/*
 * sti; mov rbx, rdi; shl rbx, 6; add rbx, RESULTS; mov rsp, rdi; inc rsp; shl rsp, 12; add rsp, STACKS;
 * again: call FUNCTION; mov [rbx], rax; inc qword [rbx+8]; jmp again
 */
static const uint8_t caller[] = {
	0xfb, 0x48, 0x89, 0xfb, 0x48, 0xc1, 0xe3, 0x06, 0x48, 0x81, 0xc3, 0x00, 0x00, 0x20, 0x00,	 /* 0x0f */
	0x48, 0x89, 0xfc, 0x48, 0xff, 0xc4, 0x48, 0xc1, 0xe4, 0x0c, 0x48, 0x81, 0xc4, 0x00, 0x00, 0x30, 0x00, /* 0x20 */
	0xe8, 0xdb, 0x0f, 0x00, 0x00, 0x48, 0x89, 0x03, 0x48, 0xff, 0x43, 0x08, 0xeb, 0xf2,
};
static const uint8_t function[] = { 0xb8, 0x01, 0x00, 0x00, 0x00, 0xc3 };

/*
 * As caller, on vCPU 0 only, but machine checks are taken:
 * sti; lidt [TABLES]; lgdt [TABLES+16]; mov rax, cr4; or rax, MCE; mov cr4, rax; mov esp, 0x310000;
 * again: call FUNCTION; mov [RESULTS], rax; inc qword [RESULTS+8]; jmp again
 */
static const uint8_t checked_caller[] = {
	0xfb, 0x0f, 0x01, 0x1c, 0x25, 0x00, 0x00, 0x40, 0x00, 0x0f, 0x01, 0x14, 0x25, 0x10, 0x00, 0x40, 0x00,
	0x0f, 0x20, 0xe0, 0x48, 0x83, 0xc8, 0x40, 0x0f, 0x22, 0xe0, 0xbc, 0x00, 0x00, 0x31, 0x00, /* 0x20 */
	0xe8, 0xdb, 0x0f, 0x00, 0x00, 0x48, 0x89, 0x04, 0x25, 0x00, 0x00, 0x20, 0x00,
	0x48, 0xff, 0x04, 0x25, 0x08, 0x00, 0x20, 0x00, 0xeb, 0xe9,
};
/* inc qword [CHECKS]; again: hlt; jmp again */
static const uint8_t check_handler[] = { 0x48, 0xff, 0x04, 0x25, 0x00, 0x00, 0x50, 0x00, 0xf4, 0xeb, 0xfd };

struct machine *machine;
struct backend *b;
unsigned n_vcpus, caps;

/* An IDT whose last gate is the machine check's, and a GDT for it. */
static int write_tables(void)
{
	const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idt = { 19 * 16 - 1, TABLES + 0x1000 }, gdt = { 3 * 8 - 1, TABLES + 0x2000 };
	const uint64_t descriptors[] = { 0, 0x00af9b000000ffff, 0x00cf93000000ffff };
	const uint64_t gate = (HANDLER & 0xffff) | 0x8ull << 16 | 0x8e00ull << 32 | (HANDLER >> 16) << 48;

	return b->ops->write(b, TABLES, &idt, sizeof(idt), NULL) |
	       b->ops->write(b, TABLES + 16, &gdt, sizeof(gdt), NULL) |
	       b->ops->write(b, idt.base + 18 * 16, &gate, sizeof(gate), NULL) |
	       b->ops->write(b, gdt.base, descriptors, sizeof(descriptors), NULL) |
	       b->ops->write(b, HANDLER, check_handler, sizeof(check_handler), NULL);
}

static int start_with(const uint8_t *code, size_t len, unsigned vcpus)
{
	struct backend_info info;
	struct err e = { 0 };

	if (guest_missing())
		return 0;
	n_vcpus = vcpus;
	if (guest_create(code, len, vcpus, NULL, &machine, &e) < 0) {
		print_message("%s\n", e.text);
		return -1;
	}
	b = machine_backend(machine);
	b->ops->info(b, &info, NULL);
	caps = info.caps;
	return b->ops->write(b, FUNCTION, function, sizeof(function), NULL) | write_tables() |
	       machine_start(machine, NULL);
}

static int start(unsigned vcpus)
{
	return start_with(caller, sizeof(caller), vcpus);
}

int start_one(void **state)
{
	(void)state;
	return start(1);
}

int start_all(void **state)
{
	(void)state;
	return start(VCPUS);
}

int start_checked(void **state)
{
	(void)state;
	return start_with(checked_caller, sizeof(checked_caller), 1);
}

int stop(void **state)
{
	(void)state;
	machine_destroy(machine);
	machine = NULL;
	return 0;
}

uint64_t result(size_t vcpu, unsigned word)
{
	uint64_t v;

	assert_int_equal(b->ops->read(b, RESULTS + 64 * vcpu + 8 * word, &v, sizeof(v), NULL), 0);
	return v;
}

void wait_calls(void)
{
	uint64_t from[VCPUS], end = now_us() + 60 * SECOND;
	char reason[256];

	for (size_t i = 0; i < n_vcpus; i++)
		from[i] = result(i, 1);
	for (size_t i = 0; i < n_vcpus; i++) {
		while (result(i, 1) - from[i] < 2 && now_us() < end)
			sched_yield();
		if (result(i, 1) - from[i] < 2) {
			machine_wait(machine, 0, reason, sizeof(reason));
			fail_msg("vCPU %zu makes no calls: %s", i, reason);
		}
	}
}

void expect(uint64_t value)
{
	wait_calls();
	for (size_t i = 0; i < n_vcpus; i++)
		assert_int_equal(result(i, 0), value);
}

uint64_t counter(int fd, const char *name)
{
	uint64_t n;
	off_t at;

	if (fd < 0 || stats_counter(fd, name, &at) < 0 || pread(fd, &n, sizeof(n), at) != sizeof(n))
		return UINT64_MAX;
	return n;
}
