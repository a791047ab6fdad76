// SPDX-License-Identifier: GPL-2.0-or-later
/* version: ours always, vmpoked's when it can be reached; a daemon that is down is no failure here. */
#include "cli/cli.h"

int cmd_version(struct cli *c)
{
	json_auto_t *daemon = NULL;
	struct err e = { 0 };
	int r = cli_call(c, "query-version", json_object(), JSON_OBJECT, &daemon, &e);

	if (c->options.json) {
		json_auto_t *both = json_pack("{s:s, s:O}", "client", VMPOKE_VERSION, "daemon", daemon ? daemon : json_null());

		if (both)
			output_json(&c->out, both);
		else
			c->out.failed = true;
		return 0;
	}
	fputs("client: vmpoke " VMPOKE_VERSION "\n", c->out.stream);
	if (r < 0)
		fprintf(c->out.stream, "daemon: not reachable at %s\n", output_safe(&c->out, c->options.socket));
	else
		fprintf(c->out.stream, "daemon: %s\n", output_field(&c->out, daemon, "package"));
	return 0;
}
