// SPDX-License-Identifier: GPL-2.0-or-later
/* The daemon's grip on one worker process: deadlines, death, the end. Runs fake workers on a loop of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "protocol/util.h"
#include "vmm/control/log.h"
#include "vmm/control/worker_link.h"

#define WAIT_US 20000000ull /* far more than anything takes */

struct fixture {
	sd_event *event;
	struct worker_config config;
	struct registry_entry entry;
	char binary[128];
	struct worker worker;
	struct worker_call call;
	int ready, died, gone, done;
	unsigned restart_ms;
	char why[256];
	struct err error; /* of the call; kind ERR_NONE: it succeeded */
};

static void on_ready(struct worker *w, json_t *data)
{
	(void)data;
	container_of(w, struct fixture, worker)->ready++;
}

static void on_event(struct worker *w, const char *name, json_t *data)
{
	(void)w, (void)name, (void)data;
}

static void on_died(struct worker *w, const char *why, unsigned restart_ms)
{
	struct fixture *f = container_of(w, struct fixture, worker);

	f->died++;
	f->restart_ms = restart_ms;
	snprintf(f->why, sizeof(f->why), "%s", why);
}

static void on_gone(struct worker *w)
{
	container_of(w, struct fixture, worker)->gone++;
}

static const struct worker_ops ops = { .ready = on_ready, .event = on_event, .died = on_died, .gone = on_gone };

static void on_done(struct worker_call *call, json_t *value, const struct err *e)
{
	struct fixture *f = container_of(call, struct fixture, call);

	f->done++;
	f->error = value ? (struct err){ 0 } : *e;
}

static void begin(struct fixture *f, const char *name, uint64_t ready_us)
{
	const char *dir = getenv("VMPOKE_BUILD");
	sigset_t set;
	struct err e;

	memset(f, 0, sizeof(*f));
	log_setup(LOG_TARGET_STDERR, LOG_EMERG);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	snprintf(f->binary, sizeof(f->binary), "%s/fake-worker", dir && *dir ? dir : "build/test");
	f->config = (struct worker_config){ .binary = f->binary, .state_dir = "/tmp", .runtime_dir = "/tmp" };
	assert_int_equal(registry_entry_init(&f->entry, name, "/nowhere", "/nowhere.gdb", &e), 0);
	assert_true(sd_event_new(&f->event) >= 0);
	assert_int_equal(worker_init(&f->worker, f->event, &ops, &f->config, &f->entry), 0);
	if (worker_start(&f->worker, ready_us, &e) < 0)
		fail_msg("%s", e.text);
}

/* Runs the loop until *counter is at least n. */
static void run_until(struct fixture *f, const int *counter, int n)
{
	uint64_t deadline = now_us() + WAIT_US;

	while (*counter < n) {
		if (now_us() > deadline)
			fail_msg("nothing happened");
		assert_true(sd_event_run(f->event, 100000) >= 0);
	}
}

static void end(struct fixture *f)
{
	worker_stop(&f->worker, 50000);
	run_until(f, &f->gone, 1);
	assert_int_equal(f->worker.pid, 0);
	worker_done(&f->worker);
	sd_event_unref(f->event);
}

static void call(struct fixture *f, const char *command, uint64_t budget_us)
{
	json_t *args = json_pack("{s:s}", "vm", f->entry.name);
	struct err e;

	f->call = (struct worker_call){ .command = command, .budget_us = budget_us, .done = on_done };
	assert_int_equal(worker_call(&f->worker, &f->call, args, &e), 0);
	json_decref(args);
	assert_int_equal(f->done, 0); /* never from inside */
}

static void test_call_before_ready_waits(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, "ok", WAIT_US);
	call(&f, "query-vm", WAIT_US);
	run_until(&f, &f.done, 1);
	assert_int_equal(f.ready, 1);
	assert_int_equal(f.error.kind, ERR_NONE);
	end(&f);
}

static void test_never_ready(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, "silent", 100000);
	call(&f, "query-vm", WAIT_US);
	run_until(&f, &f.died, 1);
	assert_int_equal(f.ready, 0);
	assert_int_equal(f.done, 1);
	assert_int_equal(f.error.kind, ERR_FAILED);
	assert_int_equal(f.restart_ms, 0);
	assert_non_null(strstr(f.why, "did not become ready in time"));
	end(&f);
}

static void test_no_answer_in_time(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, "mute", WAIT_US);
	call(&f, "patch-verify", 100000);
	run_until(&f, &f.done, 1);
	assert_int_equal(f.error.kind, ERR_FAILED);
	assert_non_null(strstr(f.error.text, "ended while patch-verify was running"));
	run_until(&f, &f.died, 1);
	assert_non_null(strstr(f.why, "did not answer patch-verify in time"));
	f.done = 0;
	call(&f, "query-vm", WAIT_US); /* the next worker is there for it */
	run_until(&f, &f.done, 1);
	assert_int_equal(f.error.kind, ERR_NONE);
	assert_int_equal(f.ready, 2);
	end(&f);
}

static void test_stop_kills_what_does_not_end(void **state)
{
	struct fixture f;
	uint64_t begun;

	(void)state;
	begin(&f, "stubborn", WAIT_US);
	run_until(&f, &f.ready, 1);
	begun = now_us();
	end(&f);
	assert_true(now_us() - begun >= 50000);
	assert_true(now_us() - begun < WAIT_US);
	assert_int_equal(f.died, 0);
}

static void test_stop_fails_what_waits(void **state)
{
	struct fixture f;
	struct err e;

	(void)state;
	begin(&f, "silent", WAIT_US);
	call(&f, "query-vm", WAIT_US);
	worker_stop(&f.worker, 50000);
	assert_int_equal(f.done, 1);
	assert_int_equal(f.error.kind, ERR_INACTIVE);
	assert_true(worker_call(&f.worker, &f.call, NULL, &e) < 0);
	end(&f);
}

static void test_withdraw_and_limits(void **state)
{
	struct worker_call calls[WORKER_CALLS_MAX + 1];
	struct fixture f;
	struct err e;

	(void)state;
	begin(&f, "silent", WAIT_US);
	for (size_t i = 0; i < WORKER_CALLS_MAX; i++) {
		calls[i] = (struct worker_call){ .command = "query-vm", .budget_us = WAIT_US, .done = on_done };
		assert_int_equal(worker_call(&f.worker, &calls[i], NULL, &e), 0);
	}
	assert_int_equal(worker_call(&f.worker, &calls[WORKER_CALLS_MAX], NULL, &e), -EBUSY);
	for (size_t i = 0; i < WORKER_CALLS_MAX; i++)
		assert_true(worker_call_withdraw(&f.worker, &calls[i]));
	json_t *large = json_object();
	char *text = malloc(QMP_MESSAGE_MAX / 4);
	assert_non_null(text);
	memset(text, 1, QMP_MESSAGE_MAX / 4 - 1); /* each becomes \u0001 */
	text[QMP_MESSAGE_MAX / 4 - 1] = '\0';
	json_object_set_new(large, "text", json_string(text));
	assert_int_equal(worker_call(&f.worker, &calls[0], large, &e), -EMSGSIZE);
	assert_int_equal(e.kind, ERR_USAGE);
	free(text);
	json_decref(large);
	end(&f);
}

static void test_program_that_is_missing(void **state)
{
	struct fixture f;
	struct err e;

	(void)state;
	begin(&f, "ok", WAIT_US);
	end(&f);
	f.config.binary = "/nowhere/vmpoke-vm";
	assert_true(sd_event_new(&f.event) >= 0);
	assert_int_equal(worker_init(&f.worker, f.event, &ops, &f.config, &f.entry), 0);
	assert_int_equal(worker_start(&f.worker, WAIT_US, &e), -ENOENT);
	assert_non_null(strstr(e.text, "/nowhere/vmpoke-vm"));
	f.gone = 0;
	worker_start_or_retry(&f.worker);
	assert_int_equal(f.died, 1);
	end(&f);
}

static void test_back_off_grows_to_its_limit(void **state)
{
	static const unsigned ms[] = { 0, 1000, 2000, 4000, 8000, 16000, 30000, 30000 };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(ms); i++)
		assert_int_equal(worker_backoff_ms(i), ms[i]);
	assert_int_equal(worker_backoff_ms(4000000000u), 30000);
}

/* A number is not a process: only one that was started as the worker of this machine is watched. */
static void test_watch(void **state)
{
	const char *const argv[] = { "/bin/sh", "-c", "read x; true", "sh", "--name", "web1", "--listen-fd", "3", NULL };
	int pipe_fds[2], pidfd = -1, r;
	pid_t pid;

	(void)state;
	assert_int_equal(launch_watch("web1", getpid(), -1, &pidfd), -EPERM); /* ours, and no worker */
	assert_int_equal(launch_watch("web1", 1 << 30, -1, &pidfd), -ESRCH);
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(pipe_fds[0], STDIN_FILENO);
		execv(argv[0], (char *const *)(uintptr_t)argv);
		_exit(1);
	}
	for (int i = 0; (r = launch_watch("web1", pid, -1, &pidfd)) == -EPERM; i++) { /* until it has its arguments */
		assert_true(i < 12000);
		poll(NULL, 0, 5);
	}
	assert_int_equal(r, 0);
	close(pidfd);
	assert_int_equal(launch_watch("web", pid, -1, &pidfd), -EPERM);
	assert_int_equal(launch_watch("web11", pid, -1, &pidfd), -EPERM);
	close(pipe_fds[0]);
	close(pipe_fds[1]); /* it reads the end of its input */
	siginfo_t info;
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(launch_watch("web1", pid, -1, &pidfd), -ESRCH); /* a zombie is over */
	waitpid(pid, NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_call_before_ready_waits),
		cmocka_unit_test(test_never_ready),
		cmocka_unit_test(test_no_answer_in_time),
		cmocka_unit_test(test_stop_kills_what_does_not_end),
		cmocka_unit_test(test_stop_fails_what_waits),
		cmocka_unit_test(test_withdraw_and_limits),
		cmocka_unit_test(test_program_that_is_missing),
		cmocka_unit_test(test_back_off_grows_to_its_limit),
		cmocka_unit_test(test_watch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
