// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vmpoked, the service: options, signals, the event loop. The only place of the
 * daemon that reads the environment or decides on an exit code. Nothing but
 * --help and --version ever goes to stdout.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#include "protocol/util.h"
#include "vmm/control/daemon.h"
#include "vmm/control/log.h"

#define CLIENT_STALL_S 30

struct arguments {
	struct daemon_options daemon;
	int log_level;
	bool foreground;
	char worker[PATH_MAX];
};

static const struct option options[] = {
	{ "state-dir", required_argument, NULL, 's' },
	{ "runtime-dir", required_argument, NULL, 'r' },
	{ "foreground", no_argument, NULL, 'f' },
	{ "worker", required_argument, NULL, 'w' },
	{ "log-level", required_argument, NULL, 'l' },
	{ "client-timeout", required_argument, NULL, 't' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'v' },
	{ 0 },
};

static const char usage_text[] =
	"Usage: vmpoked [OPTION...]\n"
	"Serves vmpoke on RUNTIME/control.sock and, for reading, RUNTIME/control-ro.sock.\n\n"
	"  --state-dir DIR           registry and journals (default /var/lib/vmpoke)\n"
	"  --runtime-dir DIR         sockets (default /run/vmpoke)\n"
	"  --foreground              log to stderr instead of the journal\n"
	"  --worker PATH             the worker program (default: vmpoke-vm beside vmpoked)\n"
	"  --log-level LEVEL         error, warning, notice, info (default) or debug\n"
	"  --client-timeout SECONDS  drop a client that does not read for so long (default 30)\n"
	"  --help, --version\n";

static int usage_error(const char *what, const char *text)
{
	fprintf(stderr, "vmpoked: %s '%s'; see vmpoked --help\n", what, text);
	return -EINVAL;
}

/* getopt_long() takes any unique prefix; a later option would silently change what a script means. */
static bool is_abbreviation(const char *word, const char *name)
{
	size_t len = strcspn(word, "=");

	return strncmp(word, "--", 2) == 0 && (len != strlen(name) + 2 || strncmp(word + 2, name, len - 2) != 0);
}

static int parse_seconds(const char *text, uint64_t *ret_us)
{
	char *end;

	errno = 0;
	unsigned long s = strtoul(text, &end, 10);
	if (errno || *end || end == text || text[0] == '-' || s < 1 || s > 86400)
		return usage_error("--client-timeout must be 1 to 86400 seconds, not", text);
	*ret_us = s * 1000000ull;
	return 0;
}

/* 0, 1 when done with --help or --version, or -EINVAL. */
static int take_option(int o, struct arguments *a)
{
	switch (o) {
	case 's': a->daemon.state_dir = optarg; return 0;
	case 'r': a->daemon.runtime_dir = optarg; return 0;
	case 'w': a->daemon.worker = optarg; return 0;
	case 'f': a->foreground = true; return 0;
	case 't': return parse_seconds(optarg, &a->daemon.client_stall_us);
	case 'l':
		a->log_level = log_level_parse(optarg);
		return a->log_level < 0 ? usage_error("unknown log level", optarg) : 0;
	case 'h': fputs(usage_text, stdout); return 1;
	case 'v': puts("vmpoked " VMPOKE_VERSION); return 1;
	default: return -EINVAL; /* getopt_long() has said why */
	}
}

static int parse_arguments(int argc, char **argv, struct arguments *a)
{
	for (;;) {
		const char *word = argv[optind];
		int index = 0, o = getopt_long(argc, argv, "+", options, &index);
		if (o == -1)
			break;
		if (o != '?' && is_abbreviation(word, options[index].name))
			return usage_error("options cannot be abbreviated:", word);
		int r = take_option(o, a);
		if (r != 0)
			return r;
	}
	return optind < argc ? usage_error("unexpected argument", argv[optind]) : 0;
}

/* Beside our own program, as built and as installed; else where it is installed. */
static void find_worker(struct arguments *a)
{
	ssize_t n = readlink("/proc/self/exe", a->worker, sizeof(a->worker) - sizeof("vmpoke-vm"));
	char *slash = NULL;

	if (a->daemon.worker)
		return;
	if (n > 0) {
		a->worker[n] = '\0';
		slash = strrchr(a->worker, '/');
	}
	if (slash)
		strcpy(slash + 1, "vmpoke-vm");
	if (!slash || access(a->worker, X_OK) < 0)
		strcpy(a->worker, VMPOKE_LIBEXECDIR "/vmpoke-vm");
	a->daemon.worker = a->worker;
}

/* JOURNAL_STREAM is inherited by anything a service starts: it counts only if it names our own stderr. */
static bool stderr_is_journal(void)
{
	const char *text = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return text && sscanf(text, "%llu:%llu", &dev, &ino) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
	       st.st_dev == dev && st.st_ino == ino;
}

static int on_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
	struct daemon *d = userdata;

	(void)s;
	log_msg(LOG_INFO, NULL, "ending on %s", si->ssi_signo == SIGINT ? "SIGINT" : "SIGTERM");
	sd_notify(0, "STOPPING=1");
	daemon_stop(d);
	return 0;
}

/* Blocked before anything is started: sd-event takes them from signalfd and pidfd. */
static int event_new(sd_event **ret, struct daemon *d)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	int r = sd_event_default(ret);
	if (r >= 0) /* WATCHDOG_USEC of the service manager: pinged as long as the loop goes round */
		r = sd_event_set_watchdog(*ret, true);
	if (r >= 0)
		r = sd_event_add_signal(*ret, NULL, SIGINT, on_signal, d);
	if (r >= 0)
		r = sd_event_add_signal(*ret, NULL, SIGTERM, on_signal, d);
	return r;
}

/* What the service manager passes, also in the environment, is not for the workers. */
static int sockets_find(struct activation *ret, struct err *e)
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(true, &names);
	int r = n < 0 ? err_set(e, ERR_FAILED, -n, NULL, "cannot read LISTEN_FDS: %s", strerror(-n)) :
			activation_sort(SD_LISTEN_FDS_START, n, names, ret, e);

	for (char **name = names; name && *name; name++)
		free(*name);
	free(names);
	return r;
}

static int serve(const struct arguments *a)
{
	struct daemon daemon = { 0 };
	sd_event *event = NULL;
	struct err e;

	int r = event_new(&event, &daemon);
	if (r < 0) {
		log_msg(LOG_ERR, NULL, "no event loop: %s", strerror(-r));
	} else {
		r = daemon_start(&daemon, event, &a->daemon, &e);
		if (r < 0) {
			log_msg(LOG_ERR, NULL, "%s", e.text);
		} else {
			sd_notifyf(0, "READY=1\nSTATUS=%zu VMs registered", daemon.n_vms);
			log_msg(LOG_INFO, NULL, "ready, %zu VMs registered", daemon.n_vms);
			r = sd_event_loop(event);
			if (r < 0)
				log_msg(LOG_ERR, NULL, "the event loop failed: %s", strerror(-r));
		}
		daemon_done(&daemon);
	}
	sd_event_unref(event);
	return r < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct arguments a = {
		.daemon = { .state_dir = "/var/lib/vmpoke", .runtime_dir = "/run/vmpoke",
			    .client_stall_us = CLIENT_STALL_S * 1000000ull },
		.log_level = LOG_INFO,
	};

	struct err e;

	int r = parse_arguments(argc, argv, &a);
	if (r != 0)
		return r < 0 ? 2 : 0;
	find_worker(&a);
	signal(SIGPIPE, SIG_IGN); /* a log reader that went away must not end the service */
	enum log_target target = !a.foreground ? LOG_TARGET_JOURNAL :
		stderr_is_journal() ? LOG_TARGET_STDERR_PRIORITY : LOG_TARGET_STDERR;
	log_setup(target, a.log_level);
	if (sockets_find(&a.daemon.passed, &e) < 0) {
		log_msg(LOG_ERR, NULL, "%s", e.text);
		return 1;
	}
	return serve(&a);
}
