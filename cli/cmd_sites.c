// SPDX-License-Identifier: GPL-2.0-or-later
/* sites: the places in the guest's text that the guest itself rewrites, one a line. */
#include <errno.h>
#include <inttypes.h>

#include "cli/cli.h"
#include "cli/pages.h"
#include "protocol/qmp.h"

/* ADDRESS STATE SYMBOL KIND KEY TARGET, and what else there is to know. */
static int site_print(struct cli *c, json_t *site, struct err *e)
{
	struct output *o = &c->out;
	uint64_t address;

	if (qmp_address_parse(json_object_get(site, "address"), &address) < 0)
		return cli_lost(c, "query-sites", -EPROTO, e);
	fprintf(o->stream, "%016" PRIx64 " %s %s %s %s %s%s%s\n", address, output_field(o, site, "state"),
		output_field(o, site, "symbol"), output_field(o, site, "kind"), output_field(o, site, "key"),
		output_field(o, site, "target"), output_bool(site, "tail", false) ? " tail" : "",
		output_bool(site, "init", false) ? " init" : "");
	return 0;
}

int cmd_sites(struct cli *c)
{
	json_t *args = json_pack("{s:s}", "vm", c->args[0]);
	struct err e = { 0 };

	if (c->n_args == 2)
		json_object_set_new(args, "symbol", json_string(c->args[1]));
	if (c->options.kind)
		json_object_set_new(args, "kind", json_string(c->options.kind));
	return pages_print(c, "query-sites", args, "sites", site_print, &e) < 0 ? cli_fail(c, &e) : 0;
}
