// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A vCPU that does nothing but leave the guest: by an OUT to a port where nothing is,
 * and by an int3 that a handler answers as the engine's does, with registers read and
 * set. The difference is what the trap costs.
 */
#include <errno.h>
#include <poll.h>

#include "tests/bench/modes/modes.h"
#include "tests/unit/kvm_guest.h"

#define COUNTER 0x200000ull
#define RUN_MS	500

/* mov rbx, COUNTER; again: TWO BYTES; inc qword [rbx]; jmp again */
#define LOOP(a, b) { 0x48, 0xc7, 0xc3, 0x00, 0x00, 0x20, 0x00, a, b, 0x48, 0xff, 0x03, 0xeb, 0xf9 }
static const uint8_t out_loop[] = LOOP(0xe6, 0x80);  /* out 0x80, al */
static const uint8_t int3_loop[] = LOOP(0xcc, 0x90); /* int3; nop */

static enum backend_verdict hit(struct backend_hit_handler *h, struct backend *b, size_t vcpu, enum backend_trap kind,
				struct vcpu_regs *regs, struct backend_fault *fault)
{
	(void)h;
	(void)b;
	(void)vcpu;
	(void)kind;
	(void)fault;
	regs->rip++;
	return BACKEND_HIT_RESUME;
}

static int round_trip(const uint8_t *code, size_t len, struct backend_hit_handler *h, double *ret_us, struct err *e)
{
	_cleanup_(machine_destroy) struct machine *m = NULL;
	uint64_t from = 0, to = 0, began;
	int r = guest_create(code, len, 1, NULL, &m, e);

	if (r < 0)
		return r;
	struct backend *b = machine_backend(m);
	r = h ? b->ops->live->arm(b, h, e) : 0;
	if (r >= 0)
		r = machine_start(m, e);
	if (r < 0)
		return r;
	poll(NULL, 0, 20);
	b->ops->read(b, COUNTER, &from, sizeof(from), NULL);
	began = now_us();
	poll(NULL, 0, RUN_MS);
	b->ops->read(b, COUNTER, &to, sizeof(to), NULL);
	if (to == from)
		return err_set(e, ERR_FAILED, ETIMEDOUT, "", "a vCPU that leaves the guest does not come back");
	*ret_us = (double)(now_us() - began) / (double)(to - from);
	return 0;
}

int measure_exits(struct bench *b, struct err *e)
{
	struct backend_hit_handler handler = { .hit = hit };
	struct machine_abilities abilities;
	int r = machine_probe(&abilities, e);

	if (r >= 0)
		r = round_trip(out_loop, sizeof(out_loop), NULL, &b->exit_us, e);
	if (r < 0 || abilities.int3 == MACHINE_INT3_NOT_REPORTED)
		return r;
	return round_trip(int3_loop, sizeof(int3_loop), &handler, &b->trap_us, e);
}
