// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A real vmpoked in a temporary folder; see daemon_program.h. The programs come
 * from $VMPOKE_BUILD (default build/test). Every wait is bounded.
 */
#include "tests/fake/daemon_program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

static const char *build_dir(void)
{
	const char *dir = getenv("VMPOKE_BUILD");

	return dir && *dir ? dir : "build/test";
}

void daemon_program_path(const struct daemon_program *p, const char *name, char *buf, size_t cap)
{
	snprintf(buf, cap, "%s/%s", p->dir, name);
}

void daemon_program_init(struct daemon_program *p)
{
	char path[128];

	*p = (struct daemon_program){ .dir = "/tmp/vmpoked-test.XXXXXX" };
	assert_non_null(mkdtemp(p->dir));
	snprintf(path, sizeof(path), "%s/vmpoked", build_dir());
	if (access(path, X_OK) < 0)
		fail_msg("%s is missing: build it first, or set VMPOKE_BUILD", path);
}

static pid_t spawn(const struct daemon_program *p, const char *const *more, int out, int err)
{
	char daemon[128], worker[128], state[128], run[128], config[128], keys[128];
	const char *argv[32] = { daemon, "--worker", worker, "--state-dir", state, "--runtime-dir", run, "--config", config,
				 "--keys-dir", keys, "--foreground" };
	size_t n = 12;

	snprintf(daemon, sizeof(daemon), "%s/vmpoked", build_dir());
	snprintf(worker, sizeof(worker), "%s/fake-worker", build_dir());
	daemon_program_path(p, "state", state, sizeof(state));
	daemon_program_path(p, "run", run, sizeof(run));
	daemon_program_path(p, "vmpoked.conf", config, sizeof(config));
	daemon_program_path(p, "keys.d", keys, sizeof(keys));
	close(open(config, O_WRONLY | O_CREAT | O_CLOEXEC, 0644)); /* empty, unless the test has put something there */
	for (; more && *more && n < 31; more++)
		argv[n++] = *more;
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM); /* a failed test must not leave daemons */
		dup2(out, STDOUT_FILENO);
		dup2(err, STDERR_FILENO);
		execv(daemon, (char *const *)argv);
		_exit(127);
	}
	return pid;
}

static int open_log(const struct daemon_program *p, const char *name)
{
	char path[128];

	daemon_program_path(p, name, path, sizeof(path));
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	return fd;
}

void daemon_program_start(struct daemon_program *p)
{
	int out = open_log(p, "stdout"), err = open_log(p, "stderr");
	uint64_t deadline = now_us() + DAEMON_WAIT_US;
	char path[128];

	assert_int_equal(p->pid, 0);
	p->pid = spawn(p, p->extra, out, err);
	close(out);
	close(err);
	daemon_program_path(p, "run/control-ro.sock", path, sizeof(path));
	for (;;) {
		int fd = unix_connect(path, 100000);
		if (fd >= 0) {
			close(fd);
			return;
		}
		if (now_us() > deadline || waitpid(p->pid, NULL, WNOHANG) != 0)
			fail_msg("vmpoked did not start; see %s/stderr", p->dir);
		poll(NULL, 0, 5);
	}
}

static int reap(pid_t pid)
{
	uint64_t deadline = now_us() + 2 * DAEMON_WAIT_US;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (now_us() > deadline) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			fail_msg("vmpoked did not end in time");
		}
		poll(NULL, 0, 5);
	}
	return status;
}

int daemon_program_stop(struct daemon_program *p)
{
	pid_t pid = p->pid;

	p->pid = 0;
	kill(pid, SIGTERM);
	return reap(pid);
}

void daemon_program_kill(struct daemon_program *p)
{
	kill(p->pid, SIGKILL);
	reap(p->pid);
	p->pid = 0;
}

void daemon_program_clean(struct daemon_program *p)
{
	char command[128];

	if (p->pid)
		daemon_program_stop(p);
	snprintf(command, sizeof(command), "rm -rf '%s'", p->dir);
	assert_int_equal(system(command), 0);
}

int daemon_program_run(const struct daemon_program *p, const char *const *argv, char *out, size_t cap)
{
	size_t len = 0;
	int pair[2];

	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	pid_t pid = spawn(p, argv, pair[1], pair[1]);
	close(pair[1]);
	for (ssize_t n = 1; n > 0 && len < cap - 1; len += n > 0 ? (size_t)n : 0)
		n = read(pair[0], out + len, cap - 1 - len);
	out[len] = '\0';
	close(pair[0]);
	int status = reap(pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int daemon_program_raw(const struct daemon_program *p, bool read_only)
{
	char path[128], line[1024];

	daemon_program_path(p, read_only ? "run/control-ro.sock" : "run/control.sock", path, sizeof(path));
	int fd = unix_connect(path, DAEMON_WAIT_US);
	assert_true(fd >= 0);
	assert_true(raw_line(fd, line, sizeof(line)) > 0);
	assert_non_null(strstr(line, "\"QMP\""));
	return fd;
}

void raw_send(int fd, const char *text)
{
	size_t len = strlen(text);

	assert_int_equal(send(fd, text, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* Byte by byte: what follows the line stays in the socket. */
ssize_t raw_line(int fd, char *buf, size_t cap)
{
	size_t len = 0;

	while (len < cap - 1) {
		if (poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, (int)(DAEMON_WAIT_US / 1000)) <= 0)
			return -1;
		if (recv(fd, buf + len, 1, 0) <= 0)
			return -1;
		if (buf[len++] == '\n')
			break;
	}
	buf[len] = '\0';
	return (ssize_t)len;
}

struct qmp_client *daemon_program_connect(const struct daemon_program *p, bool read_only)
{
	struct qmp_client *c = NULL;
	char path[128];
	struct err e;

	daemon_program_path(p, read_only ? "run/control-ro.sock" : "run/control.sock", path, sizeof(path));
	if (qmp_client_connect(path, DAEMON_WAIT_US, ERR_UNREACHABLE, &c, &e) < 0)
		fail_msg("%s", e.text);
	return c;
}

struct qmp_client *daemon_program_begin(struct daemon_program *p)
{
	daemon_program_init(p);
	daemon_program_start(p);
	return daemon_program_connect(p, false);
}

void daemon_program_end(struct daemon_program *p, struct qmp_client *client)
{
	qmp_client_free(client);
	int status = daemon_program_stop(p);
	daemon_program_clean(p);
	assert_int_equal(status, 0);
}

json_t *call_ok(struct qmp_client *c, const char *command, json_t *args)
{
	json_t *value = NULL;
	struct err e;

	if (qmp_client_call(c, command, args, 2 * DAEMON_WAIT_US, &value, &e) < 0)
		fail_msg("%s: %s", command, e.text);
	json_decref(args);
	return value;
}

void call_fails(struct qmp_client *c, const char *command, json_t *args, enum err_kind kind, struct err *ret)
{
	json_t *value = NULL;
	struct err e;

	int r = qmp_client_call(c, command, args, 2 * DAEMON_WAIT_US, &value, &e);
	if (r >= 0)
		fail_msg("%s succeeded: %s", command, json_dumps(value, 0));
	if (e.kind != kind)
		fail_msg("%s: kind %s instead of %s: %s", command, err_kind_name(e.kind), err_kind_name(kind), e.text);
	json_decref(args);
	if (ret)
		*ret = e;
}

json_t *wait_event(struct qmp_client *c, const char *name, const char *vm)
{
	uint64_t deadline = now_us() + DAEMON_WAIT_US;
	struct err e;

	while (now_us() < deadline) {
		json_t *event = NULL;
		if (qmp_client_event(c, DAEMON_WAIT_US, &event, &e) <= 0)
			break;
		json_t *data = json_incref(json_object_get(event, "data"));
		bool hit = strcmp(get_str(event, "event"), name) == 0 && strcmp(get_str(data, "vm"), vm) == 0;
		json_decref(event);
		if (hit)
			return data;
		json_decref(data);
	}
	fail_msg("no %s of %s", name, vm);
	return NULL;
}

json_t *add_vm(struct qmp_client *c, const char *name)
{
	char path[96];

	snprintf(path, sizeof(path), "/nowhere/%s.qmp", name);
	return call_ok(c, "vm-add", json_pack("{s:s, s:s}", "name", name, "qmp", path));
}

const char *get_str(json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text ? text : "";
}

json_int_t get_int(json_t *o, const char *key)
{
	json_t *value = json_object_get(o, key);

	return json_is_integer(value) ? json_integer_value(value) : -1;
}
