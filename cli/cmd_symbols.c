// SPDX-License-Identifier: GPL-2.0-or-later
/* symbols: the guest kernel's own table in the format of /proc/kallsyms. */
#include <errno.h>
#include <inttypes.h>

#include "cli/cli.h"
#include "cli/pages.h"
#include "protocol/qmp.h"

static int symbol_print(struct cli *c, json_t *symbol, struct err *e)
{
	uint64_t address;

	if (qmp_address_parse(json_object_get(symbol, "address"), &address) < 0)
		return cli_lost(c, "query-symbols", -EPROTO, e);
	fprintf(c->out.stream, "%016" PRIx64 " %s %s\n", address, output_field(&c->out, symbol, "type"),
		output_field(&c->out, symbol, "name"));
	return 0;
}

static int one_print(struct cli *c, struct err *e)
{
	json_auto_t *found = NULL;
	json_t *args = json_pack("{s:s, s:s}", "vm", c->args[0], "symbol", c->args[1]);
	int r = cli_call(c, "query-symbols", args, JSON_OBJECT, &found, e);

	if (r < 0 || !c->options.json)
		return r < 0 ? r : page_print(c, found, "symbols", symbol_print, e);
	output_json(&c->out, found);
	return 0;
}

int cmd_symbols(struct cli *c)
{
	struct err e = { 0 };
	int r = c->n_args == 2 ? one_print(c, &e) :
				 pages_print(c, "query-symbols", json_pack("{s:s}", "vm", c->args[0]), "symbols",
					     symbol_print, &e);

	return r < 0 ? cli_fail(c, &e) : 0;
}
