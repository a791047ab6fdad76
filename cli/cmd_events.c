// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * events: prints what vmpoked announces until a signal, --timeout, or the end
 * of the connection. One line per event, flushed at once: a pipe reads it live.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

#include "cli/cli.h"
#include "protocol/client.h"

static void data_print(struct cli *c, json_t *data)
{
	const char *key;
	json_t *value;

	json_object_foreach(data, key, value) {
		const char *shown = output_field(&c->out, data, key);

		fprintf(c->out.stream, strchr(shown, ' ') ? " %s=\"%s\"" : " %s=%s", output_safe(&c->out, key), shown);
	}
}

static int event_print(struct cli *c, json_t *event, struct err *e)
{
	struct output *o = &c->out;

	if (c->options.json) {
		output_json(o, event);
	} else {
		fprintf(o->stream, "%s %s%s%s", output_time(o, output_int(json_object_get(event, "timestamp"), "seconds")),
			output_on(o, OUTPUT_LABEL), output_field(o, event, "event"), output_off(o));
		data_print(c, json_object_get(event, "data"));
		fputc('\n', o->stream);
		output_clear(o); /* a stream has no end: do not keep its strings */
	}
	return output_flush(o, e);
}

/* Prints all that is there; 0 when there is no more for now. */
static int events_drain(struct cli *c, struct err *e)
{
	for (;;) {
		json_auto_t *message = NULL;
		uint64_t serial;
		int r = qmp_client_process(c->client, &message, &serial, e);

		if (r < 0)
			return err_set(e, ERR_UNREACHABLE, -r, "", "vmpoked closed the connection, or broke it: no more events");
		if (r == 0)
			return 0;
		if (json_object_get(message, "event"))
			r = event_print(c, message, e);
		if (r < 0)
			return r;
	}
}

static int left_ms(uint64_t end)
{
	uint64_t now = now_us();

	return now >= end ? 0 : (int)((end - now + 999) / 1000);
}

/* 0 when a signal or the time-out ended it. */
static int events_loop(struct cli *c, int signal_fd, struct err *e)
{
	uint64_t end = now_us() + c->options.timeout_ms * 1000;

	for (;;) {
		/* Standard output is watched for a reader that went away: there may be no next write to tell. */
		struct pollfd fds[] = {
			{ .fd = qmp_client_fd(c->client), .events = POLLIN },
			{ .fd = signal_fd, .events = POLLIN },
			{ .fd = STDOUT_FILENO },
		};
		int r = events_drain(c, e);

		if (r < 0)
			return r;
		r = poll(fds, ARRAY_SIZE(fds), c->options.has_timeout ? left_ms(end) : -1);
		if (r < 0 && errno != EINTR)
			return err_set(e, ERR_FAILED, errno, "", "poll: %s", strerror(errno));
		if (r == 0 || (r > 0 && fds[1].revents))
			return 0;
		if (r > 0 && fds[2].revents & (POLLERR | POLLNVAL))
			return err_set(e, ERR_FAILED, EPIPE, "", "cannot write to standard output: %s", strerror(EPIPE));
	}
}

int cmd_events(struct cli *c)
{
	_cleanup_close_ int signal_fd = -1;
	struct err e = { 0 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 || (signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0) {
		err_set(&e, ERR_FAILED, errno, "", "cannot watch for signals: %s", strerror(errno));
		return cli_fail(c, &e);
	}
	if (cli_connect(c, &e) < 0 || events_loop(c, signal_fd, &e) < 0)
		return cli_fail(c, &e);
	return 0;
}
