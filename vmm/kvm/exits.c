// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What KVM_RUN returned with: a table from exit reason to handler. A reason that
 * is not in the table, or that its handler cannot make sense of, ends this VM with
 * all facts in the reason; it must never be skipped, because the guest would go
 * on with a state nobody understands.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/kvm/machine_private.h"

#define FAULTS_MAX 100 /* -EFAULT in a row, each after a flip had ended */
#define RESET_RIP  0xfff0u
#define RESET_CS   0xf000u
#define DATA_SHOWN 2   /* of an internal error's words */

/* What the union behind an exit reason says is only there for that reason. */
static void details(const struct kvm_run *run, char *ret, size_t cap)
{
	const bool internal = run->exit_reason == KVM_EXIT_INTERNAL_ERROR;
	const uint32_t n = internal ? run->internal.ndata : 0;

	ret[0] = '\0';
	if (internal)
		snprintf(ret, cap, ", suberror %u", run->internal.suberror);
	for (uint32_t i = 0; i < n && i < DATA_SHOWN; i++)
		snprintf(ret + strlen(ret), cap - strlen(ret), "%s%llx", i ? " " : ", data ",
			 (unsigned long long)run->internal.data[i]);
}

static void broken(struct cpu *c, const char *what)
{
	const struct kvm_run *run = c->run;
	struct vcpu_regs regs = { 0 };
	char text[80];

	cpu_regs_at_exit(c, &regs);
	details(run, text, sizeof(text));
	machine_end(c->m, BACKEND_BROKEN, BACKEND_EVENT_PANICKED,
		    "vCPU %zu: %s (exit %u%s) at rip 0x%llx, cs 0x%x, cr0 0x%llx, cr3 0x%llx", c->index, what,
		    run->exit_reason, text, (unsigned long long)regs.rip, regs.cs, (unsigned long long)regs.cr0,
		    (unsigned long long)regs.cr3);
}

static void exit_io(struct cpu *c)
{
	const struct kvm_run *run = c->run;
	uint8_t *data = (uint8_t *)c->run + run->io.data_offset;
	bool out = run->io.direction == KVM_EXIT_IO_OUT;

	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size)
		ports_access(c->m, run->io.port, out, data, run->io.size);
	c->io_pending = true;
}

/*
 * Devices; else it can only be RAM: a guest write to a page frozen by a flip comes this
 * way when KVM's emulator made it. memory_*() waits for the flip.
 */
static void exit_mmio(struct cpu *c)
{
	struct kvm_run *run = c->run;

	if (run->mmio.len > sizeof(run->mmio.data)) {
		broken(c, "MMIO of impossible length");
		return;
	}
	c->io_pending = true;
	if (devices_access(&c->m->devices, run->mmio.phys_addr, run->mmio.is_write, run->mmio.data, run->mmio.len))
		return;
	if (run->mmio.is_write)
		memory_write(&c->m->memory, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
	else if (memory_read(&c->m->memory, run->mmio.phys_addr, run->mmio.data, run->mmio.len) < 0)
		memset(run->mmio.data, 0xff, run->mmio.len);
}

/* Only without an in-kernel irqchip. Nothing but an NMI wakes it. */
static void exit_hlt(struct cpu *c)
{
	struct machine *m = c->m;

	pthread_mutex_lock(&m->lock);
	c->halted = true;
	pthread_mutex_unlock(&m->lock);
	atomic_store(&c->attention, true);
}

/*
 * KVM for AMD resets the vCPU before it reports one (shutdown_interception(),
 * arch/x86/kvm/svm/svm.c): where it came from is gone then, and what is shown is not it.
 */
static void exit_shutdown(struct cpu *c)
{
	struct vcpu_regs regs = { 0 };
	bool reset = cpu_regs_at_exit(c, &regs) == 0 && regs.rip == RESET_RIP && regs.cs == RESET_CS;

	broken(c, reset ? "triple fault, and KVM has reset its registers" : "triple fault");
}

static void exit_system_event(struct cpu *c)
{
	uint32_t type = c->run->system_event.type;

	if (type == KVM_SYSTEM_EVENT_SHUTDOWN)
		machine_end(c->m, BACKEND_SHUTDOWN, BACKEND_EVENT_SHUTDOWN, "the guest powered off");
	else if (type == KVM_SYSTEM_EVENT_RESET)
		machine_end(c->m, BACKEND_SHUTDOWN, BACKEND_EVENT_RESET, "reset");
	else
		broken(c, "system event not understood");
}

static void exit_internal_error(struct cpu *c)
{
	if (c->run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION && trap_emulation_error(c))
		return;
	broken(c, "KVM internal error");
}

static void exit_fail_entry(struct cpu *c)
{
	machine_end(c->m, BACKEND_BROKEN, BACKEND_EVENT_PANICKED, "vCPU %zu: VM entry failed, hardware reason 0x%llx",
		    c->index, (unsigned long long)c->run->fail_entry.hardware_entry_failure_reason);
}

static void exit_again(struct cpu *c)
{
	(void)c;
}

static void (*const exits[])(struct cpu *c) = {
	[KVM_EXIT_IO] = exit_io,
	[KVM_EXIT_MMIO] = exit_mmio,
	[KVM_EXIT_HLT] = exit_hlt,
	[KVM_EXIT_DEBUG] = trap_debug_exit,
	[KVM_EXIT_INTR] = exit_again,
	[KVM_EXIT_IRQ_WINDOW_OPEN] = exit_again,
	[KVM_EXIT_SHUTDOWN] = exit_shutdown,
	[KVM_EXIT_FAIL_ENTRY] = exit_fail_entry,
	[KVM_EXIT_INTERNAL_ERROR] = exit_internal_error,
	[KVM_EXIT_SYSTEM_EVENT] = exit_system_event,
};

void cpu_exit(struct cpu *c)
{
	uint32_t reason = c->run->exit_reason;

	c->faults = 0;
	c->io_pending = false;
	if (reason < ARRAY_SIZE(exits) && exits[reason])
		exits[reason](c);
	else
		broken(c, "exit not understood");
}

void cpu_run_failed(struct cpu *c, int error)
{
	char what[64];

	/* A write to a page that a flip has frozen: wait for the flip, then the instruction runs again. */
	if (error == EFAULT && c->faults++ < FAULTS_MAX) {
		memory_settle(&c->m->memory);
		return;
	}
	snprintf(what, sizeof(what), "KVM_RUN: %s", strerror(error));
	broken(c, what);
}
