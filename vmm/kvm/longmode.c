// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A vCPU at an address in 64-bit mode: flat segments, identity page tables of 2 MiB
 * pages over the first 4 GiB. The tables live in the first 64 KiB of the guest,
 * which the loaders leave free; the guest may overwrite them as soon as it runs.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/kvm/layout.h"
#include "vmm/kvm/machine_private.h"

#define PTE_PRESENT_WRITE 3ull
#define PTE_HUGE	  (1ull << 7)
#define CR0_PE		  1ull
#define CR0_ET		  (1ull << 4)
#define CR0_NE		  (1ull << 5)
#define CR0_WP		  (1ull << 16)
#define CR0_PG		  (1ull << 31)
#define CR4_PAE		  (1ull << 5)
#define CR4_OSFXSR	  (3ull << 9) /* and OSXMMEXCPT: a freestanding guest may use SSE */
#define EFER_LME_LMA	  (1ull << 8 | 1ull << 10)

/* Linux, Documentation/arch/x86/boot.rst, 64-bit boot protocol: __BOOT_CS 0x10, __BOOT_DS 0x18. */
static const uint64_t gdt[] = { 0, 0, 0x00af9b000000ffffull, 0x00cf93000000ffffull };

int longmode_tables(struct machine *m, struct err *e)
{
	uint64_t pml4[512] = { LAYOUT_PDPT | PTE_PRESENT_WRITE }, pdpt[512] = { 0 }, pd[512];
	int r = memory_write(&m->memory, LAYOUT_PML4, pml4, sizeof(pml4));

	for (uint64_t gib = 0; gib < 4; gib++) {
		pdpt[gib] = (LAYOUT_PD + gib * PAGE_SIZE) | PTE_PRESENT_WRITE;
		for (uint64_t i = 0; i < 512; i++)
			pd[i] = (gib << 30 | i << 21) | PTE_PRESENT_WRITE | PTE_HUGE;
		r |= memory_write(&m->memory, LAYOUT_PD + gib * PAGE_SIZE, pd, sizeof(pd));
	}
	r |= memory_write(&m->memory, LAYOUT_PDPT, pdpt, sizeof(pdpt));
	r |= memory_write(&m->memory, LAYOUT_GDT, gdt, sizeof(gdt));
	return r ? err_set(e, ERR_FAILED, EFAULT, "", "boot tables do not fit into guest memory") : 0;
}

static struct kvm_segment segment(uint16_t selector, uint8_t type, bool code)
{
	return (struct kvm_segment){
		.limit = 0xffffffff, .selector = selector, .type = type, .present = 1,
		.s = 1, .g = 1, .l = code, .db = !code,
	};
}

int longmode_enter(struct cpu *c, uint64_t rip, uint64_t rdi, uint64_t rsi, struct err *e)
{
	struct kvm_regs regs = { .rip = rip, .rdi = rdi, .rsi = rsi, .rflags = 2 };
	struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct kvm_sregs s;

	if (ioctl(c->fd, KVM_GET_SREGS, &s) < 0)
		return err_set(e, ERR_FAILED, errno, "", "KVM_GET_SREGS: %s", strerror(errno));
	s.cs = segment(0x10, 0xb, true);
	s.ds = s.es = s.fs = s.gs = s.ss = segment(0x18, 0x3, false);
	s.tr = (struct kvm_segment){ .limit = 0xffff, .type = 0xb, .present = 1 };
	s.ldt = (struct kvm_segment){ .limit = 0xffff, .type = 0x2, .present = 1 };
	s.gdt = (struct kvm_dtable){ .base = LAYOUT_GDT, .limit = sizeof(gdt) - 1 };
	s.idt = (struct kvm_dtable){ 0 };
	s.cr3 = LAYOUT_PML4;
	s.cr4 = CR4_PAE | CR4_OSFXSR;
	s.efer = EFER_LME_LMA;
	s.cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
	if (ioctl(c->fd, KVM_SET_SREGS, &s) < 0 || ioctl(c->fd, KVM_SET_REGS, &regs) < 0)
		return err_set(e, ERR_FAILED, errno, "", "cannot set the registers of vCPU %zu: %s", c->index,
			       strerror(errno));
	if (c->m->irqchip && ioctl(c->fd, KVM_SET_MP_STATE, &mp) < 0)
		return err_set(e, ERR_FAILED, errno, "", "KVM_SET_MP_STATE: %s", strerror(errno));
	return 0;
}
