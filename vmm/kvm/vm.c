// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * /dev/kvm, the VM and its memory slots. What this KVM can do is asked, not
 * assumed; an ability that is missing and needed is an error with its name.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/kvm/machine_private.h"

/* Three pages and one page KVM wants on Intel without unrestricted guest: below 4 GiB, out of RAM and devices. */
#define TSS_ADDR	  0xfffbd000ul
#define IDENTITY_MAP_ADDR 0xfffbc000ull

static int open_kvm(struct machine *m, struct err *e)
{
	m->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (m->kvm_fd < 0)
		return err_set(e, ERR_FAILED, errno, "no-kvm", "/dev/kvm: %s", strerror(errno));
	int version = ioctl(m->kvm_fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION)
		return err_set(e, ERR_FAILED, ENOTSUP, "no-kvm", "/dev/kvm speaks API version %d, not %d", version,
			       KVM_API_VERSION);
	static const struct {
		int cap;
		const char *name;
	} needed[] = {
		{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" },	  { KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
		{ KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS" },	  { KVM_CAP_SYNC_MMU, "KVM_CAP_SYNC_MMU" },
		{ KVM_CAP_SET_GUEST_DEBUG, "KVM_CAP_SET_GUEST_DEBUG" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
		if (ioctl(m->kvm_fd, KVM_CHECK_EXTENSION, needed[i].cap) <= 0)
			return err_set(e, ERR_FAILED, ENOTSUP, "no-kvm", "this KVM has no %s", needed[i].name);
	return 0;
}

static int add_slot(struct machine *m, uint32_t slot, uint64_t gpa, uint64_t len, uint8_t *at, struct err *e)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = len,
		.userspace_addr = (uint64_t)(uintptr_t)at,
	};

	if (len && ioctl(m->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return err_set(e, ERR_FAILED, errno, "", "memory slot at 0x%llx: %s", (unsigned long long)gpa,
			       strerror(errno));
	return 0;
}

static int make_irqchip(struct machine *m, struct err *e)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY }; /* answers port 0x61, which Linux polls */

	if (ioctl(m->vm_fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return err_set(e, ERR_FAILED, errno, "no-irqchip", "this KVM has no in-kernel irqchip: %s", strerror(errno));
	if (ioctl(m->vm_fd, KVM_CREATE_PIT2, &pit) < 0)
		return err_set(e, ERR_FAILED, errno, "no-pit", "this KVM has no in-kernel PIT: %s", strerror(errno));
	m->irqchip = true;
	return 0;
}

int vm_create(struct machine *m, const struct machine_config *config, struct err *e)
{
	uint64_t identity = IDENTITY_MAP_ADDR;
	int r = open_kvm(m, e);

	if (r < 0)
		return r;
	m->vm_fd = ioctl(m->kvm_fd, KVM_CREATE_VM, 0);
	if (m->vm_fd < 0)
		return err_set(e, ERR_FAILED, errno, "", "KVM_CREATE_VM: %s", strerror(errno));
	/* AMD has no use for these and may not know them: only a failure that Intel would have matters, at KVM_RUN. */
	ioctl(m->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	ioctl(m->vm_fd, KVM_SET_TSS_ADDR, TSS_ADDR);
	r = config->no_irqchip ? 0 : make_irqchip(m, e);
	if (r >= 0)
		r = (config->hugepages ? memory_init_huge : memory_init)(&m->memory, config->memory, e);
	if (r >= 0)
		r = add_slot(m, 0, 0, m->memory.low, m->memory.slots, e);
	if (r >= 0)
		r = add_slot(m, 1, MEMORY_HIGH_START, m->memory.high, m->memory.slots + m->memory.low, e);
	return r;
}
