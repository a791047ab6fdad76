/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A backend without a VM: a piece of RAM, vCPUs whose RIPs a script moves, calls
 * that fail when told to. It watches the contract from the other side: writes to
 * a running VM, pauses not matched by a resume, and the order of everything.
 */
#ifndef VMPOKE_TESTS_FAKE_BACKEND_H
#define VMPOKE_TESTS_FAKE_BACKEND_H

#include "vmm/backend.h"

#define FAKE_GPA	0x1000000u
#define FAKE_RAM_SIZE	0x4000u
#define FAKE_VCPUS_MAX	8
#define FAKE_EVENTS_MAX 8192

enum fake_event {
	FAKE_PAUSED,
	FAKE_RESUMED,
	FAKE_WROTE,
	FAKE_READ,
	FAKE_STEPPED,
	FAKE_STATE, /* + enum poke_state, added by the test's log */
};

struct fake_vcpu {
	uint64_t rip;
	bool halted;
	bool stuck; /* a step does not move it */
};

struct fake_backend {
	struct backend base;
	uint8_t ram[FAKE_RAM_SIZE];
	struct fake_vcpu vcpus[FAKE_VCPUS_MAX];
	size_t n_vcpus;
	unsigned caps;

	bool running;	    /* what the guest feels */
	bool paused;	    /* between pause() and resume() */
	bool found_running; /* by the last pause() */

	/* Calls number fail_at .. fail_at + fail_for - 1 fail with fail_errno. fail_at 0: none. */
	unsigned calls, fail_at, fail_for;
	int fail_errno;
	bool fail_writes_half;	     /* a failing write has written its first half */
	bool read_only;		     /* no write is ever taken */
	unsigned writes, lose_write; /* write number lose_write claims to have worked */

	/* Called when the VM starts to run again; may move vCPUs. NULL: they stay. */
	void (*on_run)(struct fake_backend *f);
	uint64_t seed;

	unsigned writes_while_running;
	int events[FAKE_EVENTS_MAX];
	size_t n_events;
};

void fake_backend_init(struct fake_backend *f, size_t n_vcpus, bool running);
void fake_backend_note(struct fake_backend *f, int event);
uint64_t fake_backend_random(struct fake_backend *f); /* xorshift64 over seed */

#endif
