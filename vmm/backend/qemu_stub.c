// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * QEMU's gdb stub as a brake: connecting stops the VM, 'D' lets it go, closing
 * leaves it stopped. Must never take a stub that somebody else uses, never send a
 * byte to a VM that runs (QEMU would stop it), and never issue a QMP stop while
 * connected (its T02 makes QEMU drop what we send next).
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "vmm/backend/qemu.h"

#define CONNECT_US 2000000u
#define ATTACH_US 5000000u /* the stop drains block I/O */
#define REPLY_US 2000000u

enum stub_use {
	STUB_NONE,    /* no stub */
	STUB_OURS,    /* left by a predecessor */
	STUB_FREE,    /* the operator's, nobody connected */
	STUB_IN_USE,  /* the operator's, somebody connected */
	STUB_FOREIGN, /* not the one we were told */
};

/* QEMU names a socket "unix:PATH,server=on", and "disconnected:unix:..." while nobody is connected. */
static bool chardev_has_path(const char *filename, const char *path, bool *ret_connected)
{
	static const char idle[] = "disconnected:";

	*ret_connected = strncmp(filename, idle, sizeof(idle) - 1) != 0;
	if (!*ret_connected)
		filename += sizeof(idle) - 1;
	if (strncmp(filename, "unix:", 5) || strncmp(filename + 5, path, strlen(path)))
		return false;
	char next = filename[5 + strlen(path)];
	return next == ',' || next == '\0';
}

static int stub_use(struct qemu_vm *vm, enum stub_use *ret, char *who, size_t cap, struct err *e)
{
	_cleanup_(json_decref) json_t *list = NULL;
	const char *path = vm->gdb_user ? vm->gdb_user : vm->gdb_own;
	int r = qemu_qmp(vm, "query-chardev", NULL, &list, e);
	json_t *dev;
	size_t i;

	if (r < 0)
		return r;
	*ret = STUB_NONE;
	json_array_foreach(list, i, dev) {
		const char *filename = json_string_value(json_object_get(dev, "filename"));
		const char *label = json_string_value(json_object_get(dev, "label"));
		bool connected;

		if (!filename || !label)
			continue;
		if (chardev_has_path(filename, path, &connected)) {
			*ret = !vm->gdb_user ? STUB_OURS : connected ? STUB_IN_USE : STUB_FREE;
			return 0;
		}
		if (!strcmp(label, "gdb")) {
			*ret = STUB_FOREIGN;
			snprintf(who, cap, "%s", filename);
		}
	}
	return 0;
}

static void stub_end(struct qemu_vm *vm)
{
	_cleanup_free_ char *text = NULL;

	if (qmp_client_alive(vm->qmp))
		qemu_hmp(vm, "gdbserver none", -1, &text, NULL);
	unlink(vm->gdb_own);
}

/* In a human monitor line within quotes; a comma in an option's value is doubled. */
static void quote_path(const char *path, char *out, size_t cap)
{
	size_t n = 0;

	for (; *path && n + 3 < cap; path++) {
		if (*path == ',')
			out[n++] = ',';
		if (*path == '"' || *path == '\\')
			out[n++] = '\\';
		out[n++] = *path;
	}
	out[n] = '\0';
}

static int stub_start(struct qemu_vm *vm, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	char path[256], line[320];

	unlink(vm->gdb_own);
	quote_path(vm->gdb_own, path, sizeof(path));
	snprintf(line, sizeof(line), "gdbserver \"unix:%s,server=on,wait=off\"", path);
	int r = qemu_hmp(vm, line, -1, &text, e);
	if (r < 0)
		return r;
	if (!strstr(text, "Waiting for gdb connection")) {
		text[strcspn(text, "\r\n")] = '\0';
		return err_set(e, ERR_FAILED, EIO, "gdb-start", "QEMU cannot open a gdb stub at %s: %s",
			       vm->gdb_own, text);
	}
	vm->stub_open = true;
	/* QEMU made it with its own umask. Failing is fine: the folder is ours. */
	(void)!fchmodat(AT_FDCWD, vm->gdb_own, 0600, AT_SYMLINK_NOFOLLOW);
	return 0;
}

int qemu_stub_open(struct qemu_vm *vm, struct err *e)
{
	char who[128] = "";
	enum stub_use use;
	int r = stub_use(vm, &use, who, sizeof(who), e);

	if (r < 0)
		return r;
	if (vm->gdb_user) {
		if (use != STUB_IN_USE)
			return 0; /* a stub at an address QEMU spells otherwise shows when connecting */
		return err_set(e, ERR_REFUSED, EBUSY, "gdb-in-use",
			       "a debugger is connected to the gdb stub at %s; detach it first", vm->gdb_user);
	}
	if (use == STUB_FOREIGN)
		return err_set(e, ERR_REFUSED, EBUSY, "gdb-in-use",
			       "this VM already has a gdb stub (%s) which is not ours to take; "
			       "pass its unix socket with --gdb, or end it with 'gdbserver none'", who);
	if (use == STUB_OURS)
		stub_end(vm);
	return stub_start(vm, e);
}

void qemu_stub_close(struct qemu_vm *vm)
{
	if (vm->stub_open)
		stub_end(vm);
	vm->stub_open = false;
}

/*
 * A stub of another VM would let us write into the wrong guest: both sockets must be of one process, or the stub
 * of the process that the monitor says its vCPUs are threads of (a manager may stand between us and the monitor).
 */
static int check_same_process(struct qemu_vm *vm, int fd, struct err *e)
{
	struct ucred gdb, qmp;
	socklen_t gdb_len = sizeof(gdb), qmp_len = sizeof(qmp);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &gdb, &gdb_len) < 0 ||
	    getsockopt(qmp_client_fd(vm->qmp), SOL_SOCKET, SO_PEERCRED, &qmp, &qmp_len) < 0)
		return err_set(e, ERR_FAILED, errno, "", "SO_PEERCRED: %s", strerror(errno));
	if (gdb.pid == qmp.pid || (gdb.pid > 0 && gdb.pid == qemu_process_owner(vm)))
		return 0;
	return err_set(e, ERR_REFUSED, EXDEV, "gdb-mismatch",
		       "the gdb stub belongs to process %d, the monitor to process %d: not the same VM",
		       (int)gdb.pid, (int)qmp.pid);
}

static int connect_checked(struct qemu_vm *vm, struct err *e)
{
	const char *path = vm->gdb_user ? vm->gdb_user : vm->gdb_own;
	_cleanup_close_ int probe = -1;

	probe = unix_connect(path, CONNECT_US);
	if (probe < 0)
		return err_set(e, ERR_INACTIVE, -probe, "", "cannot connect to the gdb stub at %s: %s%s", path,
			       strerror(-probe), probe == -EACCES ? "; it takes root or the user QEMU runs as" : "");
	if (vm->has_user && unix_served_by(probe, vm->user) < 0)
		return err_set(e, ERR_REFUSED, EACCES, "foreign-socket", "the gdb stub at %s is not served by uid %u, who registered "
			       "the VM", path, vm->user);
	if (vm->gdb_user) {
		int r = check_same_process(vm, probe, e);
		if (r < 0)
			return r;
	}
	return TAKE_FD(probe);
}

int qemu_stub_attach(struct qemu_vm *vm, struct err *e)
{
	_cleanup_(gdbstub_free) struct gdbstub *s = NULL;
	int fd = connect_checked(vm, e);

	if (fd < 0)
		return fd;
	int r = gdbstub_adopt(fd, &s);
	if (r < 0)
		return err_set(e, ERR_FAILED, -r, "", "gdb stub: %s", strerror(-r));
	/* The one answer proves that the VM is stopped; QEMU 7.2 sends a T02 in front of it. */
	r = gdbstub_greet(s, "Qqemu.PhyMemMode:1", ATTACH_US, e);
	if (r == -EOPNOTSUPP)
		return err_set(e, ERR_FAILED, EOPNOTSUPP, "gdb-phys", "this QEMU's gdb stub cannot access "
			       "physical memory (QEMU 5.1 or newer is needed)");
	if (r < 0)
		return r;
	vm->stub = TAKE_PTR(s);
	vm->step_ready = vm->arm64_ready = false;
	for (size_t i = 0; i < vm->n_cpus; i++)
		vm->cpus[i].fresh = false;
	return 0;
}

/* Both in one write: the VM runs again one round trip earlier. The last reply is not acknowledged. */
static int let_go(struct gdbstub *s, struct err *e)
{
	const char *reply;
	size_t len;
	int r = gdbstub_post(s, "Qqemu.PhyMemMode:0", 18, e);

	if (r >= 0)
		r = gdbstub_post(s, "D", 1, e);
	if (r >= 0)
		r = gdbstub_reply(s, REPLY_US, NULL, &reply, &len, e);
	if (r >= 0)
		r = gdbstub_reply(s, REPLY_US, NULL, &reply, &len, e);
	if (r >= 0 && (len != 2 || memcmp(reply, "OK", 2)))
		return err_set(e, ERR_FAILED, EIO, "", "the gdb stub did not let the VM go");
	return r;
}

int qemu_stub_detach(struct qemu_vm *vm, bool run, struct err *e)
{
	_cleanup_(gdbstub_free) struct gdbstub *s = TAKE_PTR(vm->stub);

	if (!gdbstub_alive(s))
		return err_set(e, ERR_INACTIVE, ENOTCONN, "", "the connection to the gdb stub is lost");
	/* The mode is QEMU's, not the connection's: another debugger must not inherit it. */
	return run ? let_go(s, e) : gdbstub_command(s, "Qqemu.PhyMemMode:0", REPLY_US, e);
}

int qemu_settle(struct qemu_vm *vm, bool run, bool detached, struct err *e)
{
	struct qemu_run_state now;
	char name[32];
	int r = qemu_status(vm, &now, name, e);

	if (r < 0)
		return r;
	qemu_events_drop(vm);
	if (!run || now.state == BACKEND_RUNNING)
		return 0;
	if (detached && vm->stop_after_resume) {
		/* It ran, and then stopped for a reason that is not ours: an operator, or the guest itself. */
		vm->pending |= 1u << BACKEND_EVENT_STOPPED;
		return 0;
	}
	if (!now.holdable)
		return err_set(e, ERR_INACTIVE, EIO, "", "the VM is in state %s and cannot run on", name);
	r = qemu_qmp(vm, "cont", NULL, NULL, e);
	if (r >= 0)
		r = qemu_status(vm, &now, name, e);
	qemu_events_drop(vm);
	if (r < 0)
		return r;
	if (now.state != BACKEND_RUNNING)
		return err_set(e, ERR_ATTENTION, EIO, "still-paused",
			       "the VM was found running but stays in state %s; 'cont' in its monitor may help", name);
	return 0;
}

int qemu_look_stopped(struct qemu_vm *vm, bool running, struct qemu_look *l, struct err *e)
{
	vm->resume_seen = vm->stop_after_resume = false;
	uint64_t stopped = now_us();
	int r = qemu_stub_attach(vm, e);
	bool attached = r >= 0;

	if (attached)
		r = l->look(l, vm, e);
	bool detached = attached && qemu_stub_detach(vm, running, NULL) >= 0;
	if (running && now_us() - stopped > vm->read_pause_us)
		vm->read_pause_us = now_us() - stopped;
	if (!detached && !vm->gdb_user)
		qemu_stub_close(vm);
	int settled = qemu_settle(vm, running, detached, r < 0 ? NULL : e);
	return r < 0 ? r : settled;
}

int qemu_look_once(struct qemu_vm *vm, struct qemu_look *l, struct err *e)
{
	struct qemu_run_state now;
	char name[32];
	int r = qemu_status(vm, &now, name, e);

	if (r >= 0 && !now.holdable)
		return err_set(e, ERR_INACTIVE, EHOSTDOWN, "run-state",
			       "the VM is in state %s: its registers cannot be read", name);
	qemu_events_keep(vm);
	if (r >= 0)
		r = qemu_stub_open(vm, e);
	if (r >= 0)
		r = qemu_look_stopped(vm, now.state == BACKEND_RUNNING, l, e);
	qemu_stub_close(vm);
	return r;
}

int qemu_stub_held(struct qemu_vm *vm, struct gdbstub **ret, struct err *e)
{
	if (!vm->held)
		return err_set(e, ERR_FAILED, EBUSY, "not-paused", "the VM must be paused for this");
	if (!gdbstub_alive(vm->stub)) {
		/* The stub takes a byte sent to a running VM for a stop request and drops it: start over. */
		gdbstub_free(TAKE_PTR(vm->stub));
		int r = qemu_stub_attach(vm, e);
		if (r < 0)
			return err_set(e, ERR_INACTIVE, ENOTCONN, "", "the gdb stub of the held VM cannot be reached again");
	}
	*ret = vm->stub;
	return 0;
}
