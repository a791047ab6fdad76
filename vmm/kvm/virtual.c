// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guest-virtual access as the kernel of that vCPU would make it: its CR3, CPL 0. A
 * byte that cannot be reached gives the fault the CPU would raise, and then
 * nothing was written. SMAP is not looked at: kernel stacks are no user pages.
 */
#include <errno.h>

#include "vmm/kvm/live.h"
#include "vmm/kvm/machine_private.h"

#define VECTOR_GP 13
#define VECTOR_PF 14
#define PF_PRESENT 1u
#define PF_WRITE   2u
#define CR0_WP	  (1ull << 16)
#define CR4_LA57  (1ull << 12)
#define PAGES_MAX 2 /* an access of up to one page touches two */

static bool canonical(uint64_t gva, unsigned levels)
{
	unsigned unused = 64 - (12 + 9 * levels);

	return (uint64_t)((int64_t)(gva << unused) >> unused) == gva;
}

static int walk_begin(struct cpu *c, const struct vcpu_regs *regs)
{
	unsigned levels = regs->cr4 & CR4_LA57 ? 5 : 4;

	if (c->walk.tables && c->walk.levels == levels) {
		walk_root(&c->walk, regs->cr3);
		return 0;
	}
	walk_done(&c->walk);
	return walk_init(&c->walk, &c->m->guest_memory, regs->cr3, levels);
}

static int page_fault(struct backend_fault *fault, uint64_t gva, uint32_t code)
{
	*fault = (struct backend_fault){ .vector = VECTOR_PF, .has_error_code = true, .error_code = code, .cr2 = gva };
	return -EFAULT;
}

/* Where the bytes are: up to PAGES_MAX runs of gpa and length. Returns how many. */
static int translate(struct cpu *c, uint64_t gva, size_t len, bool write, struct backend_range *runs,
		     struct backend_fault *fault)
{
	struct vcpu_regs regs;
	int n = 0;

	if (!len || len > PAGE_SIZE)
		return -EINVAL;
	int r = cpu_regs_at_exit(c, &regs);
	if (r >= 0)
		r = walk_begin(c, &regs);
	if (r < 0)
		return r;
	if (!canonical(gva, c->walk.levels) || !canonical(gva + len - 1, c->walk.levels)) {
		*fault = (struct backend_fault){ .vector = VECTOR_GP, .has_error_code = true };
		return -EFAULT;
	}
	while (len) {
		size_t run = PAGE_SIZE - gva % PAGE_SIZE < len ? (size_t)(PAGE_SIZE - gva % PAGE_SIZE) : len;
		struct walk_page page;
		if (walk_translate(&c->walk, gva, &page, NULL) < 0)
			return page_fault(fault, gva, write ? PF_WRITE : 0);
		if (write && !page.write && regs.cr0 & CR0_WP)
			return page_fault(fault, gva, PF_WRITE | PF_PRESENT);
		if (memory_page(&c->m->memory, page.gpa) < 0)
			return page_fault(fault, gva, (write ? PF_WRITE : 0) | PF_PRESENT);
		runs[n++] = (struct backend_range){ page.gpa, run };
		gva += run;
		len -= run;
	}
	return n;
}

int live_read_virtual(struct backend *b, size_t vcpu, uint64_t gva, void *buf, size_t len,
		      struct backend_fault *fault)
{
	struct machine *m = machine_of(b);
	struct backend_range runs[PAGES_MAX];
	uint8_t *out = buf;
	int n = vcpu < m->n_cpus ? translate(&m->cpus[vcpu], gva, len, false, runs, fault) : -EINVAL;

	for (int i = 0; i < n; i++) {
		memory_read(&m->memory, runs[i].gpa, out, (size_t)runs[i].len);
		out += runs[i].len;
	}
	return n < 0 ? n : 0;
}

int live_write_virtual(struct backend *b, size_t vcpu, uint64_t gva, const void *buf, size_t len,
		       struct backend_fault *fault)
{
	struct machine *m = machine_of(b);
	struct backend_range runs[PAGES_MAX];
	const uint8_t *in = buf;
	int n = vcpu < m->n_cpus ? translate(&m->cpus[vcpu], gva, len, true, runs, fault) : -EINVAL;

	for (int i = 0; i < n; i++) {
		memory_write(&m->memory, runs[i].gpa, in, (size_t)runs[i].len);
		in += runs[i].len;
	}
	return n < 0 ? n : 0;
}

int live_exchange_virtual(struct backend *b, size_t vcpu, uint64_t gva, uint32_t expected, uint32_t desired,
			  struct backend_fault *fault)
{
	struct machine *m = machine_of(b);
	struct backend_range runs[PAGES_MAX];
	int n = vcpu < m->n_cpus && gva % sizeof(expected) == 0 ?
			translate(&m->cpus[vcpu], gva, sizeof(expected), true, runs, fault) :
			-EINVAL;

	return n < 0 ? n : memory_exchange(&m->memory, runs[0].gpa, expected, desired);
}
