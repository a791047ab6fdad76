// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Registers: from the stub while the VM is held, else from the monitor. The stub
 * does not know the IDT, so that comes from the monitor's last snapshot, taken just
 * before the pause. Must never mix registers of two moments otherwise.
 */
#include <errno.h>
#include <string.h>

#include "vmm/backend/qemu.h"

#define REPLY_US 2000000u
#define SNAPSHOT_US 10000u /* one monitor answer serves a row of calls */
#define BLOCK_MAX 4096

/*
 * EFER stands behind everything we use in the block and does not change once a
 * kernel runs: where the monitor shows the same value, the layout is the one we know.
 */
static int check_layout(const struct vcpu_regs *stub, const struct vcpu_regs *monitor, size_t vcpu, struct err *e)
{
	if (stub->efer == monitor->efer)
		return 0;
	return err_set(e, ERR_FAILED, EPROTO, "registers",
		       "EFER of vCPU %zu is 0x%llx in the gdb stub and 0x%llx in the monitor: "
		       "the VM was reset, or this QEMU packs registers in an unknown way", vcpu,
		       (unsigned long long)stub->efer, (unsigned long long)monitor->efer);
}

static int fetch(struct qemu_vm *vm, size_t vcpu, struct err *e)
{
	struct qemu_cpu *cpu = &vm->cpus[vcpu];
	const struct vcpu_regs *shown = &vm->snapshot[vcpu].regs;
	struct vcpu_regs regs;
	uint8_t block[BLOCK_MAX];
	struct gdbstub *s;
	int r = qemu_stub_held(vm, &s, e);

	if (r < 0)
		return r;
	if (vm->arch == VCPU_ARM64) {
		r = qemu_arm64_fetch(vm, s, vcpu, &cpu->regs, e);
		cpu->fresh = r >= 0;
		return r;
	}
	r = gdbstub_regs_read(s, (unsigned)cpu->index + 1, block, sizeof(block), REPLY_US, e);
	if (r < 0)
		return r;
	if (qemu_parse_g(block, (size_t)r, &regs) < 0)
		return err_set(e, ERR_FAILED, EPROTO, "registers", "the gdb stub gave only %d bytes of registers", r);
	r = check_layout(&regs, shown, vcpu, e);
	if (r < 0)
		return r;
	regs.idt_base = shown->idt_base;
	regs.has_idt = shown->has_idt;
	regs.halted = shown->halted && shown->rip == regs.rip;
	cpu->regs = regs;
	cpu->fresh = true;
	return 0;
}

static int check_vcpu(const struct qemu_vm *vm, size_t vcpu, struct err *e)
{
	if (vcpu < vm->n_cpus)
		return 0;
	return err_set(e, ERR_FAILED, EINVAL, "", "there is no vCPU %zu (the VM has %zu)", vcpu, vm->n_cpus);
}

int qemu_regs_get(struct backend *b, size_t vcpu, struct vcpu_regs *ret, struct err *e)
{
	struct qemu_vm *vm = qemu_vm(b);
	int r = check_vcpu(vm, vcpu, e);

	if (r < 0)
		return r;
	if (!vm->held) {
		r = qemu_snapshot(vm, SNAPSHOT_US, e);
		if (r >= 0)
			*ret = vm->snapshot[vcpu].regs;
		return r;
	}
	if (!vm->cpus[vcpu].fresh || !gdbstub_alive(vm->stub))
		r = fetch(vm, vcpu, e);
	if (r >= 0)
		*ret = vm->cpus[vcpu].regs;
	return r;
}

int qemu_regs_set(struct backend *b, size_t vcpu, const struct vcpu_regs *regs, struct err *e)
{
	struct qemu_vm *vm = qemu_vm(b);
	uint8_t block[QEMU_G_WRITE_SIZE];
	struct gdbstub *s;
	int r = check_vcpu(vm, vcpu, e);

	if (r >= 0 && vm->arch == VCPU_ARM64)
		return err_set(e, ERR_FAILED, EOPNOTSUPP, "registers", "registers of arm64 vCPUs are not changed here");
	if (r >= 0)
		r = qemu_stub_held(vm, &s, e);
	if (r < 0)
		return r;
	vm->cpus[vcpu].fresh = false;
	/* A short 'G' sets the first registers only: nothing behind them is touched. */
	qemu_format_g(regs, block);
	r = gdbstub_regs_write(s, (unsigned)vm->cpus[vcpu].index + 1, block, sizeof(block), REPLY_US, e);
	if (r >= 0)
		r = fetch(vm, vcpu, e);
	if (r < 0)
		return r;
	const struct vcpu_regs *now = &vm->cpus[vcpu].regs;
	if (now->rip != regs->rip || memcmp(now->gpr, regs->gpr, sizeof(now->gpr)))
		return err_set(e, ERR_FAILED, EIO, "registers", "vCPU %zu does not take the new registers", vcpu);
	return 0;
}
