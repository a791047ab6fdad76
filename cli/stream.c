// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The loop of verbs that follow vmpoked; see stream.h. Sleeps until something happens:
 * must never poll, nor leave what came unhandled while it sleeps.
 */
#include "cli/stream.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

#include "cli/cli.h"
#include "protocol/client.h"

#define AT_ONCE 256 /* messages between two looks at signals and the time: in a flood both would never come */

static int drained(struct stream *s, struct err *e)
{
	int r = s->drained ? s->drained(s, e) : 0;

	return r < 0 ? r : 0;
}

/* Handles what is there; 0 when there is no more for now, 1 when there may be. */
static int drain(struct cli *c, struct stream *s, struct err *e)
{
	for (int n = 0; n < AT_ONCE; n++) {
		json_auto_t *message = NULL;
		uint64_t serial;
		int r = qmp_client_process(c->client, &message, &serial, e);

		if (r < 0)
			return err_set(e, ERR_UNREACHABLE, -r, "", "vmpoked closed the connection, or broke it: no more events");
		if (r == 0)
			return drained(s, e);
		r = s->message(s, message, e);
		if (r < 0)
			return r;
	}
	int r = drained(s, e);
	return r < 0 ? r : 1;
}

static int left_ms(uint64_t end)
{
	uint64_t now = now_us();

	return now >= end ? 0 : (int)((end - now + 999) / 1000);
}

/* 1: it is to end. */
static int signal_take(struct stream *s, int fd, struct err *e)
{
	struct signalfd_siginfo si;

	if (read(fd, &si, sizeof(si)) != (ssize_t)sizeof(si) || si.ssi_signo != SIGWINCH)
		return 1;
	return s->resized ? s->resized(s, e) : 0;
}

static int loop(struct cli *c, struct stream *s, int signal_fd, struct err *e)
{
	uint64_t end = now_us() + c->options.timeout_ms * 1000;

	for (;;) {
		int more = drain(c, s, e);

		if (more < 0)
			return more;
		if (more > 0 && c->options.has_timeout && left_ms(end) == 0)
			return 0;
		/* Standard output is watched for a reader that went away: there may be no next write to tell. */
		struct pollfd fds[] = {
			{ .fd = qmp_client_fd(c->client), .events = qmp_client_poll_events(c->client) },
			{ .fd = signal_fd, .events = POLLIN },
			{ .fd = STDOUT_FILENO },
		};
		int r = poll(fds, ARRAY_SIZE(fds), more > 0 ? 0 : c->options.has_timeout ? left_ms(end) : -1);
		if (r < 0 && errno != EINTR)
			return err_set(e, ERR_FAILED, errno, "", "poll: %s", strerror(errno));
		if (r == 0 && more == 0)
			return 0;
		if (r > 0 && fds[1].revents) {
			r = signal_take(s, signal_fd, e);
			if (r != 0)
				return r < 0 ? r : 0;
		}
		if (r > 0 && fds[2].revents & (POLLERR | POLLNVAL))
			return err_set(e, ERR_FAILED, EPIPE, "", "cannot write to standard output: %s", strerror(EPIPE));
	}
}

int stream_run(struct cli *c, struct stream *s, struct err *e)
{
	_cleanup_close_ int signal_fd = -1;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGWINCH);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 || (signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
		return err_set(e, ERR_FAILED, errno, "", "cannot watch for signals: %s", strerror(errno));
	int r = cli_connect(c, e);
	return r < 0 ? r : loop(c, s, signal_fd, e);
}
