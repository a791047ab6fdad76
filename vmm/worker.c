// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vmpoke-vm: the worker of one VM. Started by vmpoked with one end of a socket
 * pair; ends when the other end closes, after the transaction that is running.
 * Or, with --listen-fd, it is the VMM of its guest itself: then it lives as long as
 * the guest, and vmpoked, which may come and go, connects to it.
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
#include "vmm/worker/confine.h"
#include "vmm/worker/machine.h"
#include "vmm/worker/txlog.h"

#define LOCK_TIMEOUT_US (20u * 1000000u)
#define RECONNECT_MS 2000

static const struct option options[] = {
	{ "name", required_argument, NULL, 'n' },
	{ "qmp", required_argument, NULL, 'q' },
	{ "gdb", required_argument, NULL, 'g' },
	{ "user", required_argument, NULL, 'u' },
	{ "agent", required_argument, NULL, 'A' },
	{ "state-dir", required_argument, NULL, 's' },
	{ "runtime-dir", required_argument, NULL, 'r' },
	{ "images", required_argument, NULL, 'i' },
	{ "control-fd", required_argument, NULL, 'c' },
	{ "listen-fd", required_argument, NULL, 'L' },
	{ "kernel-fd", required_argument, NULL, 'K' },
	{ "initrd-fd", required_argument, NULL, 'I' },
	{ "console-fd", required_argument, NULL, 'O' },
	{ "disk-fd", required_argument, NULL, 'D' }, /* up to MACHINE_DISKS_MAX times */
	{ "kernel", required_argument, NULL, 'k' },
	{ "append", required_argument, NULL, 'a' },
	{ "vcpus", required_argument, NULL, 'p' },
	{ "memory", required_argument, NULL, 'M' },
	{ "list-fault-points", optional_argument, NULL, 'l' }, /* of a mode; without: stopped; rare: those not always passed */
	{ "version", no_argument, NULL, 'v' },
	{ 0 },
};

#ifdef VMPOKE_FAULT_POINTS
static void list(const char *const *points)
{
	for (; *points; points++)
		puts(*points);
}

static const char *const *poke_points(enum poke_mode mode)
{
	switch (mode) {
	case POKE_MODE_FLIPPED:
		return poke_fault_points_flipped;
	case POKE_MODE_STAGED:
	case POKE_MODE_HELD:
		return poke_fault_points_staged;
	default:
		return poke_fault_points;
	}
}
#endif

static int list_fault_points(const char *which)
{
#ifdef VMPOKE_FAULT_POINTS
	int mode = which ? poke_mode_from_name(which) : (int)POKE_MODE_STOPPED;

	if (which && strcmp(which, "rare") == 0) {
		list(poke_fault_points_rare);
		return 0;
	}
	if (mode < 0) {
		fprintf(stderr, "vmpoke-vm: --list-fault-points=flipped, staged, held, stopped or rare\n");
		return 2;
	}
	list(txlog_fault_points((enum poke_mode)mode));
	list(poke_points((enum poke_mode)mode));
	return 0;
#else
	(void)which;
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

static bool user_take(struct session *s, const char *text)
{
	char *end;
	unsigned long long uid = strtoull(text, &end, 10);

	s->target.has_user = true;
	s->target.user = (uid_t)uid;
	return text[0] >= '0' && text[0] <= '9' && !*end && uid < UINT32_MAX;
}

/* Either a VM of another VMM or one of our own. */
static bool options_complete(const struct session *s, const struct machine_options *m, bool listens)
{
	if (!s->target.vm || !patch_name_valid(s->target.vm) || !s->state_dir || !s->target.runtime_dir)
		return false;
	return m->files.kernel >= 0 ? listens && !s->target.qmp : !listens && s->target.qmp;
}

/* Fills the session from argv; returns the control or listening fd, or -1 when something is missing. */
static int parse_options(int argc, char **argv, struct session *s, struct machine_options *m)
{
	bool listens = false;
	int o, fd = -1;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (o) {
		case 'n': s->target.vm = optarg; break;
		case 'q': s->target.qmp = optarg; break;
		case 'g': s->target.gdb = optarg; break;
		case 'u':
			if (!user_take(s, optarg))
				return -1;
			break;
		case 'A':
			if (worker_agent_configure(s, optarg, NULL) < 0)
				return -1;
			break;
		case 's': s->state_dir = optarg; break;
		case 'r': s->target.runtime_dir = optarg; break;
		case 'i': s->images = optarg; break;
		case 'c': fd = parse_fd(optarg); break;
		case 'L':
			fd = parse_fd(optarg);
			listens = true;
			break;
		case 'l': exit(list_fault_points(optarg));
		case 'v': puts("vmpoke-vm " VMPOKE_VERSION); exit(0);
		default:
			if (machine_option_take(m, o, optarg) <= 0)
				return -1;
		}
	}
	return options_complete(s, m, listens) ? fd : -1;
}

/* Until the VM is to be tried again, or the worker rests; -1: for ever. */
static int wait_ms(struct session *s)
{
	int rest_ms = session_rest(s), replacing_ms = replacing_wait_ms(s);
	uint64_t now = now_us();

	if (s->backend)
		return replacing_ms >= 0 && (rest_ms < 0 || replacing_ms < rest_ms) ? replacing_ms : rest_ms;
	int ms = s->attach_due_us > now ? (int)((s->attach_due_us - now) / 1000) + 1 : 0;
	return rest_ms >= 0 && rest_ms < ms ? rest_ms : ms;
}

static void attach_again(struct session *s)
{
	struct err ignored = { 0 };

	if (s->backend || now_us() < s->attach_due_us)
		return;
	session_attach(s, &ignored);
	s->attach_due_us = now_us() + RECONNECT_MS * 1000u;
}

/* Waits for a request, a daemon, an event of the VM, its agent, or the moment to try to reach it again. */
static void wait_for_work(struct session *s)
{
	struct pollfd fds[3] = {
		{ .fd = control_fd(s->control), .events = POLLIN },
		{ .fd = s->backend ? s->backend->ops->event_fd(s->backend) : -1, .events = POLLIN },
	};
	int ms = wait_ms(s);

	worker_agent_poll(s, &fds[2], &ms);
	poll(fds, ARRAY_SIZE(fds), ms);
	attach_again(s);
	if (fds[1].revents)
		session_events(s);
	worker_agent_run(s);
	if (fds[0].revents && control_accept(s->control) > 0)
		session_tell_ready(s);
	session_tell_state(s);
}

static void finish_replacing(struct session *s)
{
	struct err e;

	if (replacing_resume(s, &e) < 0)
		fprintf(stderr, "vmpoke-vm: %s: %s\n", s->target.vm, e.text);
}

static void serve(struct session *s)
{
	struct qmp_request req = { 0 };

	for (;;) {
		finish_replacing(s);
		if (control_read(s->control) < 0 && control_ends(s->control))
			return;
		while (control_next(s->control, &req) > 0) {
			fault_point("forbidden-call");
			command_answer(s, &req);
			qmp_request_clear(&req);
			session_used(s);
		}
		session_compact(s);
		wait_for_work(s);
	}
}

/*
 * What this worker is for decides what it may call: before a byte of a guest, a kernel's file or a monitor
 * is read. The sanitizers' own code makes calls that are in no list (ptrace, for one).
 */
static int cage(const struct session *s, bool own, struct err *e)
{
#if defined(__SANITIZE_ADDRESS__)
	(void)s, (void)own, (void)e;
	return 0;
#else
	unsigned wanted = own ? 1u << CONFINE_MACHINE : 1u << CONFINE_QEMU;

	if (s->agent.addr.kind == AGENT_ADDR_VSOCK)
		wanted |= 1u << CONFINE_VSOCK;
	if (s->agent.addr.kind == AGENT_ADDR_XDP)
		wanted |= 1u << CONFINE_XDP;
	return confine(wanted, s->target.vm, s->control, e);
#endif
}

/* Own VM: it runs when this returns. Another VMM's: reached or not, work can begin. */
static int begin(struct session *s, const struct machine_options *m, struct err *e)
{
	struct err unreachable = { 0 };
	int r = journal_open(s->state_dir, s->target.vm, LOCK_TIMEOUT_US, &s->journal, e);

	if (r == 0)
		r = session_load(s, e);
	if (r < 0)
		return r;
	if (m->files.kernel >= 0)
		return machine_run(s, m, e);
	session_attach(s, &unreachable);
	session_tell_ready(s);
	return 0;
}

/* The journal stays locked to the end: until then the guest is there. */
static void end(struct session *s)
{
	session_clear(s);
	machine_destroy(s->machine);
	journal_close(s->journal);
	control_free(s->control);
}

int main(int argc, char **argv)
{
	struct machine_options machine = { .files = { .kernel = -1, .initrd = -1, .console = -1 } };
	struct session s = { .backend_name = "qemu" };
	struct err e = { 0 };
	int fd = parse_options(argc, argv, &s, &machine);

	if (fd < 0) {
		fprintf(stderr, "vmpoke-vm: started by vmpoked, not by hand; see vmpoke(1)\n");
		return 2;
	}
	if (fault_arm(getenv("VMPOKE_FAULT")) < 0) {
		fprintf(stderr, "vmpoke-vm: VMPOKE_FAULT must be POINT:N or POINT:N:parent\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	bool own = machine.files.kernel >= 0;
	s.control = own ? control_new_listening(fd) : control_new(fd);
	session_init(&s);
	int r = s.control ? cage(&s, own, &e) : err_set(&e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	if (r == 0)
		r = begin(&s, &machine, &e);
	if (r < 0) {
		fprintf(stderr, "vmpoke-vm: %s: %s\n", s.target.vm, e.text);
		if (own && s.control)
			machine_tell_failure(&s, &e);
		end(&s);
		return 1;
	}
	serve(&s);
	end(&s);
	return 0;
}
