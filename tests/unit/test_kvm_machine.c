// SPDX-License-Identifier: GPL-2.0-or-later
/* Our own VMM with bare guests of a few instructions: console, ports, end, pause, registers, step, bad images. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>

#include "tests/unit/kvm_guest.h"

#define SECOND 1000000u

/* Prints "hi\n", then exit 7. */
static const uint8_t hello[] = {
	0x66, 0xba, 0xf8, 0x03, 0xb0, 'h', 0xee, 0xb0, 'i', 0xee, 0xb0, '\n', 0xee, /* mov dx,0x3f8; mov al,..; out dx,al */
	0x31, 0xc0, 0xb0, 0x07, 0xe7, 0xf4, 0xf4,				    /* xor eax,eax; mov al,7; out 0xf4,eax; hlt */
};

/* inc rbx for ever. */
static const uint8_t spin[] = { 0xfb, 0x48, 0xff, 0xc3, 0xeb, 0xfb };

#define NEED_KVM                                  \
	do {                                      \
		if (guest_missing()) {            \
			print_message("skipped: %s\n", guest_missing()); \
			skip();                   \
		}                                 \
	} while (0)

static void console_and_exit(void **state)
{
	_cleanup_(machine_destroy) struct machine *m = NULL;
	char path[] = "/tmp/vmpoke-console-XXXXXX", reason[64], *text = NULL;
	struct err e = { 0 };
	size_t len;

	(void)state;
	NEED_KVM;
	close(mkstemp(path));
	assert_int_equal(guest_create(hello, sizeof(hello), 1, path, &m, &e), 0);
	assert_int_equal(machine_wait(m, 1000, reason, sizeof(reason)), 0); /* not started */
	assert_int_equal(machine_start(m, &e), 0);
	assert_int_equal(machine_start(m, &e), -EALREADY);
	assert_int_equal(machine_wait(m, 5 * SECOND, reason, sizeof(reason)), 1);
	assert_string_equal(reason, "exit 7");
	assert_int_equal(read_file(path, 100, &text, &len), 0);
	assert_string_equal(text, "hi\n");
	free(text);
	unlink(path);

	struct backend *b = machine_backend(m);
	struct backend_info info;
	enum backend_event_kind event;
	bool was;
	assert_int_equal(b->ops->info(b, &info, &e), 0);
	assert_int_equal(info.state, BACKEND_SHUTDOWN);
	assert_int_equal(b->ops->event(b, &event, &e), 0);
	assert_int_equal(event, BACKEND_EVENT_SHUTDOWN);
	assert_int_equal(b->ops->event(b, &event, &e), 0);
	assert_int_equal(event, BACKEND_EVENT_NONE);
	assert_int_equal(b->ops->pause(b, NULL, &was, &e), -EHOSTDOWN);
}

/* Files by descriptor, and a console that nobody reads and that is full: what does not fit is lost, the guest goes on. */
/* Who only asks gives no CPU away: counted are the times that this thread went to sleep. */
static void asking_does_not_sleep(void **state)
{
	_cleanup_(machine_destroy) struct machine *m = NULL;
	struct rusage from, to;
	char reason[64];

	(void)state;
	NEED_KVM;
	assert_int_equal(guest_create(spin, sizeof(spin), 1, NULL, &m, NULL), 0);
	assert_int_equal(getrusage(RUSAGE_THREAD, &from), 0);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(machine_wait(m, 0, reason, sizeof(reason)), 0);
	assert_int_equal(getrusage(RUSAGE_THREAD, &to), 0);
	assert_in_range(to.ru_nvcsw - from.ru_nvcsw, 0, 100); /* it was once each */
}

static void files_passed_open(void **state)
{
	_cleanup_(machine_destroy) struct machine *m = NULL;
	const char *image = guest_elf(hello, sizeof(hello));
	struct machine_files files = { .kernel = open(image, O_RDONLY | O_CLOEXEC), .initrd = -1 };
	struct machine_config config = {
		.name = "unit", .kernel = "the image", .vcpus = 1, .memory = GUEST_MEMORY, .no_irqchip = true, .files = &files,
	};
	char fill[4096] = { 0 }, reason[64];
	int pipe_fds[2];
	struct err e = { 0 };

	(void)state;
	unlink(image);
	NEED_KVM;
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
	while (write(pipe_fds[1], fill, sizeof(fill)) > 0)
		;
	assert_int_equal(fcntl(pipe_fds[1], F_SETFL, 0), 0); /* a write to it would block */
	files.console = pipe_fds[1];
	assert_int_equal(machine_create(&config, &m, &e), 0);
	close(files.kernel); /* borrowed: not needed any more */
	close(files.console);
	assert_int_equal(machine_start(m, &e), 0);
	assert_int_equal(machine_wait(m, 5 * SECOND, reason, sizeof(reason)), 1);
	assert_string_equal(reason, "exit 7");
	machine_destroy(TAKE_PTR(m));
	close(pipe_fds[0]);

	files = (struct machine_files){ .kernel = 60000, .initrd = -1, .console = -1 };
	assert_int_equal(machine_create(&config, &m, &e), -EBADF);
	assert_string_equal(e.text, "the image: Bad file descriptor");
}

static void vcpus_get_their_index(void **state)
{
	/* mov [0x200000 + rdi*8], rdi + 1, spin */
	static const uint8_t code[] = { 0xfb, 0x48, 0x8d, 0x47, 0x01, 0x48, 0x89, 0x04, 0xfd, 0, 0, 0x20, 0, 0xeb, 0xfe };
	_cleanup_(machine_destroy) struct machine *m = NULL;
	struct err e = { 0 };
	uint64_t got[4] = { 0 };

	(void)state;
	NEED_KVM;
	assert_int_equal(guest_create(code, sizeof(code), 4, NULL, &m, &e), 0);
	assert_int_equal(machine_start(m, &e), 0);
	struct backend *b = machine_backend(m);
	for (uint64_t end = now_us() + 60 * SECOND; now_us() < end && !(got[0] && got[1] && got[2] && got[3]);)
		assert_int_equal(b->ops->read(b, 0x200000, got, sizeof(got), &e), 0);
	for (uint64_t i = 0; i < 4; i++)
		assert_int_equal(got[i], i + 1);
}

static uint64_t rbx(struct backend *b, size_t vcpu)
{
	struct vcpu_regs regs;
	struct err e = { 0 };

	assert_int_equal(b->ops->regs_get(b, vcpu, &regs, &e), 0);
	assert_true(regs.rip >= GUEST_CODE && regs.rip < GUEST_CODE + sizeof(spin));
	return regs.gpr[VCPU_RBX];
}

static void pause_holds_all(void **state)
{
	_cleanup_(machine_destroy) struct machine *m = NULL;
	struct err e = { 0 };
	bool was;

	(void)state;
	NEED_KVM;
	assert_int_equal(guest_create(spin, sizeof(spin), 4, NULL, &m, &e), 0);
	struct backend *b = machine_backend(m);
	assert_int_equal(machine_start(m, &e), 0);
	for (int round = 0; round < 200; round++) {
		assert_int_equal(b->ops->pause(b, NULL, &was, &e), 0);
		assert_true(was);
		uint64_t before[4];
		for (size_t i = 0; i < 4; i++)
			before[i] = rbx(b, i);
		if (round % 50 == 0)
			usleep(10000);
		for (size_t i = 0; i < 4; i++)
			assert_int_equal(rbx(b, i), before[i]);
		assert_int_equal(b->ops->pause(b, NULL, &was, &e), -EALREADY);
		assert_int_equal(b->ops->resume(b, &e), 0);
	}
	assert_int_equal(b->ops->resume(b, &e), -EINVAL);
	/* And it runs on. */
	uint64_t last = rbx(b, 3), end = now_us() + 60 * SECOND;
	while (rbx(b, 3) == last && now_us() < end)
		;
	assert_int_not_equal(rbx(b, 3), last);
}

static int refuse(struct backend_pause_hook *hook, bool was_running, struct err *e)
{
	(void)hook;
	(void)was_running;
	return err_set(e, ERR_FAILED, ENOSPC, "", "journal full");
}

static void pause_hook_can_refuse(void **state)
{
	_cleanup_(machine_destroy) struct machine *m = NULL;
	struct backend_pause_hook hook = { refuse };
	struct backend_info info;
	struct err e = { 0 };
	bool was;

	(void)state;
	NEED_KVM;
	assert_int_equal(guest_create(spin, sizeof(spin), 1, NULL, &m, &e), 0);
	struct backend *b = machine_backend(m);
	assert_int_equal(machine_start(m, &e), 0);
	assert_int_equal(b->ops->pause(b, &hook, &was, &e), -ENOSPC);
	assert_int_equal(b->ops->info(b, &info, &e), 0);
	assert_int_equal(info.state, BACKEND_RUNNING);
}

static void registers_and_step(void **state)
{
	_cleanup_(machine_destroy) struct machine *m = NULL;
	struct vcpu_regs regs;
	struct err e = { 0 };
	bool was;

	(void)state;
	NEED_KVM;
	assert_int_equal(guest_create(spin, sizeof(spin), 2, NULL, &m, &e), 0);
	struct backend *b = machine_backend(m);
	assert_int_equal(machine_start(m, &e), 0);
	assert_int_equal(b->ops->step(b, 0, &e), -EINVAL); /* not held */
	assert_int_equal(b->ops->pause(b, NULL, &was, &e), 0);
	assert_int_equal(b->ops->regs_get(b, 1, &regs, &e), 0);
	regs.rip = GUEST_CODE + 1;
	regs.gpr[VCPU_RBX] = 1000;
	assert_int_equal(b->ops->regs_set(b, 1, &regs, &e), 0);
	uint64_t other = rbx(b, 0);
	for (uint64_t i = 1; i <= 20; i++) { /* inc, jmp, inc, jmp ... */
		assert_int_equal(b->ops->step(b, 1, &e), 0);
		assert_int_equal(b->ops->regs_get(b, 1, &regs, &e), 0);
		assert_int_equal(regs.rip, GUEST_CODE + (i % 2 ? 4 : 1));
		assert_int_equal(regs.gpr[VCPU_RBX], 1000 + (i + 1) / 2);
	}
	assert_int_equal(rbx(b, 0), other);
	assert_int_equal(b->ops->resume(b, &e), 0);
	assert_int_equal(b->ops->regs_set(b, 1, &regs, &e), -EBUSY);
	assert_int_equal(b->ops->regs_get(b, 2, &regs, &e), -EINVAL);
}

/* What a guest cannot be understood in ends that guest, with the facts. */
static void triple_fault(void **state)
{
	static const uint8_t ud2[] = { 0x0f, 0x0b };
	_cleanup_(machine_destroy) struct machine *m = NULL;
	struct backend_info info;
	struct err e = { 0 };
	char reason[256];

	(void)state;
	NEED_KVM;
	assert_int_equal(guest_create(ud2, sizeof(ud2), 1, NULL, &m, &e), 0);
	assert_int_equal(machine_start(m, &e), 0);
	assert_int_equal(machine_wait(m, 5 * SECOND, reason, sizeof(reason)), 1);
	assert_non_null(strstr(reason, "vCPU 0"));
	assert_non_null(strstr(reason, "rip 0x"));
	/* The words of an internal error are said of one, and of nothing else. */
	assert_int_equal(!strstr(reason, "suberror"), !strstr(reason, "internal error"));
	assert_int_equal(!strstr(reason, "internal error"), !!strstr(reason, "triple fault"));
	assert_int_equal(machine_backend(m)->ops->info(machine_backend(m), &info, &e), 0);
	assert_int_equal(info.state, BACKEND_BROKEN);
}

static int create_from(const void *bytes, size_t len, struct err *e)
{
	char path[] = "/tmp/vmpoke-image-XXXXXX";
	const struct machine_config config = { .name = "bad", .kernel = path, .vcpus = 1, .memory = GUEST_MEMORY };
	_cleanup_(machine_destroy) struct machine *m = NULL;
	int fd = mkstemp(path);

	assert_int_equal(write(fd, bytes, len), len);
	close(fd);
	int r = machine_create(&config, &m, e);
	unlink(path);
	return r;
}

static void bad_images(void **state)
{
	struct {
		Elf64_Ehdr h;
		Elf64_Phdr p;
	} image = {
		.h = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64 }, .e_machine = EM_X86_64,
		       .e_phoff = sizeof(Elf64_Ehdr), .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 1 },
		.p = { .p_type = PT_LOAD, .p_paddr = GUEST_CODE, .p_filesz = 8, .p_memsz = 8 },
	};
	static const char text[4096] = "not a kernel";
	struct err e = { 0 };

	(void)state;
	NEED_KVM;
	assert_int_equal(create_from(text, sizeof(text), &e), -ENOEXEC);
	assert_int_equal(create_from("\x7f" "ELF", 4, &e), -ENOEXEC);
	image.p.p_offset = UINT64_MAX - 4;
	assert_int_equal(create_from(&image, sizeof(image), &e), -ENOEXEC);
	image.p.p_offset = 0;
	image.p.p_filesz = 1 << 30;
	assert_int_equal(create_from(&image, sizeof(image), &e), -ENOEXEC);
	image.p.p_filesz = 8;
	image.p.p_memsz = 4;
	assert_int_equal(create_from(&image, sizeof(image), &e), -ENOEXEC);
	image.p.p_memsz = UINT64_MAX;
	assert_int_equal(create_from(&image, sizeof(image), &e), -ENOMEM);
	image.p.p_memsz = 8;
	image.p.p_paddr = 0;
	assert_int_equal(create_from(&image, sizeof(image), &e), -ENOEXEC);
	image.p.p_paddr = UINT64_MAX - 4;
	assert_int_equal(create_from(&image, sizeof(image), &e), -ENOMEM);
	image.p.p_paddr = GUEST_CODE;
	image.h.e_phnum = 60000;
	assert_int_equal(create_from(&image, sizeof(image), &e), -ENOEXEC);
	image.h.e_phnum = 3; /* beyond the end of the file */
	assert_int_equal(create_from(&image, sizeof(image), &e), -ENOEXEC);
}

static void bad_config(void **state)
{
	struct machine_config config = { .kernel = "/nonexistent", .vcpus = 1, .memory = GUEST_MEMORY };
	struct machine *m = NULL;
	struct err e = { 0 };

	(void)state;
	NEED_KVM;
	assert_int_equal(machine_create(&config, &m, &e), -ENOENT);
	config.vcpus = 0;
	assert_int_equal(machine_create(&config, &m, &e), -EINVAL);
	config.vcpus = MACHINE_VCPUS_MAX + 1;
	assert_int_equal(machine_create(&config, &m, &e), -EINVAL);
	config.vcpus = 1;
	config.memory = GUEST_MEMORY + 1;
	assert_int_equal(machine_create(&config, &m, &e), -EINVAL);
	config.memory = GUEST_MEMORY + 4096;
	config.hugepages = true;
	assert_int_equal(machine_create(&config, &m, &e), -EINVAL);
	config.hugepages = false;
	config.memory = 4096;
	assert_int_equal(machine_create(&config, &m, &e), -EINVAL);
	assert_null(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(console_and_exit),	cmocka_unit_test(asking_does_not_sleep),
		cmocka_unit_test(files_passed_open),	cmocka_unit_test(vcpus_get_their_index),
		cmocka_unit_test(pause_holds_all),	cmocka_unit_test(pause_hook_can_refuse),
		cmocka_unit_test(registers_and_step),	cmocka_unit_test(triple_fault),
		cmocka_unit_test(bad_images),		cmocka_unit_test(bad_config),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
