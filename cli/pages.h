/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists that come page by page because one QMP message is capped: query-symbols, query-sites. */
#ifndef VMPOKE_CLI_PAGES_H
#define VMPOKE_CLI_PAGES_H

#include <jansson.h>

#include "protocol/err.h"

struct cli;

typedef int (*page_item_fn)(struct cli *c, json_t *item, struct err *e);

/*
 * Asks command for all pages and prints them: each item with print(), or with --json one document of all.
 * args (stolen) is what each request holds besides "start" and "count"; member is the list in an answer.
 */
int pages_print(struct cli *c, const char *command, json_t *args, const char *member, page_item_fn print,
		struct err *e);
/* The items of one answer. */
int page_print(struct cli *c, json_t *page, const char *member, page_item_fn print, struct err *e);

#endif
