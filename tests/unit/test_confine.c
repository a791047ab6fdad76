// SPDX-License-Identifier: GPL-2.0-or-later
/* The list of system calls: what each kind of worker may do, and how one ends that does more. In children, as it stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "protocol/util.h"
#include "vmm/worker/confine.h"
#include "vmm/worker/control.h"

#define QEMU (1u << CONFINE_QEMU)
#define MACHINE (1u << CONFINE_MACHINE)

struct attempt {
	unsigned wanted;
	long call, args[6];
	int want; /* SIGSYS, or 0: the kernel may look at it and say what it likes */
};

static const struct attempt attempts[] = {
	{ QEMU, SYS_getpid, { 0 }, 0 },
	{ QEMU, SYS_socket, { AF_UNIX, SOCK_STREAM }, 0 },
	{ QEMU, SYS_socket, { AF_INET, SOCK_STREAM }, SIGSYS },
	{ QEMU, SYS_socket, { AF_VSOCK, SOCK_STREAM }, SIGSYS },
	{ QEMU | 1u << CONFINE_VSOCK, SYS_socket, { AF_VSOCK, SOCK_STREAM }, 0 },
	{ QEMU | 1u << CONFINE_VSOCK, SYS_bpf, { 0 }, SIGSYS },
	{ QEMU | 1u << CONFINE_XDP, SYS_bpf, { 0 }, 0 },
	{ MACHINE, SYS_socket, { AF_UNIX, SOCK_STREAM }, SIGSYS },
	{ MACHINE, SYS_ioctl, { -1, KVM_RUN }, 0 },
	{ MACHINE, SYS_ioctl, { -1, 0x5412 /* TIOCSTI */ }, SIGSYS },
	{ QEMU, SYS_ioctl, { -1, KVM_RUN }, SIGSYS },
	{ QEMU, SYS_process_vm_readv, { 1, 0, 0, 0, 0, 0 }, 0 },
	{ QEMU, SYS_process_vm_writev, { 1, 0, 0, 0, 0, 0 }, SIGSYS },
	{ MACHINE, SYS_process_vm_readv, { 1, 0, 0, 0, 0, 0 }, SIGSYS },
	{ QEMU, SYS_mmap, { 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0 }, 0 },
	{ QEMU, SYS_mmap, { 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0 }, SIGSYS },
	{ QEMU, SYS_mprotect, { 0, 4096, PROT_READ | PROT_EXEC }, SIGSYS },
	{ QEMU, SYS_execve, { 0 }, SIGSYS },
	{ QEMU, SYS_execveat, { -1 }, SIGSYS },
	{ QEMU, SYS_ptrace, { 0 }, SIGSYS },
	{ QEMU, SYS_clone, { SIGCHLD }, SIGSYS },
	{ QEMU, SYS_clone3, { 0 }, 0 }, /* "no such call" */
	{ MACHINE, SYS_clone, { SIGCHLD }, SIGSYS },
	{ MACHINE, SYS_clone, { CLONE_NEWUSER | SIGCHLD }, SIGSYS },
	{ QEMU, SYS_unshare, { CLONE_NEWNS }, SIGSYS },
	{ QEMU, SYS_mount, { 0 }, SIGSYS },
	{ QEMU, SYS_prctl, { PR_SET_NO_NEW_PRIVS }, SIGSYS },
	{ QEMU, SYS_prlimit64, { 0, 0, 8, 0 }, SIGSYS },
	{ QEMU | 1u << CONFINE_XDP, SYS_prlimit64, { 0, 8, 0, 0 }, 0 },
	{ QEMU | 1u << CONFINE_XDP, SYS_prlimit64, { 1, 8, 1, 0 }, SIGSYS },
	{ QEMU, SYS_tgkill, { 1, 1, 0 }, SIGSYS }, /* another process */
	{ QEMU, SYS_rt_sigaction, { SIGTERM, 0, 0, 8 }, 0 },
	{ QEMU, SYS_rt_sigaction, { SIGSYS, 0, 0, 8 }, SIGSYS },
};

/* Nothing of the C library's or the sanitizers' after the filter is there. */
static void __attribute__((noreturn)) child(const struct attempt *a, const struct control *control)
{
	struct err e;

	if (dup2(open("/dev/null", O_WRONLY), STDERR_FILENO) < 0 || confine(a->wanted, "vm1", control, &e) < 0)
		syscall(SYS_exit_group, 1);
	syscall(a->call, a->args[0], a->args[1], a->args[2], a->args[3], a->args[4], a->args[5]);
	syscall(SYS_exit_group, 0);
	__builtin_unreachable();
}

static int ends_by(const struct attempt *a, const struct control *control)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		child(a, control);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
		fail_msg("the filter could not be set");
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void test_lists(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(attempts); i++) {
		int got = ends_by(&attempts[i], NULL);

		if (got != attempts[i].want)
			fail_msg("attempt %zu, system call %ld: signal %d instead of %d", i, attempts[i].call, got,
				 attempts[i].want);
	}
}

static void test_told(void **state)
{
	const struct attempt a = { QEMU, SYS_acct, { 0 }, SIGSYS };
	char buf[256] = "", want[256];
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	struct control *control = control_new(pair[1]);
	assert_non_null(control);
	assert_int_equal(ends_by(&a, control), SIGSYS);
	assert_true(recv(pair[0], buf, sizeof(buf) - 1, MSG_DONTWAIT) > 0);
	snprintf(want, sizeof(want), "{\"event\": \"WORKER_FORBIDDEN\", \"data\": {\"vm\": \"vm1\", \"call\": %d}}\r\n", SYS_acct);
	assert_string_equal(buf, want);
	control_free(control);
	close(pair[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
