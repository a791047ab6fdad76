// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vm-run and vm-destroy. Files come from the client as descriptors; a path is opened only for
 * a client that could open it itself. Must never have a side effect before all of it was checked.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "vmm/control/agent_keys.h"
#include "vmm/control/command.h"
#include "vmm/control/daemon.h"
#include "vmm/control/log.h"
#include "vmm/control/machine.h"
#include "vmm/control/session.h"

#define VCPUS_DEFAULT  1
#define MEMORY_DEFAULT (512ull << 20)
#define PAGE_BYTES     4096u

/* O_NONBLOCK: a FIFO must not hang us. It stays set: what the console does not take at once is lost anyway. */
static int path_open(const struct session *s, const char *member, const char *path, int flags, struct err *e)
{
	if (!peer_is_trusted(&s->peer))
		return err_set(e, ERR_REFUSED, EACCES, "foreign-path",
			       "'%s' must be \"fd:NAME\", a file you opened yourself and passed with getfd: vmpoked opens no file "
			       "for user %u", member, s->peer.uid);
	if (path[0] != '/')
		return err_set(e, ERR_USAGE, EINVAL, NULL, "'%s' must be \"fd:NAME\" or an absolute path, not '%.64s'", member, path);
	int fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
	if (fd < 0)
		return err_set(e, ERR_FAILED, errno, NULL, "cannot open %s: %s", path, strerror(errno));
	return fd;
}

enum role { ROLE_IMAGE, ROLE_CONSOLE, ROLE_DISK };

static bool kind_fits(enum role role, mode_t mode)
{
	return S_ISREG(mode) || (role == ROLE_CONSOLE && (S_ISFIFO(mode) || S_ISCHR(mode))) ||
	       (role == ROLE_DISK && S_ISBLK(mode));
}

/* A descriptor can be of anything: a folder, a socket, or not open for what it is wanted for. */
static int file_check(int fd, const char *member, enum role role, struct err *e)
{
	static const char *const others[] = { "", ", pipe or terminal", " or block device" };
	bool console = role == ROLE_CONSOLE;
	int flags = fcntl(fd, F_GETFL);
	struct stat st;

	if (flags < 0 || fstat(fd, &st) < 0)
		return err_set(e, ERR_FAILED, errno, NULL, "'%s': %s", member, strerror(errno));
	if ((flags & O_PATH) || (flags & O_ACCMODE) == (console ? O_RDONLY : O_WRONLY))
		return err_set(e, ERR_USAGE, EBADF, NULL, "'%s' is not open for %s", member, console ? "writing" : "reading");
	if (!kind_fits(role, st.st_mode))
		return err_set(e, ERR_USAGE, EINVAL, NULL, "'%s' is not a file%s", member, others[role]);
	return 0;
}

/* What text names, open and of the right kind, or a negative errno. */
static int file_get(struct session *s, const char *text, const char *member, enum role role, int flags, struct err *e)
{
	_cleanup_close_ int fd = strncmp(text, "fd:", 3) == 0 ? fd_table_take(&s->fds, text + 3, e) :
								 path_open(s, member, text, flags, e);
	int r = fd < 0 ? fd : file_check(fd, member, role, e);

	return r < 0 ? r : TAKE_FD(fd);
}

/* The descriptor of an argument; -1 in *ret when it was not given. */
static int file_take(struct session *s, json_t *args, const char *member, enum role role, int *ret, struct err *e)
{
	const char *text = json_string_value(json_object_get(args, member));

	*ret = -1;
	if (!text)
		return 0;
	int fd = file_get(s, text, member, role, role == ROLE_CONSOLE ? O_WRONLY | O_CREAT | O_APPEND : O_RDONLY, e);
	if (fd < 0)
		return fd;
	*ret = fd;
	return 0;
}

/* The guest may do what the descriptor may. */
static int disk_take(struct session *s, const char *text, struct launch *l, struct err *e)
{
	size_t len = strlen(text);
	bool read_only = len > 3 && strcmp(text + len - 3, ",ro") == 0 && strncmp(text, "fd:", 3) != 0;
	_cleanup_free_ char *path = strndup(text, read_only ? len - 3 : len);

	if (!path)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	if (l->n_disks == LAUNCH_DISKS_MAX)
		return err_set(e, ERR_USAGE, E2BIG, NULL, "'disks' has more than %d elements", LAUNCH_DISKS_MAX);
	int fd = file_get(s, path, "disks", ROLE_DISK, read_only ? O_RDONLY : O_RDWR, e);
	if (fd < 0)
		return fd;
	l->disks[l->n_disks++] = fd;
	return 0;
}

static int files_take(struct session *s, json_t *args, struct launch *l, struct err *e)
{
	json_t *disk;
	size_t i;
	int r = file_take(s, args, "kernel", ROLE_IMAGE, &l->kernel, e);

	if (r == 0)
		r = file_take(s, args, "initrd", ROLE_IMAGE, &l->initrd, e);
	json_array_foreach(json_object_get(args, "disks"), i, disk)
		if (r == 0)
			r = disk_take(s, json_string_value(disk), l, e);
	if (r == 0)
		r = file_take(s, args, "console", ROLE_CONSOLE, &l->console, e);
	return r;
}

/* Under which name it was opened, as far as that can be told; for people. */
static void file_name(int fd, char *buf, size_t cap)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(path, buf, cap - 1);
	buf[n > 0 ? n : 0] = '\0';
}

static uint64_t number(json_t *args, const char *member, uint64_t missing)
{
	json_t *value = json_object_get(args, member);

	return value ? (uint64_t)json_integer_value(value) : missing;
}

static int order_make(struct session *s, json_t *args, struct machine_order **ret, struct err *e)
{
	_cleanup_(machine_order_free) struct machine_order *o = calloc(1, sizeof(*o));
	uint64_t memory = number(args, "memory", MEMORY_DEFAULT);
	const char *append = json_string_value(json_object_get(args, "append"));
	char kernel[REGISTRY_TEXT_MAX];

	if (!o)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	o->launch = (struct launch){ .kernel = -1, .initrd = -1, .console = -1, .append = append ? strdup(append) : NULL };
	if (append && !o->launch.append)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	if (memory % PAGE_BYTES)
		return err_set(e, ERR_USAGE, EINVAL, NULL, "'memory' must be a multiple of %u", PAGE_BYTES);
	int r = files_take(s, args, &o->launch, e);
	if (r < 0)
		return r;
	file_name(o->launch.kernel, kernel, sizeof(kernel));
	r = registry_machine_init(&o->entry, json_string_value(json_object_get(args, "name")), kernel,
				  (unsigned)number(args, "vcpus", VCPUS_DEFAULT), memory, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(o);
	return 0;
}

/* May a machine of this name be started? */
static int name_check(struct daemon *d, const struct vm *present, const char *name, struct err *e)
{
	pid_t pid;
	int fd;

	if (present && vm_is_busy(present))
		return vm_busy(present, e);
	if (present && present->entry.kind != REGISTRY_MACHINE)
		return err_set(e, ERR_REFUSED, EEXIST, "exists", "'%s' is registered with the monitor %s; remove it first", name,
			       present->entry.qmp);
	if (present && machine_runs(present))
		return err_set(e, ERR_REFUSED, EEXIST, "exists", "'%s' is running already; 'vmpoke destroy %s' ends it", name, name);
	if (present)
		return 0;
	if (vm_lookup_uuid(d, name))
		return err_set(e, ERR_REFUSED, EEXIST, "exists", "the VM '%s' is known by this UUID", vm_lookup_uuid(d, name)->entry.name);
	if (d->n_vms >= REGISTRY_VMS_MAX)
		return err_set(e, ERR_REFUSED, ENOSPC, "limit", "%d VMs are registered already", REGISTRY_VMS_MAX);
	if (patch_name_valid(name) && launch_connect(&d->worker_config, name, &pid, &fd) == 0) {
		close(fd);
		return err_set(e, ERR_REFUSED, EEXIST, "exists", "a machine '%s' that is not registered runs as process %d", name, pid);
	}
	return 0;
}

static void log_start(const struct session *s, const struct registry_entry *entry)
{
	log_msg(LOG_NOTICE, entry->name, "starting with %u vCPUs and %llu MiB, kernel %s, asked by pid %d uid %u", entry->vcpus,
		(unsigned long long)(entry->memory >> 20), entry->kernel, s->peer.pid, s->peer.uid);
}

/* The name is free, or of a machine that is shut down; its worker may still be there. */
static int order_place(struct daemon *d, struct vm *vm, struct machine_order *order, struct err *e)
{
	bool is_new = !vm;

	if (is_new)
		vm = vm_new(d, &order->entry, VM_ADDING);
	if (!vm) {
		machine_order_free(order);
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	}
	vm->order = order;
	if (worker_kill(&vm->worker) == 0) /* then machine_on_ended() starts it */
		return 0;
	int r = vm_start_machine(vm, e);
	if (r < 0 && is_new) {
		struct err ignored;

		registry_remove(d->registry_fd, vm->entry.name, &ignored);
		agent_key_remove(d->worker_config.state_dir, vm->entry.name, &ignored);
		vm_free(vm);
	} else if (r < 0) {
		registry_machine_end(&vm->entry, e->text);
	}
	return r;
}

/* Before the worker starts, which reads it. That of the machine before it goes. */
static int key_place(struct daemon *d, const char *name, int key, struct err *e)
{
	const char *state_dir = d->worker_config.state_dir;

	return key < 0 ? agent_key_remove(state_dir, name, e) : agent_key_store(state_dir, name, key, e);
}

int cmd_vm_run(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args, json_t **ret,
	       struct err *e)
{
	_cleanup_(machine_order_free) struct machine_order *order = NULL;
	const char *name = json_string_value(json_object_get(args, "name"));
	struct vm *vm = vm_lookup(d, name);
	_cleanup_close_ int key = -1;

	(void)cmd, (void)ret;
	int r = name_check(d, vm, name, e);
	if (r < 0)
		return r;
	r = agent_key_take(s, args, &key, e);
	if (r >= 0)
		r = order_make(s, args, &order, e);
	if (r >= 0)
		r = key_place(d, name, key, e);
	if (r < 0)
		return r;
	log_start(s, &order->entry);
	r = order_place(d, vm, TAKE_PTR(order), e);
	if (r < 0)
		return r;
	vm = vm_lookup(d, name);
	vm->add_reply = session_defer(s);
	return vm->add_reply ? COMMAND_DEFERRED : err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory; the machine is being started");
}

int cmd_vm_destroy(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
		   json_t **ret, struct err *e)
{
	struct vm *vm = vm_find(d, json_string_value(json_object_get(args, "vm")), e);

	(void)cmd;
	if (!vm)
		return -ENOENT;
	if (vm->entry.kind != REGISTRY_MACHINE)
		return err_set(e, ERR_REFUSED, EPERM, "not-ours", "'%s' is not a machine of vmpoke's own: it is ended through its QEMU",
			       vm->entry.name);
	if (vm_is_busy(vm))
		return vm_busy(vm, e);
	if (vm->worker.state == WORKER_OFF) {
		*ret = json_pack("{s:s, s:b}", "vm", vm->entry.name, "changed", 0);
		return 0;
	}
	bool running = machine_runs(vm);
	if (worker_kill(&vm->worker) < 0)
		return err_set(e, ERR_INACTIVE, ENOTCONN, NULL, "the process of '%s' cannot be found; try again", vm->entry.name);
	vm->destroyed = running;
	vm->destroy_reply = session_defer(s);
	log_msg(LOG_NOTICE, vm->entry.name, "destroyed by pid %d uid %u", s->peer.pid, s->peer.uid);
	return vm->destroy_reply ? COMMAND_DEFERRED : err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory; the machine is being ended");
}
