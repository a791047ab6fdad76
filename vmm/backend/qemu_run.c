// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Run control: pause, resume, single-step, traps. Whatever can be asked or made
 * ready is done while the VM still runs; between connecting to the stub and its
 * 'D' there is no wait that the caller did not ask for. Must never leave a VM
 * stopped that was found running.
 */
#include <errno.h>
#include <string.h>

#include "vmm/backend/qemu.h"

#define REPLY_US 2000000u
#define STEP_US 500000u	  /* a halted vCPU with nothing pending does not step at all */
#define STEP_TRIES 4	  /* some accelerators report a step that did not move (EPT violation) */
#define SNAPSHOT_US 10000u

static int refuse_state(const char *name, struct err *e)
{
	return err_set(e, ERR_INACTIVE, EHOSTDOWN, "run-state",
		       "the VM is in state %s: its kernel cannot be patched now", name);
}

/* Stops the VM. The state is asked again right before: it must be the one the journal was told. */
static int stop_now(struct qemu_vm *vm, struct err *e)
{
	struct qemu_run_state now;
	char name[32];
	int r = qemu_status(vm, &now, name, e);

	if (r < 0)
		return r;
	qemu_events_keep(vm);
	if (!now.holdable)
		return refuse_state(name, e);
	if ((now.state == BACKEND_RUNNING) != vm->found_running)
		return err_set(e, ERR_TIMEOUT, EBUSY, "run-state", "the VM was %s meanwhile; try again",
			       vm->found_running ? "paused" : "resumed");
	vm->base.stop_asked_us = now_us();
	r = qemu_stub_attach(vm, e);
	if (r < 0) {
		struct err why = { 0 };

		qemu_stub_close(vm); /* ends a connection that still waits to be accepted, too */
		/* The connection may have stopped the VM and then failed: whoever called must not take it for running. */
		if (qemu_settle(vm, vm->found_running, false, &why) < 0) {
			if (e)
				*e = why;
			r = -ENOTCONN;
		}
	}
	return r;
}

int qemu_pause(struct backend *b, struct backend_pause_hook *hook, bool *ret_was_running, struct err *e)
{
	struct qemu_vm *vm = qemu_vm(b);
	struct qemu_run_state found;
	char name[32];

	if (vm->held)
		return err_set(e, ERR_FAILED, EALREADY, "", "the VM is already held");
	int r = qemu_status(vm, &found, name, e);
	if (r < 0)
		return r;
	if (!found.holdable)
		return refuse_state(name, e);
	if (vm->arch != VCPU_ARM64) /* nothing is wanted of it there, and it would be a stop of its own */
		r = qemu_snapshot(vm, SNAPSHOT_US, e);
	if (r < 0)
		return r;
	vm->found_running = found.state == BACKEND_RUNNING;
	r = hook ? hook->before(hook, vm->found_running, e) : 0;
	if (r < 0)
		return r;
	r = qemu_stub_open(vm, e);
	if (r >= 0)
		r = stop_now(vm, e);
	if (r < 0) {
		qemu_stub_close(vm);
		return r;
	}
	vm->held = true;
	*ret_was_running = vm->found_running;
	return 0;
}

static int clear_traps(struct qemu_vm *vm)
{
	int failed = 0;

	while (vm->n_traps && gdbstub_alive(vm->stub)) {
		const struct qemu_trap *t = &vm->traps[vm->n_traps - 1];
		int r = qemu_trap_clear(&vm->base, t->kind, t->gva, NULL);
		if (r < 0) {
			failed = r;
			vm->n_traps--;
		}
	}
	vm->n_traps = 0;
	return failed;
}

int qemu_resume(struct backend *b, struct err *e)
{
	struct qemu_vm *vm = qemu_vm(b);

	if (!vm->held)
		return err_set(e, ERR_FAILED, EINVAL, "", "the VM is not held");
	clear_traps(vm); /* 'D' removes all of them as well */
	qemu_events_drop(vm);
	vm->resume_seen = vm->stop_after_resume = false;
	int r = qemu_stub_detach(vm, vm->found_running, NULL);
	b->resumed_us = now_us();
	vm->held = false;
	qemu_stub_close(vm);
	int settled = qemu_settle(vm, vm->found_running, r >= 0, e);
	if (settled < 0 && r >= 0 && settled == -ENOTCONN)
		err_prefix(e, "the VM was let go, but this could not be confirmed");
	return settled;
}

int qemu_resume_orphan(struct backend *b, struct err *e)
{
	struct qemu_vm *vm = qemu_vm(b);
	struct qemu_run_state now;
	char name[32];

	if (vm->held)
		return err_set(e, ERR_FAILED, EALREADY, "", "the VM is held by us");
	int r = qemu_status(vm, &now, name, e);
	if (r < 0)
		return r;
	if (now.state == BACKEND_RUNNING || !now.holdable)
		return 0;
	/* Going through the stub also removes traps which the predecessor left in QEMU: 'cont' would run into them. */
	vm->resume_seen = vm->stop_after_resume = false;
	r = qemu_stub_open(vm, NULL);
	if (r >= 0)
		r = qemu_stub_attach(vm, NULL);
	if (r >= 0)
		r = qemu_stub_detach(vm, true, NULL);
	qemu_stub_close(vm);
	return qemu_settle(vm, true, r >= 0, e);
}

static struct qemu_trap *trap_find(struct qemu_vm *vm, uint64_t gva)
{
	for (size_t i = 0; i < vm->n_traps; i++)
		if (vm->traps[i].gva == gva)
			return &vm->traps[i];
	return NULL;
}

static int stub_trap(struct qemu_vm *vm, bool set, enum backend_trap kind, uint64_t gva, struct err *e)
{
	enum gdbstub_trap z = kind == BACKEND_TRAP_KIND_HW ? GDBSTUB_TRAP_HARD : GDBSTUB_TRAP_SOFT;
	struct gdbstub *s;
	int r = qemu_stub_held(vm, &s, e);

	return r < 0 ? r : gdbstub_trap(s, set, z, gva, REPLY_US, e);
}

int qemu_trap_set(struct backend *b, enum backend_trap kind, uint64_t gva, struct err *e)
{
	struct qemu_vm *vm = qemu_vm(b);

	if (trap_find(vm, gva))
		return err_set_addr(e, ERR_FAILED, EEXIST, "", gva, "there is a trap at 0x%llx already",
				    (unsigned long long)gva);
	if (vm->n_traps == QEMU_TRAPS_MAX)
		return err_set(e, ERR_FAILED, ENOSPC, "", "more than %d traps", QEMU_TRAPS_MAX);
	if (!vm->traps)
		vm->traps = calloc(QEMU_TRAPS_MAX, sizeof(*vm->traps));
	if (!vm->traps)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	int r = stub_trap(vm, true, kind, gva, e);
	if (r < 0)
		return r;
	vm->traps[vm->n_traps++] = (struct qemu_trap){ kind, gva };
	return 0;
}

int qemu_trap_clear(struct backend *b, enum backend_trap kind, uint64_t gva, struct err *e)
{
	struct qemu_vm *vm = qemu_vm(b);
	struct qemu_trap *t = trap_find(vm, gva);

	if (!t || t->kind != kind)
		return err_set_addr(e, ERR_FAILED, ENOENT, "", gva, "there is no such trap at 0x%llx",
				    (unsigned long long)gva);
	int r = stub_trap(vm, false, kind, gva, e);
	if (r >= 0)
		*t = vm->traps[--vm->n_traps];
	return r;
}

static int stop_vcpu(const struct qemu_vm *vm, unsigned thread, size_t *ret, struct err *e)
{
	for (size_t i = 0; i < vm->n_cpus; i++) {
		if ((unsigned)vm->cpus[i].index + 1 == thread) {
			*ret = i;
			return 0;
		}
	}
	return err_set(e, ERR_FAILED, EPROTO, "", "the gdb stub names a vCPU that does not exist (%u)", thread);
}

static void forget_regs(struct qemu_vm *vm)
{
	for (size_t i = 0; i < vm->n_cpus; i++)
		vm->cpus[i].fresh = false;
}

/* Waits for a stop; past the deadline asks for one. *ret_timed_out tells which it was. */
static int wait_stop(struct gdbstub *s, uint64_t timeout_us, struct gdbstub_stop *ret, bool *ret_timed_out,
		     struct err *e)
{
	int r = gdbstub_wait_stop(s, timeout_us, ret, e);

	*ret_timed_out = r == 0;
	if (r == 0) {
		r = gdbstub_interrupt(s, REPLY_US, e);
		if (r >= 0)
			r = gdbstub_wait_stop(s, REPLY_US, ret, e);
		if (r == 0) {
			/* Replies can no longer be told apart; the next call connects anew. */
			gdbstub_abandon(s);
			return err_set(e, ERR_INACTIVE, ENOTCONN, "", "the VM does not stop");
		}
	}
	if (r > 0 && ret->ended)
		return err_set(e, ERR_INACTIVE, ENOTCONN, "", "the VM ended");
	return r < 0 ? r : 0;
}

/* One step request; 1 when some register of the vCPU changed. */
static int step_once(struct qemu_vm *vm, struct gdbstub *s, size_t vcpu, struct err *e)
{
	struct vcpu_regs before, after;
	struct gdbstub_stop stop;
	bool timed_out = false;
	int r = qemu_regs_get(&vm->base, vcpu, &before, e);

	if (r >= 0)
		r = gdbstub_step(s, (unsigned)vm->cpus[vcpu].index + 1, REPLY_US, e);
	if (r < 0)
		return r;
	forget_regs(vm);
	r = wait_stop(s, STEP_US, &stop, &timed_out, e);
	if (r >= 0)
		r = qemu_regs_get(&vm->base, vcpu, &after, e);
	if (r < 0)
		return r;
	/* A REP-prefixed instruction moves its counters and not RIP. */
	if (after.rip != before.rip || memcmp(after.gpr, before.gpr, sizeof(after.gpr)) ||
	    memcmp(&after.arm64, &before.arm64, sizeof(after.arm64)))
		return 1;
	if (timed_out)
		return err_set(e, ERR_TIMEOUT, ETIMEDOUT, "halted", "vCPU %zu is halted and cannot be stepped", vcpu);
	return 0;
}

static int step_prepare(struct qemu_vm *vm, struct gdbstub *s, struct err *e)
{
	if (vm->step_ready)
		return 0;
	int r = gdbstub_step_alone(s, REPLY_US, e);
	if (r < 0) {
		err_prefix(e, "single-step with interrupts blocked");
		return r;
	}
	vm->step_ready = true;
	return 0;
}

int qemu_step(struct backend *b, size_t vcpu, struct err *e)
{
	struct qemu_vm *vm = qemu_vm(b);
	struct vcpu_regs regs;
	struct gdbstub *s;
	int r = qemu_stub_held(vm, &s, e);

	if (r >= 0)
		r = step_prepare(vm, s, e);
	if (r >= 0)
		r = qemu_regs_get(b, vcpu, &regs, e);
	if (r < 0)
		return r;
	/* A trap at RIP would stop the vCPU before the instruction; all others are frozen, so it may be lifted. */
	const struct qemu_trap *at = trap_find(vm, regs.rip);
	struct qemu_trap lifted = at ? *at : (struct qemu_trap){ 0 };
	if (at)
		r = stub_trap(vm, false, lifted.kind, lifted.gva, e);
	for (int i = 0; r == 0 && i < STEP_TRIES; i++)
		r = step_once(vm, s, vcpu, e);
	if (r == 0)
		r = err_set_addr(e, ERR_FAILED, EIO, "stuck", regs.rip, "vCPU %zu does not move from 0x%llx when stepped",
				 vcpu, (unsigned long long)regs.rip);
	int back = at ? stub_trap(vm, true, lifted.kind, lifted.gva, r < 0 ? NULL : e) : 0;
	return r < 0 ? r : back;
}

int qemu_run(struct backend *b, uint64_t timeout_us, struct backend_stop *ret, struct err *e)
{
	struct qemu_vm *vm = qemu_vm(b);
	struct gdbstub_stop stop;
	struct vcpu_regs regs;
	struct gdbstub *s;
	bool timed_out = false;
	size_t vcpu = 0;
	int r = qemu_stub_held(vm, &s, e);

	if (r >= 0)
		r = gdbstub_go(s, REPLY_US, e);
	if (r < 0)
		return r;
	forget_regs(vm);
	r = wait_stop(s, timeout_us, &stop, &timed_out, e);
	if (r >= 0)
		r = stop_vcpu(vm, stop.thread, &vcpu, e);
	if (r >= 0)
		r = qemu_regs_get(b, vcpu, &regs, e);
	if (r < 0)
		return r;
	bool trap = stop.signal == 5 && trap_find(vm, regs.rip);
	if (timed_out && !trap)
		return err_set(e, ERR_TIMEOUT, ETIMEDOUT, "", "no trap was hit within %llu ms",
			       (unsigned long long)(timeout_us / 1000));
	*ret = (struct backend_stop){ .vcpu = vcpu, .trap = trap, .rip = regs.rip };
	return 0;
}
