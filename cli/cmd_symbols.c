// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * symbols: the guest kernel's own table in the format of /proc/kallsyms, fetched
 * page by page because one QMP message is capped. Must end whatever the peer
 * answers: every page has to move forward.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"
#include "protocol/qmp.h"

/* 1024 ASCII names of the greatest length the kernel has (512) stay below QMP_MESSAGE_MAX. */
#define PAGE_COUNT 1024
#define SYMBOLS_MAX 4000000 /* more than any kernel with all its modules; ends a peer that never does */

static int symbol_print(struct cli *c, json_t *symbol, struct err *e)
{
	uint64_t address;

	if (qmp_address_parse(json_object_get(symbol, "address"), &address) < 0)
		return cli_lost(c, "query-symbols", -EPROTO, e);
	fprintf(c->out.stream, "%016" PRIx64 " %s %s\n", address, output_field(&c->out, symbol, "type"),
		output_field(&c->out, symbol, "name"));
	return 0;
}

static int page_print(struct cli *c, json_t *page, struct err *e)
{
	json_t *symbol;
	size_t i;

	json_array_foreach(json_object_get(page, "symbols"), i, symbol) {
		int r = symbol_print(c, symbol, e);
		if (r < 0)
			return r;
	}
	return ferror(c->out.stream) ? output_flush(&c->out, e) : 0;
}

/* Garbage for names (a hostile guest) takes six bytes a character in JSON: then fewer of them at a time. */
static int page_call(struct cli *c, json_int_t start, json_t **ret, struct err *e)
{
	for (int count = PAGE_COUNT;; count /= 2) {
		json_t *args = json_pack("{s:s, s:I, s:i}", "vm", c->args[0], "start", start, "count", count);
		int r = cli_call(c, "query-symbols", args, JSON_OBJECT, ret, e);

		if (r >= 0 || count == 1 || strcmp(e->rule, "reply-size") != 0)
			return r;
	}
}

/* One page at start; *ret_next is -1 at the end. */
static int page_fetch(struct cli *c, json_int_t start, json_t **ret, json_int_t *ret_next, struct err *e)
{
	json_auto_t *page = NULL;
	int r = page_call(c, start, &page, e);

	if (r < 0)
		return r;
	json_t *next = json_object_get(page, "next");
	*ret_next = json_integer_value(next);
	if (!json_is_integer(next) || !json_is_array(json_object_get(page, "symbols")) ||
	    (*ret_next != -1 && (*ret_next <= start || *ret_next > SYMBOLS_MAX)))
		return cli_lost(c, "query-symbols", -EPROTO, e);
	*ret = json_incref(page);
	return 0;
}

static int all_print(struct cli *c, struct err *e)
{
	json_auto_t *all = NULL;

	for (json_int_t start = 0; start >= 0;) {
		json_auto_t *page = NULL;
		int r = page_fetch(c, start, &page, &start, e);

		if (r >= 0 && !c->options.json)
			r = page_print(c, page, e);
		if (r < 0)
			return r;
		if (!all)
			all = json_incref(page);
		else if (c->options.json && json_array_extend(json_object_get(all, "symbols"), json_object_get(page, "symbols")) < 0)
			return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	}
	if (c->options.json) {
		json_object_set_new(all, "next", json_integer(-1));
		output_json(&c->out, all);
	}
	return 0;
}

static int one_print(struct cli *c, struct err *e)
{
	json_auto_t *found = NULL;
	json_t *args = json_pack("{s:s, s:s}", "vm", c->args[0], "symbol", c->args[1]);
	int r = cli_call(c, "query-symbols", args, JSON_OBJECT, &found, e);

	if (r < 0 || !c->options.json)
		return r < 0 ? r : page_print(c, found, e);
	output_json(&c->out, found);
	return 0;
}

int cmd_symbols(struct cli *c)
{
	struct err e = { 0 };
	int r = c->n_args == 2 ? one_print(c, &e) : all_print(c, &e);

	return r < 0 ? cli_fail(c, &e) : 0;
}
