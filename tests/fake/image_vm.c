// SPDX-License-Identifier: GPL-2.0-or-later
/* See image_vm.h. Must never be kinder than a VMM: what is written to a running VM is a failure. */
#include "tests/fake/image_vm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/util.h"

static struct image_vm *image_vm(struct backend *b)
{
	return container_of(b, struct image_vm, base);
}

static int vm_info(struct backend *b, struct backend_info *ret, struct err *e)
{
	(void)e;
	*ret = (struct backend_info){ .caps = BACKEND_STEP | BACKEND_LIVE_READ | BACKEND_LIVE_REGS, .vcpus = IMAGE_CPUS,
				      .state = image_vm(b)->running ? BACKEND_RUNNING : BACKEND_PAUSED,
				      .pid = 1, .pid_start = 1 };
	return 0;
}

static int vm_event(struct backend *b, enum backend_event_kind *ret, struct err *e)
{
	(void)b, (void)e;
	*ret = BACKEND_EVENT_NONE;
	return 0;
}

static int vm_read(struct backend *b, uint64_t gpa, void *buf, size_t len, struct err *e)
{
	struct guest_memory *mem = &image_vm(b)->image.mem;

	return mem->read(mem, gpa, buf, len, e);
}

static int vm_write(struct backend *b, uint64_t gpa, const void *buf, size_t len, struct err *e)
{
	struct image_vm *vm = image_vm(b);

	(void)e;
	assert_false(vm->running);
	assert_true(gpa < IMAGE_RAM && len <= IMAGE_RAM - gpa);
	vm->writes++;
	memcpy(vm->image.ram + gpa, buf, len);
	return 0;
}

static int vm_pause(struct backend *b, struct backend_pause_hook *hook, bool *ret, struct err *e)
{
	struct image_vm *vm = image_vm(b);

	*ret = vm->running;
	int r = hook ? hook->before(hook, vm->running, e) : 0;
	vm->running = false;
	vm->pauses++;
	return r;
}

static int vm_resume(struct backend *b, struct err *e)
{
	(void)e;
	image_vm(b)->running = true;
	return 0;
}

static int vm_regs_get(struct backend *b, size_t vcpu, struct vcpu_regs *ret, struct err *e)
{
	(void)e;
	*ret = image_vm(b)->image.regs[vcpu];
	return 0;
}

static void vm_close(struct backend *b)
{
	(void)b;
}

const struct backend_ops image_vm_ops = {
	.name = "image", .close = vm_close, .info = vm_info, .event = vm_event, .read = vm_read, .write = vm_write,
	.pause = vm_pause, .resume = vm_resume, .resume_orphan = vm_resume, .regs_get = vm_regs_get,
};

void image_vm_init(struct image_vm *vm)
{
	const struct guest_image_options options = { .layout = IMAGE_61 };

	memset(vm, 0, sizeof(*vm));
	vm->base.ops = &image_vm_ops;
	vm->running = true;
	guest_image_build(&vm->image, &options);
	memset(guest_image_at(&vm->image, IMAGE_FUNC), 0x90, IMAGE_FUNC_END - IMAGE_FUNC - 1);
	*guest_image_at(&vm->image, IMAGE_FUNC_END - 1) = 0xc3;
}
