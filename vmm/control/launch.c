// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See launch.h. The daemon makes the socket and listens first, so that it can connect
 * before the worker has come that far; the worker listens on it again, from when on
 * SO_PEERCRED of a connection names the worker. Must never wait.
 */
#include "vmm/control/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "protocol/util.h"

#define ARGUMENTS_MAX 40
#define NUMBER_MAX 24

void launch_clear(struct launch *l)
{
	int *fds[] = { &l->kernel, &l->initrd, &l->console };

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
	while (l->n_disks > 0)
		close(l->disks[--l->n_disks]);
	free(TAKE_PTR(l->append));
}

static int address_make(const struct worker_config *config, const char *name, struct sockaddr_un *ret)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int n = snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/%s.vm", config->runtime_dir, name);

	if (n < 0 || (size_t)n >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	*ret = sa;
	return 0;
}

void launch_forget(const struct worker_config *config, const char *name)
{
	struct sockaddr_un sa;

	if (address_make(config, name, &sa) == 0)
		unlink(sa.sun_path);
}

int launch_connect(const struct worker_config *config, const char *name, pid_t *ret_pid, int *ret_fd)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un sa;
	struct ucred peer;
	socklen_t len = sizeof(peer);
	int r = fd < 0 ? -errno : address_make(config, name, &sa);

	if (r < 0)
		return r;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return -errno;
	if ((peer.uid != 0 && peer.uid != geteuid()) || peer.pid <= 0)
		return -EPERM;
	*ret_pid = peer.pid;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Nobody but our own user can connect: the mode is 0600 from the start. */
static int socket_make(const struct sockaddr_un *sa, int *ret_fd)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || (unlink(sa->sun_path) < 0 && errno != ENOENT))
		return -errno;
	mode_t old = umask(0177);
	int r = bind(fd, (const struct sockaddr *)sa, sizeof(*sa)) < 0 ? -errno : 0;
	umask(old);
	if (r == 0 && listen(fd, 1) < 0)
		r = -errno;
	if (r == 0)
		*ret_fd = TAKE_FD(fd);
	return r;
}

struct arguments {
	const char *argv[ARGUMENTS_MAX];
	size_t n;
	int fds[4 + LAUNCH_DISKS_MAX];
	size_t n_fds;
	char numbers[6 + LAUNCH_DISKS_MAX][NUMBER_MAX];
	size_t n_numbers;
};

static void argument_add(struct arguments *a, const char *name, const char *value)
{
	a->argv[a->n++] = name;
	a->argv[a->n++] = value;
}

static void number_add(struct arguments *a, const char *name, uint64_t value)
{
	char *text = a->numbers[a->n_numbers++];

	snprintf(text, NUMBER_MAX, "%llu", (unsigned long long)value);
	argument_add(a, name, text);
}

/* fd: -1 when there is none. */
static void fd_add(struct arguments *a, const char *name, int fd)
{
	if (fd < 0)
		return;
	number_add(a, name, WORKER_FIRST_FD + a->n_fds);
	a->fds[a->n_fds++] = fd;
}

static int spawn(const struct worker_config *config, const struct registry_entry *entry, const struct launch *l,
		 int listen_fd, pid_t *ret_pid)
{
	struct arguments a = { .argv = { config->binary }, .n = 1 };

	argument_add(&a, "--name", entry->name);
	argument_add(&a, "--state-dir", config->state_dir);
	argument_add(&a, "--runtime-dir", config->runtime_dir);
	fd_add(&a, "--listen-fd", listen_fd);
	fd_add(&a, "--kernel-fd", l->kernel);
	fd_add(&a, "--initrd-fd", l->initrd);
	fd_add(&a, "--console-fd", l->console);
	for (size_t i = 0; i < l->n_disks; i++)
		fd_add(&a, "--disk-fd", l->disks[i]);
	argument_add(&a, "--kernel", entry->kernel);
	argument_add(&a, "--append", l->append ? l->append : "");
	number_add(&a, "--vcpus", entry->vcpus);
	number_add(&a, "--memory", entry->memory);
	return worker_spawn_program(config->binary, a.argv, a.fds, a.n_fds, ret_pid);
}

int launch_spawn(const struct worker_config *config, const struct registry_entry *entry, const struct launch *l,
		 pid_t *ret_pid, int *ret_fd, struct err *e)
{
	_cleanup_close_ int listen_fd = -1, fd = -1;
	struct sockaddr_un sa;
	pid_t self;

	int r = address_make(config, entry->name, &sa);
	if (r == 0)
		r = socket_make(&sa, &listen_fd);
	if (r == 0)
		r = launch_connect(config, entry->name, &self, &fd);
	if (r < 0)
		return err_set(e, ERR_FAILED, -r, NULL, "cannot make the worker's socket %s/%s.vm: %s", config->runtime_dir,
			       entry->name, strerror(-r));
	r = spawn(config, entry, l, listen_fd, ret_pid);
	if (r < 0) {
		launch_forget(config, entry->name);
		return err_set(e, ERR_FAILED, -r, NULL, "cannot start the worker %s: %s", config->binary, strerror(-r));
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}
