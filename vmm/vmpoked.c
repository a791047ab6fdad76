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

#define CONFIG_DEFAULT "/etc/vmpoke/vmpoked.conf"
#define KEYS_DEFAULT   "/etc/vmpoke/keys.d"

/* What the command line says; NULL, 0 or -1 where it says nothing and the configuration may. */
struct arguments {
	struct daemon_options daemon;
	int log_level;
	bool foreground, check_config;
	const char *config, *keys_dir;
	char worker[PATH_MAX];
};

/* For SIGHUP. */
struct service {
	struct daemon daemon;
	const struct arguments *arguments;
};

static const struct option options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "check-config", no_argument, NULL, 'C' },
	{ "keys-dir", required_argument, NULL, 'k' },
	{ "state-dir", required_argument, NULL, 's' },
	{ "runtime-dir", required_argument, NULL, 'r' },
	{ "images", required_argument, NULL, 'i' },
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
	"  --config FILE             configuration and policy (default " CONFIG_DEFAULT ", if it is there)\n"
	"  --check-config            read the configuration and the keys, say what is wrong with them, and end\n"
	"  --keys-dir DIR            whose signatures count: public keys of minisign, *.pub (default " KEYS_DEFAULT ")\n"
	"  --state-dir DIR           registry and journals (default /var/lib/vmpoke)\n"
	"  --runtime-dir DIR         sockets (default /run/vmpoke)\n"
	"  --images DIR              files of guests' kernels, by build-id, for kinds that need them\n"
	"  --foreground              log to stderr instead of the journal\n"
	"  --worker PATH             the worker program (default: vmpoke-vm beside vmpoked)\n"
	"  --log-level LEVEL         error, warning, notice, info (default) or debug\n"
	"  --client-timeout SECONDS  drop a client that does not read for so long (default 30)\n"
	"  --help, --version\n\n"
	"Options override the configuration. SIGHUP re-reads policy and keys.\n";

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
	if (config_seconds_parse(text, ret_us) < 0)
		return usage_error("--client-timeout must be 1 to 86400 seconds, not", text);
	return 0;
}

/* 0, 1 when done with --help or --version, or -EINVAL. */
static int take_option(int o, struct arguments *a)
{
	switch (o) {
	case 'c': a->config = optarg; return 0;
	case 'C': a->check_config = true; return 0;
	case 'k': a->keys_dir = optarg; return 0;
	case 's': a->daemon.state_dir = optarg; return 0;
	case 'r': a->daemon.runtime_dir = optarg; return 0;
	case 'w': a->daemon.worker = optarg; return 0;
	case 'i': a->daemon.images = optarg; return 0;
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

static const char *given(const char *argument, const char *configured, const char *otherwise)
{
	return argument ? argument : configured[0] ? configured : otherwise;
}

/* Configuration and keys, or neither. */
static int settings_load(const struct arguments *a, struct config **ret_config, struct keys **ret_keys, struct err *e)
{
	_cleanup_(config_free) struct config *c = NULL;
	int r = config_load(a->config ? a->config : CONFIG_DEFAULT, a->config, &c, e);

	if (r < 0)
		return r;
	r = keys_load(given(a->keys_dir, c->keys_dir, KEYS_DEFAULT), ret_keys, e);
	if (r < 0)
		return r;
	*ret_config = TAKE_PTR(c);
	return 0;
}

/* What the command line leaves open. The strings are the configuration's, which reloading replaces: copied. */
static void settings_apply(struct arguments *a, const struct config *c)
{
	static char state_dir[PATH_MAX], runtime_dir[PATH_MAX], worker[PATH_MAX];

	snprintf(state_dir, sizeof(state_dir), "%s", given(a->daemon.state_dir, c->state_dir, "/var/lib/vmpoke"));
	snprintf(runtime_dir, sizeof(runtime_dir), "%s", given(a->daemon.runtime_dir, c->runtime_dir, "/run/vmpoke"));
	a->daemon.state_dir = state_dir;
	a->daemon.runtime_dir = runtime_dir;
	a->daemon.read_only_mode = c->read_only_mode ? c->read_only_mode : 0666;
	if (!a->daemon.client_stall_us)
		a->daemon.client_stall_us = c->client_stall_us ? c->client_stall_us : CLIENT_STALL_S * 1000000ull;
	if (!a->daemon.worker && c->worker[0]) {
		snprintf(worker, sizeof(worker), "%s", c->worker);
		a->daemon.worker = worker;
	}
	if (a->log_level < 0)
		a->log_level = c->log_level < 0 ? LOG_INFO : c->log_level;
}

/* The same while the daemon runs: a policy that was deleted is not one that allows everything. */
static int settings_reload(struct service *service, struct config **ret_config, struct keys **ret_keys, struct err *e)
{
	struct config *c = NULL;
	struct keys *keys = NULL;
	int r = settings_load(service->arguments, &c, &keys, e);

	if (r == 0)
		r = config_may_replace(service->daemon.config, c, e);
	if (r < 0) {
		config_free(c);
		free(keys);
		return r;
	}
	*ret_config = c;
	*ret_keys = keys;
	return 0;
}

/* Policy and keys are taken over; what is said once at the start stays. A bad file changes nothing. */
static int on_reload(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
	struct service *service = userdata;
	struct config *config = NULL;
	struct keys *keys = NULL;
	struct err e;

	(void)s, (void)si;
	if (settings_reload(service, &config, &keys, &e) < 0) {
		log_msg(LOG_ERR, NULL, "SIGHUP: %s; policy and keys stay as they were", e.text);
		sd_notifyf(0, "STATUS=policy and keys are those of before: %s", e.text);
		return 0;
	}
	sd_notifyf(0, "STATUS=%zu VMs registered", service->daemon.n_vms);
	log_msg(LOG_NOTICE, NULL, "SIGHUP: policy with %zu [allow] sections and %zu keys from now on", config->policy.n_rules, keys->n);
	daemon_reconfigure(&service->daemon, config, keys);
	return 0;
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
static int event_new(sd_event **ret, struct service *service)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	int r = sd_event_default(ret);
	if (r >= 0) /* WATCHDOG_USEC of the service manager: pinged as long as the loop goes round */
		r = sd_event_set_watchdog(*ret, true);
	if (r >= 0)
		r = sd_event_add_signal(*ret, NULL, SIGINT, on_signal, &service->daemon);
	if (r >= 0)
		r = sd_event_add_signal(*ret, NULL, SIGTERM, on_signal, &service->daemon);
	if (r >= 0)
		r = sd_event_add_signal(*ret, NULL, SIGHUP, on_reload, service);
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
	struct service service = { .arguments = a };
	sd_event *event = NULL;
	struct err e;

	int r = event_new(&event, &service);
	if (r < 0) {
		log_msg(LOG_ERR, NULL, "no event loop: %s", strerror(-r));
	} else {
		r = daemon_start(&service.daemon, event, &a->daemon, &e);
		if (r < 0) {
			log_msg(LOG_ERR, NULL, "%s", e.text);
		} else {
			sd_notifyf(0, "READY=1\nSTATUS=%zu VMs registered", service.daemon.n_vms);
			log_msg(LOG_INFO, NULL, "ready, %zu VMs registered", service.daemon.n_vms);
			r = sd_event_loop(event);
			if (r < 0)
				log_msg(LOG_ERR, NULL, "the event loop failed: %s", strerror(-r));
		}
		daemon_done(&service.daemon);
	}
	sd_event_unref(event);
	return r < 0 ? 1 : 0;
}

static int check_config(struct arguments *a)
{
	struct err e;

	if (settings_load(a, &a->daemon.config, &a->daemon.keys, &e) < 0) {
		fprintf(stderr, "vmpoked: %s\n", e.text);
		return 1;
	}
	printf("policy with %zu [allow] sections, %zu keys\n", a->daemon.config->policy.n_rules, a->daemon.keys->n);
	config_free(a->daemon.config);
	free(a->daemon.keys);
	return 0;
}

int main(int argc, char **argv)
{
	struct arguments a = { .log_level = -1 };
	struct err e;

	int r = parse_arguments(argc, argv, &a);
	if (r != 0)
		return r < 0 ? 2 : 0;
	if (a.check_config)
		return check_config(&a);
	signal(SIGPIPE, SIG_IGN); /* a log reader that went away must not end the service */
	enum log_target target = !a.foreground ? LOG_TARGET_JOURNAL :
		stderr_is_journal() ? LOG_TARGET_STDERR_PRIORITY : LOG_TARGET_STDERR;
	log_setup(target, a.log_level < 0 ? LOG_INFO : a.log_level);
	if (settings_load(&a, &a.daemon.config, &a.daemon.keys, &e) < 0) {
		log_msg(LOG_ERR, NULL, "%s", e.text);
		return 1;
	}
	settings_apply(&a, a.daemon.config);
	log_setup(target, a.log_level);
	find_worker(&a);
	if (sockets_find(&a.daemon.passed, &e) < 0) {
		log_msg(LOG_ERR, NULL, "%s", e.text);
		return 1;
	}
	return serve(&a);
}
