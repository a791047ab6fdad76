/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The hidden verb "__complete WORD...": candidates for the last word, the ones before it being
 * what is typed already (without "vmpoke"). One a line: the word, and after a tab what it is.
 * The line ":files" asks the shell to offer files.
 */
#ifndef VMPOKE_CLI_COMPLETE_H
#define VMPOKE_CLI_COMPLETE_H

struct cli;

/* The words an option takes; ends with option NULL. The setters in options.c are what decides. */
struct cli_words {
	const char *option, *words; /* separated by a space */
};
extern const struct cli_words cli_option_words[];

/* n words; always exit code 0. */
int cmd_complete(struct cli *c, int n, char **words);

#endif
