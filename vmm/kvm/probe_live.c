// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A vCPU calls a function in a loop and stores what it returns; the function's
 * immediate is changed under it, by remap and by store and zap. After a remap the
 * very next call must see the new value. A zap is judged, with VMX or SVM, by KVM's
 * own counter of page faults: the page was taken out of its tables and the vCPU came
 * back for it. (Not by the value: caches are coherent, it would be seen anyway, but
 * an emulator under us may lose a store to text it has translated.) A KVM without
 * either interprets its guests, so that no CPU holds fetched guest text; its counter
 * does not move, and there the value decides. Every wait is bounded.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "vmm/kvm/barrier.h"
#include "vmm/kvm/live.h"
#include "vmm/kvm/machine_private.h"
#include "vmm/kvm/probe.h"

#define FUNCTION 0x101000ull
#define RESULT	 0x102000ull /* u32 the function returned, u32 how often it was called, after it */
#define ROUNDS	 8
#define WAIT_US	 2000000u

/* sti (an emulator may not interrupt a guest that spins with IF=0); mov esp, 0x110000; mov ebx, RESULT; again: call FUNCTION; mov [rbx], eax; inc dword [rbx+4]; jmp again */
static const uint8_t loop_code[] = {
	0xfb, 0xbc, 0x00, 0x00, 0x11, 0x00, 0xbb, 0x00, 0x20, 0x10, 0x00, /* 11 bytes */
	0xe8, 0xf0, 0x0f, 0x00, 0x00,					  /* call: ends at 0x10, 0x101000 - 0x100010 */
	0x89, 0x03, 0xff, 0x43, 0x04, 0xeb, 0xf4,			  /* jmp ends at 0x17, back to 0x0b */
};

static uint32_t word(struct machine *m, uint64_t gpa)
{
	uint32_t v = 0;

	memory_read(&m->memory, gpa, &v, sizeof(v));
	return v;
}

/* Two whole calls after now: the second began after now. */
static bool wait_calls(struct machine *m)
{
	uint32_t from = word(m, RESULT + 4);
	uint64_t deadline = now_us() + WAIT_US;

	while (word(m, RESULT + 4) - from < 2) {
		if (now_us() > deadline || machine_ended(m))
			return false;
		sched_yield();
	}
	return true;
}

static bool try_flips(struct machine *m)
{
	for (uint32_t v = 2; v < 2 + ROUNDS; v++) {
		const struct backend_flip flip = { .gpa = FUNCTION + 1, .len = sizeof(v), .bytes = (const uint8_t *)&v };
		if (live_flip(&m->base, &flip, 1, NULL, NULL) < 0 || !wait_calls(m) || word(m, RESULT) != v)
			return false;
	}
	return true;
}

static uint64_t page_faults(const struct cpu *c)
{
	uint64_t n = 0;
	off_t at;

	if (c->stats_fd < 0 || stats_counter(c->stats_fd, "pf_fixed", &at) < 0 ||
	    pread(c->stats_fd, &n, sizeof(n), at) != sizeof(n))
		return 0;
	return n;
}

static bool try_zaps(struct machine *m)
{
	const uint64_t gpa = FUNCTION;
	bool counts = barrier_host_is_vmx_or_svm();

	for (uint8_t v = 101; v < 101 + ROUNDS; v++) {
		uint64_t faults = page_faults(&m->cpus[0]);
		if (memory_write(&m->memory, FUNCTION + 1, &v, 1) < 0 ||
		    memory_zap(&m->memory, &gpa, 1, NULL) < 0 || !wait_calls(m))
			return false;
		if (counts ? page_faults(&m->cpus[0]) == faults : (uint8_t)word(m, RESULT) != v)
			return false;
	}
	return true;
}

int probe_live(struct machine_abilities *a, struct err *e)
{
	static const uint8_t function[] = { 0xb8, 0x01, 0x00, 0x00, 0x00, 0xc3 }; /* mov eax, 1; ret */
	_cleanup_(machine_destroy) struct machine *m = NULL;
	int r = probe_machine(a, loop_code, sizeof(loop_code), &m, e);

	if (r < 0)
		return r;
	memory_write(&m->memory, FUNCTION, function, sizeof(function));
	m->abilities.remap_seen_at_once = m->abilities.zap_forces_exit = true; /* what is to be shown */
	r = machine_start(m, e);
	if (r < 0)
		return r;
	if (!wait_calls(m))
		return err_set(e, ERR_FAILED, ETIMEDOUT, "no-kvm", "a guest of a few instructions does not run: %s",
			       m->end_reason);
	a->remap_seen_at_once = try_flips(m);
	a->zap_forces_exit = try_zaps(m);
	return 0;
}
