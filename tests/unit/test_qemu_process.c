// SPDX-License-Identifier: GPL-2.0-or-later
/* Whose memory is read as that of a VM which somebody else than root registered: a child of ours that becomes another program. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "vmm/backend/qemu.h"

#define CONNECT_US 60000000u

static char path[64];
static int go[2], gone[2]; /* a byte: become another program; end of file: it has */
static pid_t child;
static struct qemu_vm vm;
static char text[] = "of the VM";

/* Listens, as the process that has a monitor, and is told when to become sleep(1). */
static void child_run(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char c;

	strcpy(sa.sun_path, path);
	close(go[1]);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 1) < 0 || write(gone[1], "l", 1) != 1 || read(go[0], &c, 1) != 1)
		_exit(1);
	execlp("sleep", "sleep", "600", NULL);
	_exit(1);
}

static int setup(void **state)
{
	char c;
	struct err e;

	(void)state;
	snprintf(path, sizeof(path), "/tmp/vmpoke-qemu-process.%d", (int)getpid());
	if (pipe2(go, O_CLOEXEC) < 0 || pipe2(gone, O_CLOEXEC) < 0)
		return -1;
	child = fork();
	if (child == 0)
		child_run();
	close(gone[1]);
	vm = (struct qemu_vm){ .pidfd = -1, .mem_fd = -1, .has_user = true, .user = geteuid(), .first_thread = child, .n_ranges = 1 };
	if (child < 0 || read(gone[0], &c, 1) != 1)
		return -1;
	return qmp_client_adopt(unix_connect(path, CONNECT_US), false, CONNECT_US, ERR_INACTIVE, &vm.qmp, &e);
}

static int teardown(void **state)
{
	(void)state;
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	qmp_client_free(vm.qmp);
	if (vm.pidfd >= 0)
		close(vm.pidfd);
	if (vm.mem_fd >= 0)
		close(vm.mem_fd);
	close(go[0]);
	close(go[1]);
	close(gone[0]);
	return unlink(path);
}

/* Where the child has memory now. */
static uint64_t any_address(void)
{
	_cleanup_free_ char *maps = NULL;
	char name[32];
	size_t len;

	snprintf(name, sizeof(name), "/proc/%d/maps", (int)child);
	assert_int_equal(read_file(name, 1 << 20, &maps, &len), 0);
	return strtoull(maps, NULL, 16);
}

/* As a set-user-ID program it would have what its user may not read. */
static void test_another_program(void **state)
{
	char found[sizeof(text)];
	struct err e = { 0 };

	(void)state;
	qemu_process_probe(&vm); /* without RAM there is nothing to compare, but the process is known */
	assert_int_equal(vm.pid, child);
	int r = qemu_process_read(&vm, (uintptr_t)text, found, sizeof(found), &e);
	if (r == -EPERM)
		skip(); /* not even of a child, see Yama's ptrace_scope */
	assert_int_equal(r, 0);
	assert_string_equal(found, text);
	assert_int_equal(write(go[1], "x", 1), 1);
	assert_int_equal(read(gone[0], found, 1), 0);
	assert_true(qemu_process_read(&vm, any_address(), found, 4, &e) < 0);
	assert_int_equal(e.kind, ERR_INACTIVE);
}

static void test_another_user(void **state)
{
	(void)state;
	vm.user = geteuid() + 1;
	qemu_process_probe(&vm);
	assert_int_equal(vm.pid, 0);
	assert_int_equal(vm.mem_fd, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_another_program, setup, teardown),
		cmocka_unit_test_setup_teardown(test_another_user, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
