/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine of our own VMM for the tests that change text of running vCPUs. Each vCPU calls a function for ever and
 * counts, per value, what it returned; after a change has been made and its barrier passed, no call that begins later
 * may return the old value.
 */
#ifndef VMPOKE_TESTS_UNIT_KVM_CALLER_H
#define VMPOKE_TESTS_UNIT_KVM_CALLER_H

#include "tests/unit/kvm_guest.h"
#include "vmm/kvm/machine_private.h"

#define SECOND	 1000000u
#define FUNCTION 0x101000ull /* mov eax, imm32; ret */
#define RESULTS	 0x200000ull /* per vCPU 64 bytes: u64 last value, u64 calls */
#define CHECKS	 0x500000ull /* u64: machine checks taken */
#define VCPUS	 4

/* Rounds: many, but where the host has fewer CPUs than there are vCPUs each costs a turn of its scheduler. */
#define ROUNDS_MIN  8
#define ROUNDS_TIME (2 * SECOND)
#define ROUNDS(v, first, last)                                                           \
	for (uint64_t until = now_us() + ROUNDS_TIME, done = 0; !done; done = 1)         \
		for (uint32_t v = (first); v < (last) && (v < (first) + ROUNDS_MIN || now_us() < until); v++)

#define NEED(cap)                                                                   \
	do {                                                                        \
		if (guest_missing() || ((cap) && !(caps & (cap)))) {                \
			print_message("skipped: %s\n", guest_missing() ? guest_missing() : "this KVM has no " #cap); \
			skip();                                                     \
		}                                                                   \
	} while (0)

/* The machine that is up; NULL where there is no KVM. */
extern struct machine *machine;
extern struct backend *b;
extern unsigned n_vcpus, caps;

/* With one vCPU, with all, with one that takes machine checks; cmocka's setup and teardown. */
int start_one(void **state);
int start_all(void **state);
int start_checked(void **state);
int stop(void **state);
#define ON(n, test) cmocka_unit_test_setup_teardown(test, start_##n, stop)

uint64_t result(size_t vcpu, unsigned word); /* of RESULTS */
void wait_calls(void);			     /* every vCPU has begun and ended a call since */
void expect(uint64_t value);		     /* every vCPU sees it, from now on */

/* KVM's own counter of this name; UINT64_MAX when there is none. A vCPU's file must be open already: asking a running one for it waits for its exit. */
uint64_t counter(int fd, const char *name);

#endif
