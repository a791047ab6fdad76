// SPDX-License-Identifier: GPL-2.0-or-later
/* agent: the agent in the guest, as it describes itself; and the lines about it in other verbs. */
#include <string.h>

#include "cli/cli.h"
#include "protocol/util.h"

static const char *list(struct cli *c, json_t *array)
{
	const char *text = "-";
	json_t *item;
	size_t i;

	json_array_foreach(array, i, item) {
		if (json_is_string(item))
			text = strcmp(text, "-") == 0 ? json_string_value(item) :
							output_format(&c->out, "%s, %s", text, json_string_value(item));
	}
	return output_safe(&c->out, text);
}

static void stats_print(struct cli *c, json_t *stats)
{
	struct output *o = &c->out;

	if (!stats)
		return;
	output_line(o, 2, "used there",
		    output_format(o, "%s us of CPU in %s ms, %s KiB resident", output_field(o, stats, "cpu_us"),
				  output_field(o, stats, "uptime_ms"), output_field(o, stats, "rss_kib")));
	output_line(o, 2, "frames", output_format(o, "%s in, %s out, %s damaged, %s refused", output_field(o, stats, "frames_in"),
						  output_field(o, stats, "frames_out"), output_field(o, stats, "damaged"),
						  output_field(o, stats, "refused")));
}

static void agent_print(struct cli *c, json_t *agent)
{
	static const struct {
		const char *label, *key;
	} lines[] = {
		{ "state", "state" }, { "why", "why" }, { "address", "address" }, { "link", "link" },
		{ "authenticated", "authenticated" }, { "same kernel as in memory", "agrees" }, { "disagrees", "disagreement" },
		{ "agent", "agent_version" }, { "release", "release" }, { "build-id", "build_id" }, { "boot id", "boot_id" },
		{ "base", "base" }, { "kaslr", "kaslr" }, { "lockdown", "lockdown" }, { "cpus", "cpus" },
	};
	struct output *o = &c->out;

	output_title(o, c->args[0]);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		output_line(o, 2, lines[i].label, output_field(o, agent, lines[i].key));
	output_line(o, 2, "can read", list(c, json_object_get(agent, "sources")));
	if (json_object_get(agent, "round_trip_us"))
		output_line(o, 2, "round trip",
			    output_format(o, "%s us (hello: %s us)", output_field(o, agent, "round_trip_us"),
					  output_field(o, agent, "hello_us")));
	stats_print(c, json_object_get(agent, "stats"));
}

/* --agent-key none: the agent needs to prove nothing any more. A file of that name is ./none. */
static json_t *set_args(struct cli *c, struct err *e)
{
	const struct cli_options *o = &c->options;
	json_t *args = json_pack("{s:s}", "vm", c->args[0]);
	bool keyless = o->agent_key && strcmp(o->agent_key, "none") == 0;

	if (args && o->set)
		json_object_set_new(args, "agent", agent_address(o->set));
	if (args && o->agent_key)
		json_object_set_new(args, "agent-key", json_string(keyless ? "none" : "fd:agent-key"));
	if (o->agent_key && !keyless && agent_key_pass(c, e) < 0) {
		json_decref(args);
		return NULL;
	}
	return args;
}

static int agent_set(struct cli *c)
{
	struct output *o = &c->out;
	json_auto_t *reply = NULL;
	struct err e = { 0 };
	json_t *args = set_args(c, &e);

	if (e.kind != ERR_NONE || cli_call(c, "vm-set-agent", args, JSON_OBJECT, &reply, &e) < 0)
		return cli_fail(c, &e);
	if (c->options.json)
		output_json(o, reply);
	else
		fprintf(o->stream, "%s: %s%s\n", c->args[0],
			json_object_get(reply, "agent") ? output_format(o, "agent at %s", output_field(o, reply, "agent")) : "no agent",
			output_bool(reply, "changed", true) ? "" : ", as before");
	return 0;
}

int cmd_agent(struct cli *c)
{
	json_auto_t *agent = NULL;
	struct err e = { 0 };

	if (c->options.set || c->options.agent_key)
		return agent_set(c);
	if (cli_call(c, "query-agent", json_pack("{s:s}", "vm", c->args[0]), JSON_OBJECT, &agent, &e) < 0)
		return cli_fail(c, &e);
	if (c->options.json)
		output_json(&c->out, agent);
	else
		agent_print(c, agent);
	return strcmp(output_field(&c->out, agent, "state"), "ready") == 0 ? 0 : CLI_EXIT_NOT_APPLIED;
}

void agent_use_print(struct cli *c, json_t *agent)
{
	struct output *o = &c->out;
	json_t *warning;
	size_t i;

	if (!agent)
		return;
	json_array_foreach(json_object_get(agent, "warnings"), i, warning) {
		fprintf(o->stream, "  warning (%s): %s\n", output_field(o, warning, "rule"), output_field(o, warning, "text"));
	}
	if (!output_bool(agent, "used", true))
		fprintf(o->stream, "  without the guest's agent: %s\n", output_field(o, agent, "why"));
	else if (c->options.verbosity > 0)
		fprintf(o->stream, "  the guest's agent knows of nothing against it (asked for %s us)\n", output_field(o, agent, "elapsed_us"));
}

const char *agent_summary(struct cli *c, json_t *agent)
{
	struct output *o = &c->out;
	const char *state = output_field(o, agent, "state"), *why = output_field(o, agent, "why");

	if (json_object_get(agent, "agrees") && !output_bool(agent, "agrees", true))
		return output_format(o, "%s, not used: it tells of another kernel, %s", state, output_field(o, agent, "disagreement"));
	if (strcmp(state, "ready") == 0)
		return output_format(o, "ready (%s, version %s)", output_field(o, agent, "link"), output_field(o, agent, "agent_version"));
	return strcmp(why, "-") == 0 ? state : output_format(o, "%s: %s", state, why);
}
