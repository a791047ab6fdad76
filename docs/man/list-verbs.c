// SPDX-License-Identifier: GPL-2.0-or-later
/* Prints the verbs of vmpoke as Markdown, from the table that also parses them: for vmpoke(1). */
#include <stdio.h>

#include "cli/cli.h"

int main(void)
{
	size_t n;
	const struct cli_verb *v = cli_verbs(&n);

	for (size_t i = 0; i < n; i++, v++) {
		printf("`%s%s%s`\n:   %s", v->name, *v->args ? " " : "", v->args, v->help);
		if (v->alias)
			printf("; also called `%s`", v->alias);
		printf("\n\n");
	}
	return 0;
}
