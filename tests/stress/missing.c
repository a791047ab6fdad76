// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Why a vCPU does not come to rest: what our VMM thinks of it, and where it stands, twice,
 * to tell one that spins from one that is held or in a loop of exits. Only looks at what
 * has gone wrong already; must never change a verdict.
 */
#include "tests/stress/missing.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>

#include "vmm/kvm/machine_private.h"

#define LOOKS 3

static void vmm_print(const struct cpu *c)
{
	uint64_t exits = 0;

	stats_exits(c, &exits);
	fprintf(stderr,
		"stress: vCPU %zu does not come to rest: state %d, attention %d, in KVM_RUN %d, held %d since %" PRIu64
		" of %" PRIu64 ", in a hit %d, parked %d, halted %d, job %d, last exit %u, %" PRIu64 " exits\n",
		c->index, (int)c->state, atomic_load(&c->attention), atomic_load(&c->in_run), c->held, c->held_since,
		c->m->releases, c->in_hit, c->parked, c->halted, c->job != NULL, c->run->exit_reason, exits);
}

static void place_print(struct backend *b, unsigned vcpu)
{
	struct machine_events events = { 0 };
	struct vcpu_regs regs;
	struct err e = { 0 };
	uint8_t code[16] = { 0 };
	bool was;

	if (b->ops->pause(b, NULL, &was, &e) < 0) {
		fprintf(stderr, "stress: vCPU %u cannot be looked at: %s\n", vcpu, e.text);
		return;
	}
	if (b->ops->regs_get(b, vcpu, &regs, NULL) >= 0) {
		b->ops->read(b, regs.rip, code, sizeof(code), NULL); /* the guest's addresses are physical ones */
		fprintf(stderr, "stress: vCPU %u at 0x%" PRIx64 ", rflags 0x%" PRIx64 ", rsp 0x%" PRIx64 ", code", vcpu,
			regs.rip, regs.rflags, regs.gpr[VCPU_RSP]);
		for (size_t i = 0; i < sizeof(code); i++)
			fprintf(stderr, " %02x", code[i]);
		fputc('\n', stderr);
	}
	b->ops->resume(b, NULL);
	if (machine_events(machine_of(b), vcpu, &events, NULL) >= 0)
		fprintf(stderr, "stress: vCPU %u: %u NMIs pending, masked %d, exception %d\n", vcpu, events.nmi_pending,
			events.nmi_masked, events.exception);
}

void missing_print(struct machine *m, unsigned vcpu)
{
	for (int look = 0; look < LOOKS; look++) {
		vmm_print(&m->cpus[vcpu]);
		place_print(machine_backend(m), vcpu);
		poll(NULL, 0, 10);
	}
}
