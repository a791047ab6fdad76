/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists that come page by page because one QMP message is capped: query-symbols, query-sites. */
#ifndef VMPOKE_CLI_PAGES_H
#define VMPOKE_CLI_PAGES_H

#include <jansson.h>

#include "protocol/err.h"

struct cli;

/*
 * Asks command for all pages and prints them: each with print(), or with --json one document of all.
 * args (stolen) is what each request holds besides "start" and "count"; member is the list in an answer.
 */
int pages_print(struct cli *c, const char *command, json_t *args, const char *member,
		int (*print)(struct cli *c, json_t *page, struct err *e), struct err *e);

#endif
