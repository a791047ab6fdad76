// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A VM run by QEMU: open, close, what it can do. Opening asks the monitor and
 * never pauses; closing never leaves the VM paused that was found running.
 */
#include "vmm/backend/qemu.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/un.h>

#define GREETING_US 3000000u
#define CONNECT_US 2000000u

static void qemu_close(struct backend *b)
{
	struct qemu_vm *vm = qemu_vm(b);

	if (vm->held)
		qemu_resume(b, NULL);
	gdbstub_free(vm->stub);
	qmp_client_free(vm->qmp);
	if (vm->pidfd >= 0)
		close(vm->pidfd);
	if (vm->mem_fd >= 0)
		close(vm->mem_fd);
	free(vm->gdb_user);
	free(vm->gdb_own);
	free(vm->cpus);
	free(vm->snapshot);
	free(vm->traps);
	free(vm);
}

static void vm_free(struct qemu_vm *vm)
{
	qemu_close(&vm->base);
}
DEFINE_CLEANUP(struct qemu_vm, vm_free)

/* Before a byte is read: it may be anything that vmpoked can connect to and the user cannot. */
static int connect_of_user(struct qemu_vm *vm, const struct backend_target *target, struct err *e)
{
	_cleanup_close_ int fd = unix_connect(target->qmp, CONNECT_US);

	if (fd < 0)
		return err_set(e, ERR_INACTIVE, -fd, "", "cannot connect to %s: %s", target->qmp, strerror(-fd));
	if (unix_served_by(fd, target->user) < 0)
		return err_set(e, ERR_REFUSED, EACCES, "foreign-socket",
			       "%s is not served by uid %u, who registered the VM: who is not root registers VMs of his own only",
			       target->qmp, target->user);
	return qmp_client_adopt(TAKE_FD(fd), true, GREETING_US, ERR_INACTIVE, &vm->qmp, e);
}

static int connect_monitor(struct qemu_vm *vm, const struct backend_target *target, struct err *e)
{
	const char *path = target->qmp;
	int r = target->has_user ? connect_of_user(vm, target, e) :
				   qmp_client_connect(path, GREETING_US, ERR_INACTIVE, &vm->qmp, e);

	if (r == -ETIMEDOUT)
		return err_set(e, ERR_INACTIVE, ETIMEDOUT, "monitor-busy",
			       "the monitor at %s is busy with another client, or hangs: a QMP socket serves one "
			       "client; give this VM a second one (-qmp unix:PATH,server=on,wait=off)", path);
	return r;
}

/* Where our stub is made. QEMU has its own working directory, so the path must be absolute. */
static int choose_stub_path(struct qemu_vm *vm, const struct backend_target *target, struct err *e)
{
	char dir[PATH_MAX];

	if (target->gdb) {
		vm->gdb_user = realpath(target->gdb, NULL);
		if (!vm->gdb_user)
			return err_set(e, ERR_INACTIVE, errno, "", "gdb stub %s: %s", target->gdb, strerror(errno));
		return 0;
	}
	if (!realpath(target->runtime_dir, dir))
		return err_set(e, ERR_FAILED, errno, "", "%s: %s", target->runtime_dir, strerror(errno));
	if (asprintf(&vm->gdb_own, "%s/%s.gdb", dir, target->vm) < 0) {
		vm->gdb_own = NULL;
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	}
	for (const char *p = vm->gdb_own; *p; p++)
		if ((unsigned char)*p < ' ')
			return err_set(e, ERR_FAILED, EINVAL, "", "a control character in the runtime folder's name");
	if (strlen(vm->gdb_own) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return err_set(e, ERR_FAILED, ENAMETOOLONG, "", "%s is too long for a unix socket: use a shorter "
			       "runtime folder", vm->gdb_own);
	return 0;
}

/* "10.0.2 (Debian 1:10.0.2+ds-2)", printable. */
static void read_version(struct qemu_vm *vm)
{
	json_t *version = json_object_get(json_object_get(qmp_client_greeting(vm->qmp), "QMP"), "version");
	json_t *n = json_object_get(version, "qemu");
	const char *package = json_string_value(json_object_get(version, "package"));

	snprintf(vm->version, sizeof(vm->version), "%d.%d.%d%s%s%s",
		 (int)json_integer_value(json_object_get(n, "major")),
		 (int)json_integer_value(json_object_get(n, "minor")),
		 (int)json_integer_value(json_object_get(n, "micro")),
		 package && *package ? " (" : "", package ? package : "", package && *package ? ")" : "");
	for (char *p = vm->version; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
}

/* All that is learnt from the monitor; the VM runs on. */
static int look_around(struct qemu_vm *vm, struct err *e)
{
	int r = qemu_cpus(vm, e);

	if (r >= 0)
		r = qemu_accel(vm, e);
	if (r >= 0) /* arm64: that would stop the VM, which opening does not */
		r = vm->arch == VCPU_ARM64 ? qemu_arm64_check(vm, e) : qemu_snapshot(vm, 0, e);
	if (r >= 0)
		r = qemu_map(vm, e);
	if (r >= 0)
		qemu_process_probe(vm);
	return r;
}

static int qemu_open(const struct backend_target *target, struct backend **ret, struct err *e)
{
	_cleanup_(vm_free) struct qemu_vm *vm = calloc(1, sizeof(*vm));

	if (!vm)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	vm->base.ops = &backend_qemu;
	vm->pidfd = vm->mem_fd = -1;
	vm->has_user = target->has_user;
	vm->user = target->user;
	int r = connect_monitor(vm, target, e);
	if (r >= 0)
		r = choose_stub_path(vm, target, e);
	if (r < 0)
		return r;
	read_version(vm);
	r = look_around(vm, e);
	if (r < 0)
		return r;
	*ret = &TAKE_PTR(vm)->base;
	return 0;
}

/*
 * TCG keeps traps to itself, so both kinds work. Under KVM a software trap is a
 * 0xCC in guest memory, and on a KVM that does not report it the VM ends in
 * internal-error for good: not claimed.
 */
static unsigned capabilities(const struct qemu_vm *vm)
{
	unsigned caps = vm->arch == VCPU_ARM64 ? 0 : BACKEND_LIVE_REGS;

	if (vm->live_read)
		caps |= BACKEND_LIVE_READ;
	if (vm->arch == VCPU_ARM64)
		return caps | BACKEND_STEP;
	if (!strcmp(vm->accel, "tcg"))
		caps |= BACKEND_STEP | BACKEND_TRAP_HW | BACKEND_TRAP_INT3;
	if (!strcmp(vm->accel, "kvm"))
		caps |= BACKEND_STEP | BACKEND_TRAP_HW;
	return caps;
}

static int qemu_info(struct backend *b, struct backend_info *ret, struct err *e)
{
	struct qemu_vm *vm = qemu_vm(b);
	struct backend_info info = { 0 };
	struct qemu_run_state now;
	char name[32];
	int r = qemu_status(vm, &now, name, e);

	if (r >= 0 && !vm->held)
		r = qemu_cpus(vm, e);
	if (r < 0)
		return r;
	info.arch = vm->arch;
	info.caps = capabilities(vm);
	info.vcpus = vm->n_cpus;
	info.state = now.state;
	info.read_pause_us = vm->read_pause_us;
	info.pid = vm->pid;
	info.pid_start = vm->pid_start;
	memcpy(info.accel, vm->accel, sizeof(info.accel));
	memcpy(info.version, vm->version, sizeof(info.version));
	memcpy(info.live_read_why, vm->live_read_why, sizeof(info.live_read_why));
	*ret = info;
	return 0;
}

static int qemu_event_fd(const struct backend *b)
{
	return qmp_client_fd(qemu_vm((struct backend *)(uintptr_t)b)->qmp);
}

static int qemu_event(struct backend *b, enum backend_event_kind *ret, struct err *e)
{
	(void)e;
	return qemu_event_next(qemu_vm(b), ret);
}

const struct backend_ops backend_qemu = {
	.name = "qemu",
	.open = qemu_open,
	.close = qemu_close,
	.info = qemu_info,
	.event_fd = qemu_event_fd,
	.event = qemu_event,
	.ram = qemu_ram,
	.read = qemu_read,
	.write = qemu_write,
	.pause = qemu_pause,
	.resume = qemu_resume,
	.resume_orphan = qemu_resume_orphan,
	.regs_get = qemu_regs_get,
	.regs_set = qemu_regs_set,
	.step = qemu_step,
	.trap_set = qemu_trap_set,
	.trap_clear = qemu_trap_clear,
	.run = qemu_run,
};
