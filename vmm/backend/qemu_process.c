// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * QEMU's process: who it is, and guest memory read straight out of it
 * (process_vm_readv, 0.44 us per 4 KiB). Must never read by a pid that may have
 * been reused, and never claim that this works before what it gives was compared
 * with what QEMU itself says is there.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "vmm/backend/process.h"
#include "vmm/backend/qemu.h"

#define PROC_FILE_MAX 8192
#define PROBE_WORDS 32u
#define PROBE_PLACES 64u /* looked at; the first few that hold something are compared */
#define PROBE_MATCHES 3u

/* Number behind a key in a /proc status file; 0 when absent. */
static pid_t status_number(pid_t pid, const char *key)
{
	_cleanup_free_ char *text = NULL;
	char path[64];
	size_t len;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (read_file(path, PROC_FILE_MAX, &text, &len) < 0)
		return 0;
	const char *at = strstr(text, key);
	return at ? (pid_t)strtol(at + strlen(key), NULL, 10) : 0;
}

static void process_forget(struct qemu_vm *vm)
{
	if (vm->pidfd >= 0)
		close(vm->pidfd);
	if (vm->mem_fd >= 0)
		close(vm->mem_fd);
	vm->pidfd = vm->mem_fd = -1;
	vm->pid = 0;
	vm->pid_start = 0;
}

pid_t qemu_process_owner(const struct qemu_vm *vm)
{
	return vm->first_thread > 0 ? status_number(vm->first_thread, "\nTgid:") : 0;
}

/*
 * A monitor can name any thread as its vCPU, and we may be able to read what its user is not. The owner of the folder is
 * the effective uid, or root where the process is not dumpable (proc(5)). It can also become a set-user-ID program, then
 * or later: the memory is opened first, and stays that of before an execve(2).
 */
static bool process_counts(struct qemu_vm *vm)
{
	char path[32];
	struct stat st;

	if (!vm->has_user)
		return true;
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)vm->pid);
	vm->mem_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (vm->mem_fd < 0)
		vm->mem_fd = errno == EACCES ? -EPERM : -errno;
	snprintf(path, sizeof(path), "/proc/%d", (int)vm->pid);
	return stat(path, &st) == 0 && st.st_uid == vm->user;
}

/*
 * A manager may have made the socket for QEMU, so the vCPU's thread is asked first; but its
 * number may come from another pid namespace. *ret_sure: both say the same.
 */
static void process_find(struct qemu_vm *vm, bool *ret_sure)
{
	struct ucred peer = { 0 };
	socklen_t len = sizeof(peer);

	getsockopt(qmp_client_fd(vm->qmp), SOL_SOCKET, SO_PEERCRED, &peer, &len);
	pid_t owner = qemu_process_owner(vm);
	*ret_sure = owner > 0 && owner == peer.pid;
	vm->pid = owner ? owner : peer.pid;
	if (vm->pid <= 0 || vm->pid == getpid()) {
		process_forget(vm);
		return;
	}
	vm->pidfd = (int)syscall(SYS_pidfd_open, vm->pid, 0);
	vm->pid_start = process_start_time(vm->pid);
	if (vm->pidfd < 0 || !vm->pid_start || !process_counts(vm))
		process_forget(vm);
}

static bool process_ended(const struct qemu_vm *vm)
{
	struct pollfd p = { .fd = vm->pidfd, .events = POLLIN };

	return poll(&p, 1, 0) != 0;
}

/* As process_vm_readv(2). 0: it has other memory by now. */
static ssize_t read_some(const struct qemu_vm *vm, uint64_t hva, void *buf, size_t len)
{
	struct iovec local = { buf, len }, remote = { (void *)(uintptr_t)hva, len };

	if (!vm->has_user)
		return process_vm_readv(vm->pid, &local, 1, &remote, 1, 0);
	if (vm->mem_fd >= 0)
		return pread(vm->mem_fd, buf, len, (off_t)hva);
	errno = -vm->mem_fd;
	return -1;
}

int qemu_process_read(struct qemu_vm *vm, uint64_t hva, void *buf, size_t len, struct err *e)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = read_some(vm, hva + done, (char *)buf + done, len - done);

		if (n > 0) {
			done += (size_t)n;
			continue;
		}
		int error = n < 0 ? errno : EIO;
		if (error == ESRCH || (vm->has_user && n == 0) || process_ended(vm))
			return err_set(e, ERR_INACTIVE, ENOTCONN, "", "QEMU's process ended");
		return err_set(e, ERR_FAILED, error, "", "cannot read QEMU's memory: %s", strerror(error));
	}
	/* Alive now, so it was alive before: the pid was not somebody else's. */
	if (process_ended(vm))
		return err_set(e, ERR_INACTIVE, ENOTCONN, "", "QEMU's process ended");
	return 0;
}

static bool all_zero(const uint64_t *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (words[i])
			return false;
	return true;
}

/* Compares one place: 1 equal, 0 nothing to learn (empty, or it changes), negative errno. */
static int probe_place(struct qemu_vm *vm, const struct qemu_range *range, uint64_t offset, struct err *e)
{
	uint64_t before[PROBE_WORDS], shown[PROBE_WORDS], after[PROBE_WORDS];
	_cleanup_free_ char *text = NULL;
	char line[64];
	int r = qemu_process_read(vm, range->hva + offset, before, sizeof(before), e);

	if (r < 0 || all_zero(before, PROBE_WORDS))
		return r;
	snprintf(line, sizeof(line), "xp /%uxg 0x%llx", PROBE_WORDS, (unsigned long long)(range->gpa + offset));
	r = qemu_hmp(vm, line, -1, &text, e);
	if (r < 0)
		return r;
	if (qemu_parse_xp(text, range->gpa + offset, shown, PROBE_WORDS) < 0)
		return err_set(e, ERR_FAILED, EPROTO, "", "QEMU's monitor does not show memory");
	r = qemu_process_read(vm, range->hva + offset, after, sizeof(after), e);
	if (r < 0 || memcmp(before, after, sizeof(before)))
		return r;
	if (!memcmp(before, shown, sizeof(before)))
		return 1;
	return err_set(e, ERR_FAILED, EXDEV, "", "what is read there is not the guest's memory");
}

/* Looks at places spread over all of RAM until enough of them were equal. */
static int probe_all(struct qemu_vm *vm, struct err *e)
{
	unsigned equal = 0;

	for (unsigned i = 0; i < PROBE_PLACES && equal < PROBE_MATCHES; i++) {
		const struct qemu_range *range = &vm->ranges[i % vm->n_ranges];
		uint64_t pages = range->len >> 12;

		if (!range->hva || !pages)
			continue;
		int r = probe_place(vm, range, (pages * i / PROBE_PLACES) << 12, e);
		if (r < 0)
			return r;
		equal += (unsigned)r;
	}
	if (equal)
		return 0;
	return err_set(e, ERR_FAILED, ENODATA, "", "no page of the guest held still to be compared");
}

void qemu_process_probe(struct qemu_vm *vm)
{
	struct err e = { 0 };
	bool sure = false;

	process_find(vm, &sure);
	int r = vm->pid ? probe_all(vm, &e) : -ESRCH;
	vm->live_read = r >= 0;
	vm->live_read_why[0] = '\0';
	if (r == -EPERM)
		snprintf(vm->live_read_why, sizeof(vm->live_read_why),
			 "no permission to read the memory of QEMU (pid %d): needs its user or CAP_SYS_PTRACE",
			 (int)vm->pid);
	else if (r < 0)
		snprintf(vm->live_read_why, sizeof(vm->live_read_why), "%s",
			 vm->pid ? e.text : "QEMU's process is not visible from here");
	if (r < 0 && !sure)
		process_forget(vm); /* it may be anybody's */
}
