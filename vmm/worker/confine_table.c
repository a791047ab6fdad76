// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a worker may call, for each thing it does; see confine.h. A row is here because our code, the C
 * library or a library we link makes the call on that road; what only a shell code would want (execve,
 * fork, ptrace, process_vm_writev, executable memory, other address families) must never get one.
 */
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "vmm/fault.h" /* the build with kill points compiles what includes this for itself */
#include "vmm/worker/confine.h"

#define INT_MASK 0xffffffffu /* the kernel looks at 32 bits of an int */

#define CALL(name) { .call = SCMP_SYS(name) }
/* Only with this value of an int argument. */
#define CALL_IF(name, n, v) { .call = SCMP_SYS(name), .arg = (n), .mask = INT_MASK, .value = (v) }
/* Only with these bits of an argument as given. */
#define CALL_BITS(name, n, m, v) { .call = SCMP_SYS(name), .arg = (n), .mask = (m), .value = (v) }

static const struct confine_rule always[] = {
	/* Memory, none of it executable. */
	CALL(brk), CALL_BITS(mmap, 2, PROT_EXEC, 0), CALL_BITS(mprotect, 2, PROT_EXEC, 0), CALL(munmap), CALL(mremap),
	CALL(madvise),
	/* Time, locks, signals of the C library; its own end. */
	CALL(clock_gettime), CALL(clock_getres), CALL(clock_nanosleep), CALL(nanosleep), CALL(gettimeofday), CALL(time),
	CALL(futex), CALL(rseq), CALL(set_robust_list), CALL(sched_yield), CALL(sched_getaffinity),
	CALL(rt_sigprocmask), CALL(rt_sigreturn), CALL(sigaltstack), CALL(restart_syscall),
	CALL(getpid), CALL(gettid), CALL(getuid), CALL(geteuid), CALL(getgid), CALL(getegid), CALL(getrusage),
	CALL(getrandom), CALL(sysinfo), CALL(uname), CALL(exit), CALL(exit_group),
	CALL_BITS(prlimit64, 2, UINT64_MAX, 0), /* asks, does not set */
	/* Names for memory and threads, which debuggers show. */
	CALL_IF(prctl, 0, PR_SET_NAME), CALL_IF(prctl, 0, PR_SET_VMA),
	/* Journal, patches, traces, files that were passed. */
	CALL(read), CALL(readv), CALL(write), CALL(writev), CALL(pread64), CALL(pwrite64), CALL(lseek), CALL(close),
	CALL(open), CALL(openat), CALL(stat), CALL(lstat), CALL(fstat), CALL(newfstatat), CALL(statx), CALL(access),
	CALL(faccessat), CALL(faccessat2), CALL(readlink), CALL(readlinkat), CALL(getdents64), CALL(getcwd), CALL(fcntl),
	CALL(dup), CALL(flock), CALL(fsync), CALL(fdatasync), CALL(ftruncate), CALL(chmod), CALL(fchmod), CALL(fchmodat),
	CALL(mkdir), CALL(mkdirat), CALL(rmdir), CALL(rename), CALL(renameat), CALL(renameat2), CALL(unlink), CALL(unlinkat),
	/* The control socket and whatever else is connected. */
	CALL(poll), CALL(ppoll), CALL(recvmsg), CALL(recvfrom), CALL(sendmsg), CALL(sendto), CALL(getsockopt),
	CALL(shutdown),
#ifdef VMPOKE_FAULT_POINTS /* which kill us, our parent, a daemon */
	CALL(kill), CALL(getppid),
#endif
	CONFINE_END,
};

static const struct confine_rule qemu[] = {
	/* Its monitor, its stub, the socket of an agent's port. */
	CALL_IF(socket, 0, AF_UNIX), CALL(connect),
	/* Its guest's memory, read without stopping it; which process it is, and that it still is. */
	CALL(process_vm_readv), CALL(pidfd_open),
	CONFINE_END,
};

static const struct confine_rule machine[] = {
	/* Daemons come and go. */
	CALL(accept4), CALL(listen), CALL_IF(socketpair, 0, AF_UNIX),
	/* Guest memory, which pages are exchanged of; everything of KVM's, which is its own judge. */
	CALL(memfd_create), CALL(fallocate), CALL_BITS(ioctl, 1, 0xff00, 0xae00), CALL(membarrier),
	/* vCPUs and devices are threads, never processes. */
	CALL_BITS(clone, 0, CLONE_VM | CLONE_THREAD | CLONE_NEWNS | CLONE_NEWUSER, CLONE_VM | CLONE_THREAD),
	CALL(eventfd2), CALL(getpriority), CALL(setpriority),
	CONFINE_END,
};

static const struct confine_rule vsock[] = {
	CALL_IF(socket, 0, AF_VSOCK), CALL(connect),
	CONFINE_END,
};

/* libxdp and libbpf: programs, maps and a link, the ring of a network card's queue. */
static const struct confine_rule xdp[] = {
	CALL(bpf), CALL_IF(socket, 0, AF_XDP), CALL_IF(socket, 0, AF_NETLINK), CALL_IF(socket, 0, AF_UNIX),
	CALL_IF(socket, 0, AF_INET), CALL(bind), CALL(setsockopt), CALL(getsockname), CALL(epoll_create1),
	CALL(epoll_ctl), CALL(epoll_wait), CALL(epoll_pwait), CALL_IF(prlimit64, 0, 0), CALL(statfs), CALL(fstatfs),
	CALL_BITS(ioctl, 1, 0xff00, 0x8900), /* SIOC...: what a network card is called and can do */
	CONFINE_END,
};

const struct confine_row confine_table[CONFINE_FOR_MAX] = {
	[CONFINE_ALWAYS] = { "always", always },
	[CONFINE_QEMU] = { "qemu", qemu },
	[CONFINE_MACHINE] = { "machine", machine },
	[CONFINE_VSOCK] = { "vsock", vsock },
	[CONFINE_XDP] = { "xdp", xdp },
};
