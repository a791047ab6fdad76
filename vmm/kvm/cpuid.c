// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * CPUID of a vCPU: what this KVM supports, with our topology, which is one
 * single-threaded core per package: correct for both vendors, and no leaf then
 * contradicts another. Must never offer what KVM did not.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/kvm/machine_private.h"

#define ENTRIES_MAX 256

#define LEAF1_ECX_TSC_DEADLINE (1u << 24)
#define LEAF1_ECX_HYPERVISOR   (1u << 31)
#define LEAF1_EDX_HTT	       (1u << 28)
#define AMD_ECX_CMP_LEGACY     (1u << 1)
#define AMD_ECX_SVM	       (1u << 2)
#define AMD_ECX_TOPOEXT	       (1u << 22)
#define LEAF1_ECX_VMX	       (1u << 5)

static void fix(const struct cpu *c, struct kvm_cpuid_entry2 *l, bool deadline)
{
	uint32_t id = (uint32_t)c->index;

	switch (l->function) {
	case 0x1:
		l->ebx = (l->ebx & 0xffff) | 1u << 16 | id << 24;
		l->edx &= ~LEAF1_EDX_HTT;
		l->ecx |= LEAF1_ECX_HYPERVISOR; /* or Linux does not look for kvmclock */
		l->ecx &= ~LEAF1_ECX_VMX; /* guests of guests: their #BP would come to us */
		if (deadline)
			l->ecx |= LEAF1_ECX_TSC_DEADLINE; /* KVM leaves it to whoever made the irqchip */
		break;
	case 0x4: /* Intel caches: shared by one thread, one core in the package */
		l->eax &= 0x3fff;
		break;
	case 0xb:
	case 0x1f: /* x2APIC topology: not there, but for the id */
		l->eax = l->ebx = l->ecx = 0;
		l->edx = id;
		break;
	case 0x80000001:
		l->ecx &= ~(AMD_ECX_CMP_LEGACY | AMD_ECX_TOPOEXT | AMD_ECX_SVM);
		break;
	case 0x80000008: /* cores in the package, less one */
		l->ecx = 0;
		break;
	case 0x8000001d:
	case 0x8000001e:
		l->eax = l->ebx = l->ecx = l->edx = 0;
		break;
	default:
		break;
	}
}

int cpu_set_cpuid(struct cpu *c, struct err *e)
{
	_cleanup_free_ struct kvm_cpuid2 *t = calloc(1, sizeof(*t) + ENTRIES_MAX * sizeof(t->entries[0]));
	bool deadline = c->m->irqchip && ioctl(c->m->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;

	if (!t)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	t->nent = ENTRIES_MAX;
	if (ioctl(c->m->kvm_fd, KVM_GET_SUPPORTED_CPUID, t) < 0)
		return err_set(e, ERR_FAILED, errno, "", "KVM_GET_SUPPORTED_CPUID: %s", strerror(errno));
	for (uint32_t i = 0; i < t->nent && i < ENTRIES_MAX; i++)
		fix(c, &t->entries[i], deadline);
	if (ioctl(c->fd, KVM_SET_CPUID2, t) < 0)
		return err_set(e, ERR_FAILED, errno, "", "KVM_SET_CPUID2: %s", strerror(errno));
	return 0;
}
