// SPDX-License-Identifier: GPL-2.0-or-later
/* The scripted server and the runner of the program under test; see cli_program.h. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "protocol/util.h"
#include "tests/fake/cli_program.h"

#define WAIT_MS 10000

const char REPLY_CLOSE[] = "close", REPLY_HALF[] = "half", REPLY_GARBAGE[] = "garbage", REPLY_SILENT[] = "silent";

char program_dir[] = "/tmp/vmpoke-test-cli-XXXXXX";

/* --- the scripted server --- */

/* False when the peer is gone or the test is over. */
static bool fake_wait(struct fake *f, int fd)
{
	struct pollfd p[] = { { .fd = fd, .events = POLLIN }, { .fd = f->quit_fds[0], .events = POLLIN } };

	return poll(p, 2, WAIT_MS) > 0 && p[0].revents;
}

static bool line_read(struct fake *f, int fd, char *buf, size_t cap)
{
	for (size_t n = 0; n + 1 < cap; n++) {
		if (!fake_wait(f, fd) || read(fd, buf + n, 1) != 1)
			return false;
		if (buf[n] == '\n') {
			buf[n] = '\0';
			return true;
		}
	}
	return false;
}

static void send_text(int fd, const char *text)
{
	send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static void reply_send(int fd, const char *reply, json_t *id)
{
	char *raw = id ? json_dumps(id, JSON_ENCODE_ANY) : NULL, *line = NULL;

	if (asprintf(&line, "{%s%s%s}\r\n", reply, raw ? ", \"id\": " : "", raw ? raw : "") > 0)
		send_text(fd, line);
	free(line);
	free(raw);
}

/* Is request what the step expects? Else notes both in f->wrong. */
static void step_compare(struct fake *f, const struct step *s, json_t *request)
{
	json_t *execute = json_object_get(request, "execute"), *args = json_object_get(request, "arguments");
	json_auto_t *want = json_loads(s->args ? s->args : "{}", 0, NULL);
	json_auto_t *none = json_object();
	char *text;

	if (s->execute && json_is_string(execute) && strcmp(json_string_value(execute), s->execute) == 0 &&
	    json_equal(args ? args : none, want))
		return;
	text = json_dumps(request, 0);
	if (!*f->wrong)
		snprintf(f->wrong, sizeof(f->wrong), "expected %s %s, got %s", s->execute ? s->execute : "nothing",
			 s->args ? s->args : "{}", text ? text : "?");
	free(text);
}

/* False: the connection ends here. */
static bool step_play(struct fake *f, int fd, json_t *request)
{
	const struct step *s = &f->steps[f->done];

	step_compare(f, s, request);
	if (!s->execute)
		return false;
	f->done++;
	if (s->reply == REPLY_CLOSE)
		return false;
	if (s->reply == REPLY_HALF)
		send_text(fd, "{\"return\": {\"vm\": \"we");
	if (s->reply == REPLY_GARBAGE)
		send_text(fd, "%%% what? [}] \r\n");
	if (s->reply == REPLY_HALF)
		return false;
	if (s->reply != REPLY_SILENT && s->reply != REPLY_GARBAGE)
		reply_send(fd, s->reply, json_object_get(request, "id"));
	return true;
}

static void fake_serve(struct fake *f, int fd)
{
	char *line = malloc(PROGRAM_OUT_MAX);
	bool more = line != NULL;

	send_text(fd, "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 1, \"major\": 0}, "
		      "\"package\": \"vmpoke 0.1.0\"}, \"capabilities\": []}}\r\n");
	while (more && line_read(f, fd, line, PROGRAM_OUT_MAX)) {
		json_auto_t *request = json_loads(line, 0, NULL);
		const char *execute = json_string_value(json_object_get(request, "execute"));

		if (!execute || strcmp(execute, "qmp_capabilities") != 0) {
			more = step_play(f, fd, request);
			continue;
		}
		reply_send(fd, "\"return\": {}", json_object_get(request, "id"));
		if (f->events)
			send_text(fd, f->events);
	}
	free(line);
}

static void *fake_run(void *arg)
{
	struct fake *f = arg;

	while (fake_wait(f, f->listen_fd)) {
		int fd = accept(f->listen_fd, NULL, NULL);

		if (fd < 0)
			break;
		fake_serve(f, fd);
		close(fd);
	}
	return NULL;
}

void fake_start(struct fake *f, const struct step *steps, const char *events)
{
	static int count;
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	*f = (struct fake){ .steps = steps, .events = events };
	snprintf(f->path, sizeof(f->path), "%s/%d.sock", program_dir, count++);
	strcpy(sa.sun_path, f->path);
	f->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_return_code(bind(f->listen_fd, (struct sockaddr *)&sa, sizeof(sa)), errno);
	assert_return_code(listen(f->listen_fd, 4), errno);
	assert_return_code(pipe2(f->quit_fds, O_CLOEXEC), errno);
	assert_int_equal(pthread_create(&f->thread, NULL, fake_run, f), 0);
}

void fake_stop(struct fake *f)
{
	close(f->quit_fds[1]);
	pthread_join(f->thread, NULL);
	close(f->quit_fds[0]);
	close(f->listen_fd);
	unlink(f->path);
}

/* --- the program --- */

static const char *program(void)
{
	static char path[512];
	const char *build = getenv("VMPOKE_BUILD");

	snprintf(path, sizeof(path), "%s/vmpoke", build && *build ? build : "build/san");
	return path;
}

static int input_make(const char *text)
{
	int p[2];

	assert_return_code(pipe2(p, O_CLOEXEC), errno);
	if (text)
		assert_int_equal(write(p[1], text, strlen(text)), (ssize_t)strlen(text));
	close(p[1]);
	return p[0];
}

/* out_fd >= 0: standard output goes there instead of into p->out. */
void program_start(struct program *p, const char *socket, const char *const *argv, const char *input, int out_fd)
{
	char env_socket[128], *env[] = { env_socket, "TERM=xterm", "ASAN_OPTIONS=detect_leaks=1", NULL };
	char *full[PROGRAM_ARGS_MAX + 2] = { (char *)(uintptr_t) "vmpoke" };
	posix_spawn_file_actions_t fa;
	int out[2], err[2], in = input_make(input);

	snprintf(env_socket, sizeof(env_socket), "VMPOKE_SOCKET=%s", socket);
	for (int i = 0; i < PROGRAM_ARGS_MAX && argv[i]; i++)
		full[i + 1] = (char *)(uintptr_t)argv[i];
	assert_return_code(pipe2(out, O_CLOEXEC), errno);
	assert_return_code(pipe2(err, O_CLOEXEC), errno);
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, in, 0);
	posix_spawn_file_actions_adddup2(&fa, out_fd >= 0 ? out_fd : out[1], 1);
	posix_spawn_file_actions_adddup2(&fa, err[1], 2);
	*p = (struct program){ .out_fd = out[0], .err_fd = err[0] };
	assert_int_equal(posix_spawn(&p->pid, program(), &fa, NULL, full, env), 0);
	posix_spawn_file_actions_destroy(&fa);
	close(in);
	close(out[1]);
	close(err[1]);
}

static bool drain(int *fd, char *buf, size_t cap, size_t *len)
{
	ssize_t n = read(*fd, buf + *len, cap - 1 - *len);

	if (n > 0) {
		*len += (size_t)n;
		return *len + 1 < cap;
	}
	close(*fd);
	*fd = -1;
	return true;
}

/* Reads until both pipes end; kills the program when it takes too long. until: stop reading when seen. */
void program_read(struct program *p, const char *until)
{
	uint64_t end = now_us() + WAIT_MS * 1000;

	while (p->out_fd >= 0 || p->err_fd >= 0) {
		struct pollfd fds[] = { { .fd = p->out_fd, .events = POLLIN }, { .fd = p->err_fd, .events = POLLIN } };

		if (until && strstr(p->out, until))
			return;
		if (now_us() > end || poll(fds, 2, WAIT_MS) <= 0 ||
		    (fds[0].revents && !drain(&p->out_fd, p->out, sizeof(p->out), &p->out_len)) ||
		    (fds[1].revents && !drain(&p->err_fd, p->err, sizeof(p->err), &p->err_len))) {
			kill(p->pid, SIGKILL);
			break;
		}
	}
}

int program_end(struct program *p)
{
	int status;

	program_read(p, NULL);
	if (p->out_fd >= 0)
		close(p->out_fd);
	if (p->err_fd >= 0)
		close(p->err_fd);
	assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static bool text_matches(const char *got, const char *want)
{
	size_t n = want ? strlen(want) : 0;

	if (!want)
		return true;
	if (n >= 3 && strcmp(want + n - 3, "...") == 0)
		return strncmp(got, want, n - 3) == 0;
	return strcmp(got, want) == 0;
}

static int steps_count(const struct step *steps)
{
	int n = 0;

	while (n < PROGRAM_STEPS_MAX && steps[n].execute)
		n++;
	return n;
}

static bool case_run(const struct cli_case *t)
{
	static struct program p;
	struct fake f;

	fake_start(&f, t->steps, NULL);
	program_start(&p, f.path, t->argv, NULL, -1);
	int code = program_end(&p);
	fake_stop(&f);
	if (code == t->exit && !*f.wrong && f.done == steps_count(t->steps) && text_matches(p.out, t->out) &&
	    text_matches(p.err, t->err))
		return true;
	print_error("case '%s': exit %d (expected %d), %d requests\n%s\nstdout:\n%s\nexpected:\n%s\nstderr:\n%s\nexpected:\n%s\n",
		    t->name, code, t->exit, f.done, f.wrong, p.out, t->out ? t->out : "(any)", p.err, t->err ? t->err : "(any)");
	return false;
}

void cases_run(const struct cli_case *cases, size_t n)
{
	size_t failed = 0;

	assert_true(n > 0);
	for (size_t i = 0; i < n; i++)
		failed += !case_run(&cases[i]);
	assert_int_equal(failed, 0);
}

int program_run(struct program *p, const char *socket, const char *const *argv, int out_fd)
{
	program_start(p, socket, argv, NULL, out_fd);
	return program_end(p);
}

int program_dir_make(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	return mkdtemp(program_dir) ? 0 : -1;
}

int program_dir_remove(void **state)
{
	(void)state;
	return rmdir(program_dir);
}
