// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Starts a worker; see worker_spawn.h. A worker gets stdin and stdout on
 * /dev/null, our stderr, its control socket and nothing else. It gets a process
 * group of its own: a Ctrl-C on the daemon's terminal must reach the daemon
 * only, which then ends its workers in order.
 */
#include "vmm/control/worker_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>

#include "protocol/util.h"

#define FDS_MAX 8
#define FD_SAFE 64 /* above every number a descriptor is given */

static int spawn_files(posix_spawn_file_actions_t *files, const int *fds, size_t n)
{
	int r = posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);

	if (r == 0)
		r = posix_spawn_file_actions_addopen(files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = posix_spawn_file_actions_adddup2(files, fds[i], WORKER_FIRST_FD + (int)i);
	return r;
}

/* The loop blocks the signals it handles; a worker starts with none blocked and none ignored. */
static int spawn_attributes(posix_spawnattr_t *attr)
{
	sigset_t none, all;

	sigemptyset(&none);
	sigfillset(&all);
	int r = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	if (r == 0)
		r = posix_spawnattr_setsigmask(attr, &none);
	if (r == 0)
		r = posix_spawnattr_setsigdefault(attr, &all);
	return r;
}

static int spawn(const char *binary, char *const *argv, const int *fds, size_t n, pid_t *ret_pid)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;

	int r = posix_spawn_file_actions_init(&files);
	if (r != 0)
		return -r;
	r = posix_spawnattr_init(&attr);
	if (r == 0) {
		r = spawn_files(&files, fds, n);
		if (r == 0)
			r = spawn_attributes(&attr);
		if (r == 0)
			r = posix_spawn(ret_pid, binary, &files, &attr, argv, environ);
		posix_spawnattr_destroy(&attr);
	}
	posix_spawn_file_actions_destroy(&files);
	return -r;
}

/* Out of the way first: a descriptor may have the number another one is to get. */
int worker_spawn_program(const char *binary, const char *const *argv, const int *fds, size_t n_fds, pid_t *ret_pid)
{
	int high[FDS_MAX], r = n_fds <= FDS_MAX ? 0 : -E2BIG;
	size_t n = 0;

	for (; r == 0 && n < n_fds; n++) {
		high[n] = fcntl(fds[n], F_DUPFD_CLOEXEC, FD_SAFE);
		if (high[n] < 0) {
			r = -errno;
			break;
		}
	}
	if (r == 0) /* posix_spawn() takes char *const *, and does not write through it. */
		r = spawn(binary, (char *const *)(uintptr_t)argv, high, n, ret_pid);
	while (n > 0)
		close(high[--n]);
	return r;
}

int worker_spawn(const struct worker_config *config, const struct registry_entry *entry, pid_t *ret_pid,
		 int *ret_fd, struct err *e)
{
	const char *argv[24] = {
		config->binary, "--name", entry->name, "--qmp", entry->qmp, "--state-dir", config->state_dir,
		"--runtime-dir", config->runtime_dir, "--control-fd", "3",
	};
	char user[16];
	size_t n = 11;
	int pair[2];

	if (config->images) {
		argv[n++] = "--images";
		argv[n++] = config->images;
	}
	if (entry->has_user) { /* before what it is about */
		snprintf(user, sizeof(user), "%u", entry->user);
		argv[n++] = "--user";
		argv[n++] = user;
	}
	if (entry->gdb[0]) {
		argv[n++] = "--gdb";
		argv[n++] = entry->gdb;
	}
	if (entry->agent[0]) {
		argv[n++] = "--agent";
		argv[n++] = entry->agent;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(e, ERR_FAILED, errno, NULL, "cannot make the worker's control socket: %s", strerror(errno));
	_cleanup_close_ int ours = pair[0], theirs = pair[1];
	int r = fcntl(ours, F_SETFL, O_NONBLOCK) < 0 ? -errno :
						       worker_spawn_program(config->binary, argv, &theirs, 1, ret_pid);
	if (r < 0)
		return err_set(e, ERR_FAILED, -r, NULL, "cannot start the worker %s: %s", config->binary, strerror(-r));
	*ret_fd = TAKE_FD(ours);
	return 0;
}
