// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * count: how often an instruction of the guest's kernel is executed. Counting ends with
 * this program: vmpoked takes the trap out when the connection closes.
 */
#include <string.h>

#include "cli/cli.h"
#include "protocol/util.h"

static void count_print(struct cli *c, json_t *answer)
{
	struct output *o = &c->out;
	const char *ended = output_field(o, answer, "ended");
	json_int_t elapsed = output_int(answer, "elapsed_us"), hits = output_int(answer, "hits");

	fprintf(o->stream, "%s: %s hits in %.1f s", output_field(o, answer, "symbol"), output_field(o, answer, "hits"),
		(double)elapsed / 1e6);
	if (elapsed > 0)
		fprintf(o->stream, ", %.1f a second", (double)hits * 1e6 / (double)elapsed);
	fputc('\n', o->stream);
	if (strcmp(ended, "rate") == 0)
		fprintf(o->stream, "  ended: more than %s hits a second (--max-rate)\n", output_field(o, answer, "max_rate"));
	else if (strcmp(ended, "time") != 0)
		fprintf(o->stream, "  ended: %s\n", strcmp(ended, "asked") == 0 ? "asked to" : "the VM was stopped");
	if (c->options.verbosity >= 0 && output_int(answer, "stops") > 0)
		fprintf(o->stream, "  all vCPUs stopped %s times, %s us in all, longest %s us\n",
			output_field(o, answer, "stops"), output_field(o, answer, "stopped_us"),
			output_field(o, answer, "longest_pause_us"));
}

int cmd_count(struct cli *c)
{
	json_auto_t *answer = NULL;
	struct err e = { 0 };
	json_t *args = json_pack("{s:s, s:s}", "vm", c->args[0], "at", c->args[1]);

	if (c->options.has_timeout)
		json_object_set_new(args, "timeout", json_integer((json_int_t)c->options.timeout_ms));
	if (c->options.max_rate)
		json_object_set_new(args, "max-rate", json_integer(c->options.max_rate));
	int r = cli_job_call(c, "vm-count", args, &answer, &e);
	if (r < 0)
		return cli_fail(c, &e);
	if (!answer)
		return 0;
	if (c->options.json)
		output_json(&c->out, answer);
	else
		count_print(c, answer);
	return 0;
}
