// SPDX-License-Identifier: GPL-2.0-or-later
/* Help, made from the tables of verbs and options so that it cannot lag behind them. */
#include <string.h>

#include "cli/cli.h"
#include "cli/targets.h"

static void options_print(struct cli *c, unsigned groups, bool everywhere)
{
	size_t n;
	const struct cli_option *opt = cli_options(&n);

	for (size_t i = 0; i < n; i++, opt++) {
		char left[48], letter[5] = "    ";

		if (opt->group ? !(opt->group & groups) : !everywhere)
			continue;
		if (opt->letter)
			snprintf(letter, sizeof(letter), "-%c, ", opt->letter);
		snprintf(left, sizeof(left), "%s--%s%s%s", letter, opt->name, opt->arg ? " " : "", opt->arg ? opt->arg : "");
		fprintf(c->out.stream, "  %-24s %s\n", left, opt->help);
	}
}

#define VM_HELP "VM is a registered name, a UUID, pid:N, qmp:PATH, or a pattern such as 'web*'.\n"
#define PATCH_HELP "PATCH is a patch file (*.yaml, or any path) or the name of a patch applied to that VM before.\n"

int cli_help_all(struct cli *c)
{
	size_t n;
	const struct cli_verb *v = cli_verbs(&n);

	fputs("Usage: vmpoke [OPTIONS] VERB [ARGUMENTS]\n\n"
	      "Patches the kernel text of running virtual machines, through vmpoked.\n\nVerbs:\n", c->out.stream);
	for (size_t i = 0; i < n; i++, v++) {
		const char *also = v->alias ? output_format(&c->out, " (also: %s)", v->alias) : "";

		fprintf(c->out.stream, "  %-24s %s%s\n", output_format(&c->out, "%s %s", v->name, v->args), v->help, also);
	}
	fputs("\nOptions:\n", c->out.stream);
	options_print(c, 0, true);
	fputs("\nOptions of some verbs (see 'vmpoke help VERB'):\n", c->out.stream);
	options_print(c, ~0u, false);
	fputs("\n" VM_HELP PATCH_HELP
	      "Exit codes: 0 done, 1 failed, 2 usage, 3 no, 4 not found, 5 refused, 6 timed out,\n"
	      "7 vmpoked unreachable, 8 partly failed, 9 the guest needs attention.\n", c->out.stream);
	return 0;
}

int cli_help_verb(struct cli *c, const struct cli_verb *verb)
{
	fprintf(c->out.stream, "Usage: vmpoke [OPTIONS] %s%s%s\n\n%s\n", verb->name, *verb->args ? " " : "", verb->args,
		verb->help);
	if (cli_verb_takes_vm(verb))
		fprintf(c->out.stream, "\n%s%s", VM_HELP, strstr(verb->args, "VM PATCH") ? PATCH_HELP : "");
	if (verb->options) {
		fputs("\nOptions of this verb:\n", c->out.stream);
		options_print(c, verb->options, false);
	}
	fputs("\nOptions of all verbs:\n", c->out.stream);
	options_print(c, 0, true);
	return 0;
}

int cmd_help(struct cli *c)
{
	struct err e = { 0 };

	if (c->n_args == 0)
		return cli_help_all(c);
	const struct cli_verb *verb = cli_verb_find(c->args[0], &e);
	return verb ? cli_help_verb(c, verb) : cli_fail(c, &e);
}
