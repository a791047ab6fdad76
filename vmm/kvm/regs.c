// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Registers between KVM's layout and ours. Must only be called while the vCPU is
 * out of KVM_RUN (machine_private.h says who may).
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/kvm/machine_private.h"

#define MSR_LSTAR	   0xc0000082u
#define MSR_KERNEL_GS_BASE 0xc0000102u

static void from_regs(struct vcpu_regs *to, const struct kvm_regs *r)
{
	const uint64_t gpr[VCPU_GPR_COUNT] = { r->rax, r->rcx, r->rdx, r->rbx, r->rsp, r->rbp, r->rsi, r->rdi,
					       r->r8,  r->r9,  r->r10, r->r11, r->r12, r->r13, r->r14, r->r15 };

	memcpy(to->gpr, gpr, sizeof(gpr));
	to->rip = r->rip;
	to->rflags = r->rflags;
}

static void from_sregs(struct vcpu_regs *to, const struct kvm_sregs *s)
{
	to->cs = s->cs.selector;
	to->ss = s->ss.selector;
	to->fs_base = s->fs.base;
	to->gs_base = s->gs.base;
	to->cr0 = s->cr0;
	to->cr3 = s->cr3;
	to->cr4 = s->cr4;
	to->efer = s->efer;
	to->idt_base = s->idt.base;
	to->has_idt = true;
}

static void from_msrs(struct cpu *c, struct vcpu_regs *to)
{
	const struct kvm_msr_entry wanted[] = { { .index = MSR_LSTAR }, { .index = MSR_KERNEL_GS_BASE } };
	_cleanup_free_ struct kvm_msrs *msrs = calloc(1, sizeof(*msrs) + sizeof(wanted));

	if (!msrs)
		return;
	msrs->nmsrs = ARRAY_SIZE(wanted);
	memcpy(msrs->entries, wanted, sizeof(wanted));
	if (ioctl(c->fd, KVM_GET_MSRS, msrs) != ARRAY_SIZE(wanted))
		return;
	to->lstar = msrs->entries[0].data;
	to->has_lstar = true;
	to->kernel_gs_base = msrs->entries[1].data;
}

int cpu_regs_at_exit(struct cpu *c, struct vcpu_regs *ret)
{
	struct kvm_regs r;
	struct kvm_sregs s;

	*ret = (struct vcpu_regs){ 0 };
	if (c->synced) {
		from_regs(ret, &c->run->s.regs.regs);
		from_sregs(ret, &c->run->s.regs.sregs);
		return 0;
	}
	if (ioctl(c->fd, KVM_GET_REGS, &r) < 0 || ioctl(c->fd, KVM_GET_SREGS, &s) < 0)
		return -errno;
	from_regs(ret, &r);
	from_sregs(ret, &s);
	return 0;
}

int cpu_regs_get(struct cpu *c, struct vcpu_regs *ret)
{
	struct kvm_mp_state mp = { 0 };
	struct kvm_regs r;
	struct kvm_sregs s;

	*ret = (struct vcpu_regs){ 0 };
	if (ioctl(c->fd, KVM_GET_REGS, &r) < 0 || ioctl(c->fd, KVM_GET_SREGS, &s) < 0)
		return -errno;
	from_regs(ret, &r);
	from_sregs(ret, &s);
	from_msrs(c, ret);
	if (c->m->irqchip && ioctl(c->fd, KVM_GET_MP_STATE, &mp) == 0)
		ret->halted = mp.mp_state == KVM_MP_STATE_HALTED;
	else
		ret->halted = c->halted;
	return 0;
}

/*
 * KVM_SET_REGS drops a queued exception: a machine check that came while the vCPU was
 * held. Without flags nothing else is set that another vCPU may be changing: an NMI or a
 * SIPI it sends between get and set would be lost.
 */
static int events_restore(struct cpu *c, struct kvm_vcpu_events *events)
{
	if (!events->exception.injected && !events->exception.pending)
		return 0;
	events->flags = 0;
	return ioctl(c->fd, KVM_SET_VCPU_EVENTS, events) < 0 ? -errno : 0;
}

int cpu_regs_set(struct cpu *c, const struct vcpu_regs *regs)
{
	const uint64_t *g = regs->gpr;
	struct kvm_regs r = {
		.rax = g[VCPU_RAX], .rcx = g[VCPU_RCX], .rdx = g[VCPU_RDX], .rbx = g[VCPU_RBX],
		.rsp = g[VCPU_RSP], .rbp = g[VCPU_RBP], .rsi = g[VCPU_RSI], .rdi = g[VCPU_RDI],
		.r8 = g[VCPU_R8],   .r9 = g[VCPU_R9],	.r10 = g[VCPU_R10], .r11 = g[VCPU_R11],
		.r12 = g[VCPU_R12], .r13 = g[VCPU_R13], .r14 = g[VCPU_R14], .r15 = g[VCPU_R15],
		.rip = regs->rip,   .rflags = regs->rflags,
	};
	struct kvm_vcpu_events events;

	c->synced = false;
	if (ioctl(c->fd, KVM_GET_VCPU_EVENTS, &events) < 0 || ioctl(c->fd, KVM_SET_REGS, &r) < 0)
		return -errno;
	return events_restore(c, &events);
}
