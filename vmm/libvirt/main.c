// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vmpoke-libvirt: makes libvirt's domains known to vmpoked. Options, signals, the event loop; or setup-domain.
 * The only program of this project that links libvirt. Nothing but --help, --version and the answers of
 * setup-domain ever goes to stdout.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "protocol/util.h"
#include "vmm/control/log.h"
#include "vmm/libvirt/manager.h"
#include "vmm/libvirt/setup.h"

struct arguments {
	struct manager_options manager;
	struct setup_options setup;
	int log_level;
	bool foreground;
};

enum { OPT_APPLY = 256, OPT_MONITOR, OPT_JSON };

static const struct option options[] = {
	{ "connect", required_argument, NULL, 'c' },
	{ "socket", required_argument, NULL, 's' },
	{ "runtime-dir", required_argument, NULL, 'r' },
	{ "foreground", no_argument, NULL, 'f' },
	{ "log-level", required_argument, NULL, 'l' },
	{ "apply", no_argument, NULL, OPT_APPLY },
	{ "monitor", required_argument, NULL, OPT_MONITOR },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'v' },
	{ 0 },
};

static const char usage_text[] =
	"Usage: vmpoke-libvirt [OPTION...]\n"
	"       vmpoke-libvirt setup-domain DOMAIN [--apply] [--monitor PATH] [--json] [--connect URI]\n"
	"Makes libvirt's running domains known to vmpoked; or shows what to add to a domain.\n\n"
	"  --connect URI        libvirt's (default qemu:///system)\n"
	"  --socket PATH        vmpoked's (default /run/vmpoke/control.sock)\n"
	"  --runtime-dir DIR    sockets of domains and of the hook (default /run/vmpoke-libvirt)\n"
	"  --foreground         log to stderr instead of the journal\n"
	"  --log-level LEVEL    error, warning, notice, info (default) or debug\n"
	"  --apply              write it into the domain's XML, for its next start\n"
	"  --monitor PATH       also a monitor and a gdb stub of vmpoke's own; the file's name begins with 'vmpoke'\n"
	"  --json               answer as one JSON document\n"
	"  --help, --version\n";

static int usage_error(const char *what, const char *text)
{
	fprintf(stderr, "vmpoke-libvirt: %s '%s'; see vmpoke-libvirt --help\n", what, text);
	return -EINVAL;
}

/* 0, 1 when done with --help or --version, or -EINVAL. */
static int take_option(int o, struct arguments *a)
{
	switch (o) {
	case 'c': a->manager.uri = a->setup.uri = optarg; return 0;
	case 's': a->manager.socket = optarg; return 0;
	case 'r': a->manager.runtime_dir = optarg; return 0;
	case 'f': a->foreground = true; return 0;
	case 'l':
		a->log_level = log_level_parse(optarg);
		return a->log_level < 0 ? usage_error("unknown log level", optarg) : 0;
	case OPT_APPLY: a->setup.apply = true; return 0;
	case OPT_MONITOR: a->setup.monitor = optarg; return 0;
	case OPT_JSON: a->setup.json = true; return 0;
	case 'h': fputs(usage_text, stdout); return 1;
	case 'v': puts("vmpoke-libvirt " VMPOKE_VERSION); return 1;
	default: return -EINVAL; /* getopt_long() has said why */
	}
}

static int parse_arguments(int argc, char **argv, struct arguments *a)
{
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		int r = take_option(o, a);
		if (r != 0)
			return r;
	}
	if (optind == argc)
		return 0;
	if (strcmp(argv[optind], "setup-domain") != 0)
		return usage_error("unexpected argument", argv[optind]);
	if (optind + 2 != argc || !argv[optind + 1][0])
		return usage_error("one domain belongs to", "setup-domain");
	a->setup.domain = argv[optind + 1];
	return 0;
}

static int on_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
	(void)si, (void)userdata;
	sd_notify(0, "STOPPING=1");
	return sd_event_exit(sd_event_source_get_event(s), 0);
}

static int event_new(sd_event **ret)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	int r = sd_event_default(ret);
	if (r >= 0)
		r = sd_event_add_signal(*ret, NULL, SIGINT, on_signal, NULL);
	if (r >= 0)
		r = sd_event_add_signal(*ret, NULL, SIGTERM, on_signal, NULL);
	if (r >= 0)
		r = sd_event_set_watchdog(*ret, true); /* no more than what the service file asks for */
	return r;
}

static int serve(const struct arguments *a)
{
	static struct manager manager; /* helpers may still tell it something while the program ends */
	sd_event *event = NULL;
	struct err e;

	int r = event_new(&event);
	if (r < 0) {
		log_msg(LOG_ERR, NULL, "no event loop: %s", strerror(-r));
		return 1;
	}
	r = manager_start(&manager, event, &a->manager, &e);
	if (r < 0) {
		log_msg(LOG_ERR, NULL, "%s", e.text);
	} else {
		sd_notify(0, "READY=1");
		r = sd_event_loop(event);
	}
	manager_done(&manager);
	sd_event_unref(event);
	return r < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct arguments a = {
		.manager = { .uri = "qemu:///system", .socket = "/run/vmpoke/control.sock", .runtime_dir = "/run/vmpoke-libvirt" },
		.setup = { .uri = "qemu:///system" },
		.log_level = LOG_INFO,
	};

	int r = parse_arguments(argc, argv, &a);
	if (r != 0)
		return r < 0 ? 2 : 0;
	if (a.setup.domain)
		return setup_run(&a.setup);
	signal(SIGPIPE, SIG_IGN);
	log_setup(a.foreground ? LOG_TARGET_STDERR : LOG_TARGET_JOURNAL, a.log_level);
	return serve(&a);
}
