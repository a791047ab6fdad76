// SPDX-License-Identifier: GPL-2.0-or-later
/* Devices of a machine on /dev/kvm: where a guest finds them, and that they leave nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <sys/mman.h>

#include "tests/unit/kvm_guest.h"

#define SECOND 1000000u

#define NEED_KVM                                  \
	do {                                      \
		if (guest_missing()) {            \
			print_message("skipped: %s\n", guest_missing()); \
			skip();                   \
		}                                 \
	} while (0)

static int disk_fd(void)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	return fd;
}

/* A guest with the agent's port and a disk that ends with the 32 bits it reads at gpa. */
static int create_reader(uint32_t gpa, int disk, struct machine **ret, struct err *e)
{
	/* mov ebx, gpa; mov eax, [rbx]; out 0xf4, eax; hlt */
	uint8_t code[] = { 0xbb, 0, 0, 0, 0, 0x8b, 0x03, 0xe7, 0xf4, 0xf4 };

	memcpy(code + 1, &gpa, sizeof(gpa));
	const struct machine_config config = {
		.name = "devices", .kernel = guest_elf(code, sizeof(code)), .vcpus = 1, .memory = GUEST_MEMORY,
		.no_irqchip = true, .start_all = true, .agent = true, .disks = { { disk, false } }, .n_disks = 1,
	};
	int r = machine_create(&config, ret, e);
	unlink(config.kernel);
	return r;
}

static void guest_finds_them(void **state)
{
	static const struct {
		uint32_t gpa;
		const char *reason;
	} places[] = {
		{ 0xd0000000, "exit 1953655158" }, /* "virt" */
		{ 0xd0000008, "exit 3" },	   /* console */
		{ 0xd0001008, "exit 2" },	   /* disk */
		{ 0xd0001100, "exit 2048" },	   /* its sectors */
		{ 0xd0002000, "exit 4294967295" }, /* nothing */
		{ 0xd0000200, "exit 4294967295" }, /* behind its registers */
		{ 0xd00001fe, "exit 4294967295" }, /* and across their end */
	};

	(void)state;
	NEED_KVM;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		_cleanup_(machine_destroy) struct machine *m = NULL;
		_cleanup_close_ int disk = disk_fd();
		struct err e = { 0 };
		char reason[64];
		assert_int_equal(create_reader(places[i].gpa, disk, &m, &e), 0);
		assert_int_equal(machine_start(m, &e), 0);
		assert_int_equal(machine_wait(m, 10 * SECOND, reason, sizeof(reason)), 1);
		assert_string_equal(reason, places[i].reason);
	}
}

static unsigned count(const char *folder)
{
	DIR *d = opendir(folder);
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void nothing_left_behind(void **state)
{
	unsigned fds = 0;

	(void)state;
	NEED_KVM;
	for (int i = 0; i < 10; i++) {
		struct machine *m = NULL;
		_cleanup_close_ int disk = disk_fd();
		assert_int_equal(create_reader(0xd0000000, disk, &m, NULL), 0);
		if (i % 2)
			assert_int_equal(machine_start(m, NULL), 0);
		_cleanup_close_ int host = machine_agent_connect(m, NULL);
		assert_true(host >= 0);
		machine_destroy(m);
		assert_int_equal(read(host, &(char){ 0 }, 1), 0); /* the other end went with it */
		assert_int_equal(count("/proc/self/task"), 2 + 1);
		if (i == 1)
			fds = count("/proc/self/fd");
		else if (i > 1)
			assert_int_equal(count("/proc/self/fd"), fds);
	}
}

/* Prints a dot, makes the keyboard controller pull the reset line, and would not get further. */
static const uint8_t dot_and_reset[] = {
	0x66, 0xba, 0xf8, 0x03, 0xb0, '.', 0xee, /* mov dx, 0x3f8; mov al, '.'; out dx, al */
	0xff, 0x04, 0x25, 0, 0, 0x20, 0,	 /* inc dword [0x200000] */
	0xb0, 0xfe, 0xe6, 0x64, 0xeb, 0xfe,	 /* mov al, 0xfe; out 0x64, al; jmp $ */
};

static int create_rebooting(const char *kernel, const char *console, int disk, struct machine **ret)
{
	const struct machine_config config = {
		.name = "reboot", .kernel = kernel, .console = console, .vcpus = 2, .memory = GUEST_MEMORY,
		.no_irqchip = true, .start_all = true, .reboot = true, .agent = true, .disks = { { disk, false } }, .n_disks = 1,
	};

	return machine_create(&config, ret, NULL);
}

static void wait_event(struct machine *m, enum backend_event_kind want)
{
	struct backend *b = machine_backend(m);
	enum backend_event_kind got = BACKEND_EVENT_NONE;
	char reason[256];

	assert_int_equal(machine_wait(m, 10 * SECOND, reason, sizeof(reason)), 1);
	assert_int_equal(b->ops->event(b, &got, NULL), 0);
	assert_int_equal(got, want);
}

static void reboots(void **state)
{
	char path[] = "/tmp/vmpoke-console-XXXXXX", *text = NULL;
	_cleanup_(machine_destroy) struct machine *m = NULL;
	_cleanup_close_ int disk = disk_fd();
	struct backend_info info;
	uint32_t runs;
	unsigned fds = 0;
	size_t len;

	(void)state;
	NEED_KVM;
	const char *kernel = guest_elf(dot_and_reset, sizeof(dot_and_reset));
	close(mkstemp(path));
	assert_int_equal(create_rebooting(kernel, path, disk, &m), 0);
	_cleanup_close_ int host = machine_agent_connect(m, NULL);
	struct backend *b = machine_backend(m);
	assert_int_equal(machine_start(m, NULL), 0);
	for (int i = 0; i < 10; i++) {
		wait_event(m, BACKEND_EVENT_RESET);
		/* Each life begins with new memory: at most one count of each vCPU. */
		assert_int_equal(b->ops->read(b, 0x200000, &runs, sizeof(runs), NULL), 0);
		assert_true(runs <= 2);
		if (i == 0)
			fds = count("/proc/self/fd");
		assert_int_equal(count("/proc/self/fd"), fds);
	}
	assert_int_equal(write(host, "x", 1), 1); /* the host end is still plugged in */
	/* From the file it was started from, whatever its name is by now. Without its content it cannot, and ends. */
	assert_int_equal(truncate(kernel, 0), 0);
	unlink(kernel);
	wait_event(m, BACKEND_EVENT_RESET);
	wait_event(m, BACKEND_EVENT_PANICKED);
	assert_int_equal(b->ops->info(b, &info, NULL), 0);
	assert_int_equal(info.state, BACKEND_BROKEN);
	machine_destroy(TAKE_PTR(m));
	assert_int_equal(read_file(path, 1000, &text, &len), 0);
	assert_true(len >= 11 && len <= 22); /* the second vCPU may come too late */
	free(text);
	unlink(path);
}

static void refusals(void **state)
{
	static const uint8_t hlt[] = { 0xf4 };
	_cleanup_(machine_destroy) struct machine *plain = NULL;
	struct machine_config config = { .vcpus = 1, .memory = GUEST_MEMORY, .n_disks = MACHINE_DISKS_MAX + 1 };
	struct machine *m = NULL;
	struct err e = { 0 };
	uint64_t opens = 7;

	(void)state;
	NEED_KVM;
	config.kernel = guest_elf(hlt, sizeof(hlt));
	assert_int_equal(machine_create(&config, &m, &e), -E2BIG);
	config.n_disks = 1;
	config.disks[0].fd = -1;
	assert_int_equal(machine_create(&config, &m, &e), -EINVAL);
	assert_non_null(strstr(e.text, "disk 0"));
	assert_null(m);
	unlink(config.kernel);
	assert_int_equal(guest_create(hlt, sizeof(hlt), 1, NULL, &plain, &e), 0);
	assert_int_equal(machine_agent_connect(plain, &e), -ENODEV);
	assert_false(machine_agent_is_open(plain, &opens));
	assert_int_equal(opens, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(guest_finds_them),
		cmocka_unit_test(nothing_left_behind),
		cmocka_unit_test(reboots),
		cmocka_unit_test(refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
