// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A worker without a VM, for tests of the daemon: takes vmpoke-vm's arguments,
 * speaks its side of the control socket, and misbehaves in the way the VM's name
 * begins with (see behaviours[]). Anything else is an obedient worker: patches
 * are a counter. With --listen-fd it is the worker of a machine: it listens, outlives
 * its daemon for two minutes at most, and tells as "release" what the kernel file begins
 * with, as "version" its command line. Must never be installed.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "protocol/qmp.h"

#define SLOW_MS 1000 /* enough for a test on a busy machine to look at what goes on meanwhile */

enum behaviour {
	OBEDIENT,
	SLOW,	     /* patch-* takes SLOW_MS, or until cancelled */
	DIES,	     /* exits in the middle of patch-apply and of vm-set-agent */
	CRASHES,     /* exits before it is ready */
	SILENT,	     /* never becomes ready */
	UNREACHABLE, /* is ready, its VM is not */
	PATCHED,     /* has a patch applied from the start */
	MUTE,	     /* takes patch-verify and never answers */
	GARBAGE,     /* answers patch-check with something that is no JSON */
	HUGE_REPLY,  /* answers patch-check with 2 MiB */
	FLOOD,	     /* answers patch-check with thousands of events */
	ALIEN,	     /* sends an event about another VM */
	FORGER,	     /* sends an event only the daemon may send */
	LIAR,	     /* answers a question nobody asked */
	STRANGE,     /* query-vm holds wrong types and another VM's name; an error for vm-set-agent */
	DEAF,	     /* stops reading after it is ready */
	LINGERS,     /* needs 300 ms to end */
	STUBBORN,    /* does not end */
	FAILS,	     /* a machine that cannot be made */
	OFF,	     /* its guest powers off at patch-apply */
	RESETS,	     /* its guest is reset at patch-verify */
	BOOTS,	     /* its guest is reset in the middle of the first patch-apply, which fails */
};

static const struct {
	const char *prefix;
	enum behaviour behaviour;
} behaviours[] = {
	{ "slow", SLOW },	  { "dies", DIES },	    { "crashes", CRASHES }, { "silent", SILENT },
	{ "unreachable", UNREACHABLE }, { "patched", PATCHED }, { "mute", MUTE },   { "garbage", GARBAGE },
	{ "huge", HUGE_REPLY },	  { "flood", FLOOD },	    { "alien", ALIEN },	    { "forger", FORGER },
	{ "liar", LIAR },	  { "strange", STRANGE },   { "deaf", DEAF },	    { "lingers", LINGERS },
	{ "stubborn", STUBBORN },  { "fails", FAILS },	    { "off", OFF },	    { "resets", RESETS },
	{ "boots", BOOTS },
};

struct fake {
	const char *name, *qmp, *append;
	char agent[128]; /* where it is told that the agent is; query-vm tells it as "version" */
	int fd, listen_fd, kernel_fd, console_fd;
	bool off;
	enum behaviour behaviour;
	struct qmp_lexer *lexer;
	const char *rest; /* what was read and comes after the request being answered */
	size_t rest_len;
	int patches;
	bool booted;
};

static void send_text(const struct fake *f, char *text)
{
	size_t len = strlen(text);

	for (size_t done = 0; done < len;) {
		ssize_t n = send(f->fd, text + done, len - done, MSG_NOSIGNAL);
		if (n < 0 && f->listen_fd < 0)
			exit(3); /* the daemon is gone */
		if (n < 0)
			break;
		done += (size_t)n;
	}
	free(text);
}

static void send_event(const struct fake *f, const char *name, json_t *data)
{
	send_text(f, qmp_format_event(name, data));
	json_decref(data);
}

static void send_return(const struct fake *f, const char *id, json_t *value)
{
	send_text(f, qmp_format_return(value, id));
	json_decref(value);
}

/* By hand: qmp_format_return() would not make a message of this size. */
static void send_huge(const struct fake *f, const char *id)
{
	size_t len = 2u << 20;
	char *text = malloc(len + 1), *line = NULL;

	if (!text)
		exit(4);
	memset(text, 'x', len);
	text[len] = '\0';
	if (asprintf(&line, "{\"return\": {\"text\": \"%s\"}, \"id\": %s}\r\n", text, id) < 0)
		exit(4);
	free(text);
	send_text(f, line);
}

static void misbehave(const struct fake *f, const char *id)
{
	switch (f->behaviour) {
	case GARBAGE:
		send_text(f, strdup("{\"return\": }}} \xff\r\n"));
		break;
	case HUGE_REPLY:
		send_huge(f, id);
		break;
	case FLOOD:
		for (int i = 0; i < 5000; i++)
			send_event(f, "PATCH_STATUS_CHANGE", json_pack("{s:s, s:s, s:s}", "vm", f->name, "patch", "p", "state", "applied"));
		break;
	case ALIEN:
		send_event(f, "VM_STATE_CHANGE", json_pack("{s:s, s:s}", "vm", "another", "state", "running"));
		break;
	case FORGER:
		send_event(f, "VM_REMOVED", json_pack("{s:s}", "vm", f->name));
		break;
	case LIAR:
		send_return(f, "424242", json_object());
		break;
	default:
		break;
	}
}

static json_t *describe_machine(const struct fake *f)
{
	char text[16] = "";

	if (pread(f->kernel_fd, text, sizeof(text) - 1, 0) < 0)
		exit(4);
	text[strcspn(text, "\n")] = '\0';
	return json_pack("{s:s, s:s, s:i, s:i, s:s, s:s, s:s, s:s}", "name", f->name, "state", f->off ? "shutdown" : "running",
			 "patches", f->patches, "pid", (int)getpid(), "release", text, "version", f->append, "qmp", "/forged",
			 "kind", "qemu");
}

static json_t *describe(const struct fake *f)
{
	if (f->listen_fd >= 0)
		return describe_machine(f);
	if (f->behaviour == STRANGE)
		return json_pack("{s:s, s:i, s:s, s:{}, s:s}", "name", "another", "state", 7, "secret", "x", "vcpus",
				 "release", "6.1.0-fake");
	return json_pack("{s:s, s:s, s:s, s:i, s:i, s:s, s:s, s:s}", "name", f->name, "qmp", f->qmp, "state",
			 f->behaviour == UNREACHABLE ? "unreachable" : "running", "patches", f->patches, "pid",
			 (int)getpid(), "accel", "fake", "release", "6.1.0-fake", "version", f->agent);
}

static json_t *list_patches(const struct fake *f)
{
	json_t *list = json_array();

	for (int i = 0; i < f->patches; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:[]}", "name", "p", "state", "applied",
						      "applied_at", 1, "sites"));
	return json_pack("{s:s, s:s, s:o}", "vm", f->name, "release", "6.1.0-fake", "patches", list);
}

/*
 * Reads what is there; true when it holds a job-cancel. Whatever else comes meanwhile breaks the contract.
 * A cancel may also have come together with the request: feed() will answer that one.
 */
static bool cancelled(struct fake *f, int wait_ms)
{
	struct pollfd pfd = { .fd = f->fd, .events = POLLIN };
	char buf[4096];

	if (memmem(f->rest, f->rest_len, "\"job-cancel\"", strlen("\"job-cancel\"")))
		return true;
	if (poll(&pfd, 1, wait_ms) <= 0)
		return false;
	ssize_t n = recv(f->fd, buf, sizeof(buf) - 1, 0);
	if (n <= 0)
		exit(0);
	buf[n] = '\0';
	if (!strstr(buf, "\"job-cancel\""))
		exit(5);
	send_return(f, "\"cancel\"", json_object());
	return true;
}

static void reset(struct fake *f)
{
	if (f->patches)
		send_event(f, "PATCH_STATUS_CHANGE", json_pack("{s:s, s:s, s:s}", "vm", f->name, "patch", "p", "state", "lost"));
	f->patches = 0;
	send_event(f, "GUEST_RESET", json_pack("{s:s}", "vm", f->name));
}

static void change(struct fake *f, const char *id, const char *state, json_t *args)
{
	struct err e;

	if (f->behaviour == DIES)
		_exit(9);
	if (f->behaviour == SLOW && cancelled(f, SLOW_MS)) {
		err_set(&e, ERR_FAILED, ECANCELED, "cancelled", "cancelled; nothing was changed");
		send_text(f, qmp_format_error(&e, id));
		return;
	}
	if (f->behaviour == BOOTS && !f->booted) {
		f->booted = true;
		reset(f);
		err_set(&e, ERR_REFUSED, ESTALE, "boot", "the guest booted anew");
		send_text(f, qmp_format_error(&e, id));
		return;
	}
	if (f->behaviour == OFF) {
		f->off = true;
		send_event(f, "VM_STATE_CHANGE", json_pack("{s:s, s:s, s:s}", "vm", f->name, "state", "shutdown", "reason",
							   "the guest powered off"));
	}
	f->patches += strcmp(state, "applied") == 0 ? 1 : -1;
	send_event(f, "PATCH_STATUS_CHANGE", json_pack("{s:s, s:s, s:s}", "vm", f->name, "patch", "p", "state", state));
	send_return(f, id, json_pack("{s:s, s:s, s:b, s:O}", "vm", f->name, "state", state, "changed", 1, "echo", args));
}

/* Tells how far it is, and counts until it is cancelled. */
static void count_hits(struct fake *f, const char *id)
{
	send_event(f, "COUNT_PROGRESS", json_pack("{s:s, s:i}", "vm", f->name, "hits", 1));
	send_event(f, "JOB_PROGRESS", json_pack("{s:s, s:s}", "vm", f->name, "phase", "check"));
	cancelled(f, 60000);
	send_return(f, id, json_pack("{s:s, s:i, s:s}", "vm", f->name, "hits", 2, "ended", "asked"));
}

static void set_agent(struct fake *f, const struct qmp_request *req)
{
	if (f->behaviour == DIES)
		_exit(9);
	snprintf(f->agent, sizeof(f->agent), "%s", json_string_value(json_object_get(req->args, "agent")));
	send_return(f, req->id, json_object());
}

static void answer(struct fake *f, const struct qmp_request *req)
{
	const char *c = req->execute;
	struct err e;

	if (strcmp(c, "query-vm") == 0) {
		send_return(f, req->id, describe(f));
	} else if (strcmp(c, "vm-count") == 0) {
		count_hits(f, req->id);
	} else if (strcmp(c, "query-patches") == 0) {
		send_return(f, req->id, list_patches(f));
	} else if (strcmp(c, "patch-apply") == 0) {
		change(f, req->id, "applied", req->args);
	} else if (strcmp(c, "patch-revert") == 0) {
		change(f, req->id, "reverted", req->args);
	} else if (strcmp(c, "patch-check") == 0) {
		misbehave(f, req->id);
		send_return(f, req->id, json_pack("{s:s, s:O}", "vm", f->name, "echo", req->args));
	} else if (strcmp(c, "vm-set-agent") == 0 && f->behaviour != STRANGE) {
		set_agent(f, req);
	} else if (strcmp(c, "query-symbols") == 0 || strcmp(c, "vm-set-agent") == 0) {
		err_set(&e, ERR_NOT_FOUND, ENOENT, "unknown-symbol", "there is no symbol 'x'");
		send_text(f, qmp_format_error(&e, req->id));
	} else if (f->behaviour != MUTE) {
		if (f->behaviour == RESETS && strcmp(c, "patch-verify") == 0)
			reset(f);
		send_return(f, req->id, json_pack("{s:s, s:b}", "vm", f->name, "ok", 1));
	}
}

static void feed(struct fake *f, const char *buf, size_t len)
{
	struct qmp_frame frame;
	struct err e;

	for (size_t done = 0; done < len;) {
		struct qmp_request req;
		ssize_t n = qmp_lexer_feed(f->lexer, buf + done, len - done, &frame);
		if (n < 0)
			exit(6);
		done += (size_t)n;
		if (frame.kind == QMP_FRAME_NONE)
			continue;
		if (frame.kind == QMP_FRAME_ERROR || qmp_request_parse(&frame, &req, &e) < 0)
			exit(7); /* the daemon broke the contract */
		f->rest = buf + done;
		f->rest_len = len - done;
		if (strcmp(req.execute, "job-cancel") != 0) /* else: it came too late */
			answer(f, &req);
		else
			send_return(f, req.id, json_object());
		qmp_request_clear(&req);
	}
}

static void parse_options(int argc, char **argv, struct fake *f)
{
	static const struct option options[] = {
		{ "name", required_argument, NULL, 'n' },      { "qmp", required_argument, NULL, 'q' },
		{ "gdb", required_argument, NULL, 'g' },       { "state-dir", required_argument, NULL, 's' },
		{ "runtime-dir", required_argument, NULL, 'r' }, { "control-fd", required_argument, NULL, 'c' },
		{ "images", required_argument, NULL, 'i' },
		{ "listen-fd", required_argument, NULL, 'L' },	 { "kernel-fd", required_argument, NULL, 'K' },
		{ "initrd-fd", required_argument, NULL, 'I' },	 { "console-fd", required_argument, NULL, 'O' },
		{ "disk-fd", required_argument, NULL, 'D' },
		{ "kernel", required_argument, NULL, 'k' },	 { "append", required_argument, NULL, 'a' },
		{ "vcpus", required_argument, NULL, 'p' },	 { "memory", required_argument, NULL, 'M' },
		{ "agent", required_argument, NULL, 'A' },
		{ 0 },
	};
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (o == 'n')
			f->name = optarg;
		else if (o == 'q')
			f->qmp = optarg;
		else if (o == 'c')
			f->fd = atoi(optarg);
		else if (o == 'L')
			f->listen_fd = atoi(optarg);
		else if (o == 'K')
			f->kernel_fd = atoi(optarg);
		else if (o == 'O')
			f->console_fd = atoi(optarg);
		else if (o == 'a')
			f->append = optarg;
		else if (o == 'A')
			snprintf(f->agent, sizeof(f->agent), "%s", optarg);
		else if (o == '?')
			exit(2);
	}
	if (!f->name || (f->listen_fd < 0 && (!f->qmp || f->fd < 3)) || (f->listen_fd >= 0 && f->kernel_fd < 3))
		exit(2);
}

static void begin(struct fake *f)
{
	for (size_t i = 0; i < ARRAY_SIZE(behaviours); i++)
		if (strncmp(f->name, behaviours[i].prefix, strlen(behaviours[i].prefix)) == 0)
			f->behaviour = behaviours[i].behaviour;
	f->patches = f->behaviour == PATCHED;
	if (f->behaviour == CRASHES)
		exit(8);
}

static void tell_ready(const struct fake *f)
{
	const char *state = f->behaviour == UNREACHABLE ? "unreachable" : f->off ? "shutdown" : "running";

	if (f->behaviour != SILENT)
		send_event(f, "WORKER_READY",
			   json_pack("{s:s, s:s, s:i}", "vm", f->name, "state", state, "recovered", 0));
}

static void converse(struct fake *f)
{
	char buf[4096];
	ssize_t n;

	tell_ready(f);
	while ((n = recv(f->fd, buf, sizeof(buf), 0)) > 0)
		feed(f, buf, (size_t)n);
}

/* One daemon after the other. */
static void live(struct fake *f)
{
	struct err e;

	alarm(120); /* tests must not leave processes for ever */
	if (listen(f->listen_fd, 4) < 0)
		exit(4);
	if (f->console_fd >= 0 && write(f->console_fd, "hello\n", 6) != 6)
		exit(4);
	while ((f->fd = accept(f->listen_fd, NULL, NULL)) >= 0) {
		if (f->behaviour == FAILS) {
			err_set(&e, ERR_FAILED, EACCES, "no-kvm", "/dev/kvm: Permission denied");
			send_event(f, "WORKER_FAILED", json_pack("{s:s, s:o}", "vm", f->name, "error", qmp_error_to_json(&e)));
			exit(1);
		}
		converse(f);
		close(f->fd);
		qmp_lexer_free(f->lexer);
		f->lexer = qmp_lexer_new();
	}
}

int main(int argc, char **argv)
{
	struct fake f = { .fd = -1, .listen_fd = -1, .kernel_fd = -1, .console_fd = -1, .append = "" };

	parse_options(argc, argv, &f);
	f.lexer = qmp_lexer_new();
	begin(&f);
	if (f.listen_fd >= 0) {
		signal(SIGPIPE, SIG_IGN);
		live(&f);
	}
	if (f.behaviour == DEAF) {
		tell_ready(&f);
		poll(&(struct pollfd){ .fd = f.fd }, 1, -1); /* until the daemon hangs up */
	}
	if (f.behaviour != DEAF)
		converse(&f);
	if (f.behaviour == LINGERS)
		poll(NULL, 0, 300);
	else if (f.behaviour == STUBBORN)
		poll(NULL, 0, 20000); /* tests must not leave processes for ever */
	qmp_lexer_free(f.lexer);
	return 0;
}
