// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vmpoke, the command line: a thin QMP client of vmpoked. It never opens a VM,
 * a guest's memory or the state directory itself, so it needs no privilege but
 * the right to open vmpoked's socket.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/complete.h"
#include "cli/targets.h"
#include "protocol/client.h"

#define DEFAULT_SOCKET "/run/vmpoke/control.sock"

void cli_socket_default(struct cli *c)
{
	if (!c->options.socket)
		c->options.socket = getenv("VMPOKE_SOCKET");
	if (!c->options.socket || !*c->options.socket)
		c->options.socket = DEFAULT_SOCKET;
}

static bool color_wanted(enum cli_color color, bool tty)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	if (color != CLI_COLOR_AUTO)
		return color == CLI_COLOR_ALWAYS;
	return tty && !(no_color && *no_color) && term && strcmp(term, "dumb") != 0;
}

static int args_check(struct cli *c, struct err *e)
{
	const struct cli_verb *v = c->verb;

	int min = v->min_args - (c->options.all && v->min_args > 0), max = v->max_args - c->options.all;

	if (c->options.all && !(v->options & CLI_OPT_TARGETS))
		return cli_options_check(&c->options, v->name, v->options, e);
	if (c->n_args < min)
		return err_set(e, ERR_USAGE, EINVAL, "", "'%s' needs %s; see 'vmpoke help %s'", v->name, v->args, v->name);
	if (c->n_args > max)
		return err_set(e, ERR_USAGE, EINVAL, "", "'%s' takes no argument '%s'; see 'vmpoke help %s'", v->name,
			       c->args[max], v->name);
	for (int i = 0; i < c->n_args; i++) {
		/* Jansson takes nothing else: better a sentence here than a missing argument later. */
		json_auto_t *text = json_string(c->args[i]);

		if (!text || !*c->args[i])
			return err_set(e, ERR_USAGE, EINVAL, "", "argument %d of '%s' is %s", i + 1, v->name,
				       *c->args[i] ? "not UTF-8" : "empty");
	}
	return cli_options_check(&c->options, v->name, v->options, e);
}

/* Options and verb are known: what to do. */
static int dispatch(struct cli *c)
{
	struct err e = { 0 };
	const char *verb = c->n_args > 0 ? c->args[0] : "list";

	if (c->options.version) {
		fputs("vmpoke " VMPOKE_VERSION "\n", c->out.stream);
		return 0;
	}
	if (c->options.help && c->n_args == 0)
		return cli_help_all(c);
	c->verb = cli_verb_find(verb, &e);
	if (!c->verb)
		return cli_fail(c, &e);
	if (c->options.help)
		return cli_help_verb(c, c->verb);
	if (c->n_args > 0) {
		c->args++;
		c->n_args--;
	}
	if (args_check(c, &e) < 0)
		return cli_fail(c, &e);
	if (c->options.all) { /* where the verb stood, the VM's name will be */
		c->args--;
		c->n_args++;
	}
	return cli_run_targets(c);
}

static int run(struct cli *c, int argc, char **argv)
{
	bool tty = isatty(STDOUT_FILENO) == 1;
	struct err e = { 0 };

	output_init(&c->out, stdout, tty, false);
	if (argc > 1 && strcmp(argv[1], "__complete") == 0) /* its arguments are words of another command line */
		return cmd_complete(c, argc - 2, argv + 2);
	if (cli_options_parse(argc, argv, &c->options, c->args, &c->n_args, &e) < 0)
		return cli_fail(c, &e);
	cli_socket_default(c);
	c->out.color = color_wanted(c->options.color, tty);
	int code = dispatch(c);
	if (output_flush(&c->out, &e) < 0) {
		int failed = cli_fail(c, &e);

		code = code ? code : failed;
	}
	return code;
}

int main(int argc, char **argv)
{
	_cleanup_free_ const char **args = calloc((size_t)argc + 1, sizeof(*args));
	struct cli c = { .args = args };

	/* A reader that went away is an error we report, not a silent death. */
	signal(SIGPIPE, SIG_IGN);
	if (!args) {
		fputs("vmpoke: out of memory\n", stderr);
		return 1;
	}
	int code = run(&c, argc, argv);
	qmp_client_free(c.client);
	output_clear(&c.out);
	return code;
}
