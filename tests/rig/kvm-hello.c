// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The smallest thing that shows a lane's /dev/kvm is genuine: its API version,
 * and a vCPU that runs two instructions. Static, so that it drops into any lane.
 * Exit status: 0, 1 /dev/kvm does not do it, 77 there is no /dev/kvm.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define PAGE 4096

static int failed(const char *what)
{
	printf("kvm-hello: %s: %s\n", what, strerror(errno));
	return 1;
}

/* Real mode: out %al,$0x42; hlt. */
static const uint8_t code[] = { 0xe6, 0x42, 0xf4 };

static int load(int vm, int cpu)
{
	uint8_t *ram = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region slot = { .memory_size = PAGE, .userspace_addr = (uintptr_t)ram };
	struct kvm_regs regs = { .rax = 0x5a, .rflags = 2 };
	struct kvm_sregs sregs;

	if (ram == MAP_FAILED)
		return -1;
	memcpy(ram, code, sizeof(code));
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot) < 0 || ioctl(cpu, KVM_GET_SREGS, &sregs) < 0)
		return -1;
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (ioctl(cpu, KVM_SET_SREGS, &sregs) < 0)
		return -1;
	return ioctl(cpu, KVM_SET_REGS, &regs);
}

/* 0 when the guest's byte came out of port 0x42. */
static int run(int kvm, int vm)
{
	int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), cpu = ioctl(vm, KVM_CREATE_VCPU, 0);

	if (size < (int)sizeof(struct kvm_run) || cpu < 0)
		return failed("KVM_CREATE_VCPU");
	struct kvm_run *state = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
	if (state == MAP_FAILED || load(vm, cpu) < 0)
		return failed("setting up a vCPU");
	if (ioctl(cpu, KVM_RUN, 0) < 0)
		return failed("KVM_RUN");
	if (state->exit_reason != KVM_EXIT_IO || state->io.port != 0x42 ||
	    ((uint8_t *)state)[state->io.data_offset] != 0x5a) {
		printf("kvm-hello: KVM_RUN ended with reason %u\n", state->exit_reason);
		return 1;
	}
	puts("kvm-hello: a vCPU ran");
	return 0;
}

int main(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0) {
		failed("/dev/kvm");
		return 77;
	}
	printf("kvm-hello: API version %d\n", ioctl(kvm, KVM_GET_API_VERSION, 0));
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	return vm < 0 ? failed("KVM_CREATE_VM") : run(kvm, vm);
}
