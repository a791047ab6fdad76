// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vmpoke-vm: the worker of one VM. Started by vmpoked with one end of a socket
 * pair; ends when the other end closes, after the transaction that is running.
 * A hostile guest that breaks a parser breaks only this process.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "vmm/fault.h"
#include "vmm/worker/commands.h"
#include "vmm/worker/txlog.h"

#define LOCK_TIMEOUT_US (20u * 1000000u)
#define RECONNECT_MS 2000

extern const char *const poke_fault_points[];

static const struct option options[] = {
	{ "name", required_argument, NULL, 'n' },
	{ "qmp", required_argument, NULL, 'q' },
	{ "gdb", required_argument, NULL, 'g' },
	{ "state-dir", required_argument, NULL, 's' },
	{ "runtime-dir", required_argument, NULL, 'r' },
	{ "control-fd", required_argument, NULL, 'c' },
	{ "list-fault-points", no_argument, NULL, 'l' },
	{ "version", no_argument, NULL, 'v' },
	{ 0 },
};

static int list_fault_points(void)
{
#ifdef VMPOKE_FAULT_POINTS
	for (const char *const *p = txlog_fault_points; *p; p++)
		puts(*p);
	for (const char *const *p = poke_fault_points; *p; p++)
		puts(*p);
	return 0;
#else
	fprintf(stderr, "vmpoke-vm: this build has no fault points; use the one under build/test\n");
	return 1;
#endif
}

static int parse_fd(const char *text)
{
	char *end;
	long fd = strtol(text, &end, 10);

	return *text && !*end && fd >= 0 && fd < 65536 ? (int)fd : -1;
}

/* Fills the session from argv; returns the control fd, or -1 when something is missing. */
static int parse_options(int argc, char **argv, struct session *s)
{
	int o, fd = -1;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (o) {
		case 'n': s->target.vm = optarg; break;
		case 'q': s->target.qmp = optarg; break;
		case 'g': s->target.gdb = optarg; break;
		case 's': s->state_dir = optarg; break;
		case 'r': s->target.runtime_dir = optarg; break;
		case 'c': fd = parse_fd(optarg); break;
		case 'l': exit(list_fault_points());
		case 'v': puts("vmpoke-vm " VMPOKE_VERSION); exit(0);
		default: return -1;
		}
	}
	if (!s->target.vm || !patch_name_valid(s->target.vm) || !s->target.qmp || !s->state_dir ||
	    !s->target.runtime_dir)
		return -1;
	return fd;
}

/* Waits for a request, an event of the VM, or the moment to try to reach it again. */
static void wait_for_work(struct session *s)
{
	struct pollfd fds[2] = {
		{ .fd = control_fd(s->control), .events = POLLIN },
		{ .fd = s->backend ? s->backend->ops->event_fd(s->backend) : -1, .events = POLLIN },
	};
	struct err ignored = { 0 };

	int n = poll(fds, ARRAY_SIZE(fds), s->backend ? -1 : RECONNECT_MS);
	if (n == 0)
		session_attach(s, &ignored);
	if (fds[1].revents)
		session_events(s);
	session_tell_state(s);
}

static void serve(struct session *s)
{
	struct qmp_request req = { 0 };

	for (;;) {
		if (control_read(s->control) < 0)
			return;
		while (control_next(s->control, &req) > 0) {
			command_answer(s, &req);
			qmp_request_clear(&req);
		}
		session_compact(s);
		wait_for_work(s);
	}
}

int main(int argc, char **argv)
{
	struct session s = { .backend_name = "qemu" };
	struct err e = { 0 };
	int fd = parse_options(argc, argv, &s);

	if (fd < 0) {
		fprintf(stderr, "vmpoke-vm: started by vmpoked, not by hand; see vmpoke(1)\n");
		return 2;
	}
	if (fault_arm(getenv("VMPOKE_FAULT")) < 0) {
		fprintf(stderr, "vmpoke-vm: VMPOKE_FAULT must be POINT:N or POINT:N:parent\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	s.control = control_new(fd);
	session_init(&s);
	int r = s.control ? journal_open(s.state_dir, s.target.vm, LOCK_TIMEOUT_US, &s.journal, &e)
			  : err_set(&e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	if (r == 0)
		r = session_load(&s, &e);
	if (r < 0) {
		fprintf(stderr, "vmpoke-vm: %s: %s\n", s.target.vm, e.text);
		return 1;
	}
	session_attach(&s, &e);
	session_tell_ready(&s);
	serve(&s);
	session_clear(&s);
	journal_close(s.journal);
	control_free(s.control);
	return 0;
}
