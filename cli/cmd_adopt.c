// SPDX-License-Identifier: GPL-2.0-or-later
/* export, adopt: patches that move to another host with their guest. The records are vmpoked's; here they are a file. */
#include <errno.h>
#include <string.h>

#include "cli/cli.h"
#include "protocol/qmp.h"
#include "protocol/util.h"

#define RECORDS_MAX (64u << 20) /* bytes of a file of records */
#define RECORDS_AT_ONCE 256	/* of one request: patch-adopt takes no more */

/* One patch at a time: all of them may be more than one message. */
static int export_one(struct cli *c, const char *patch, json_t *records, struct err *e)
{
	json_auto_t *reply = NULL;
	int r = cli_call(c, "patch-export", json_pack("{s:s, s:s}", "vm", c->args[0], "patch", patch), JSON_OBJECT, &reply, e);

	if (r < 0)
		return r;
	if (json_array_extend(records, json_object_get(reply, "records")) < 0)
		return cli_lost(c, "patch-export", -EPROTO, e);
	return 0;
}

static bool is_applied(json_t *patch)
{
	const char *state = json_string_value(json_object_get(patch, "state"));

	return state && strcmp(state, "applied") == 0;
}

static int export_all(struct cli *c, json_t *records, struct err *e)
{
	json_auto_t *status = NULL;
	json_t *patch;
	size_t i;
	int r = cli_call(c, "query-patches", json_pack("{s:s}", "vm", c->args[0]), JSON_OBJECT, &status, e);

	json_array_foreach(json_object_get(status, "patches"), i, patch) {
		const char *name = json_string_value(json_object_get(patch, "name"));

		if (r >= 0 && name && is_applied(patch))
			r = export_one(c, name, records, e);
	}
	return r;
}

/* The records go to standard output as one JSON document, with --json or without. */
int cmd_export(struct cli *c)
{
	json_auto_t *records = json_array();
	struct err e = { 0 };

	if (export_all(c, records, &e) < 0)
		return cli_fail(c, &e);
	json_auto_t *document = json_pack("{s:s, s:O}", "vm", c->args[0], "records", records);
	output_json(&c->out, document);
	return 0;
}

/* Of export, or the array of records alone. */
static int records_read(const char *path, json_t **ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	json_error_t je;
	size_t len;
	int r = read_file(path, RECORDS_MAX, &text, &len);

	if (r < 0)
		return err_set(e, r == -ENOENT ? ERR_NOT_FOUND : ERR_FAILED, -r, "", "cannot read '%s': %s", path, strerror(-r));
	json_auto_t *document = json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
	json_t *records = json_is_array(document) ? document : json_object_get(document, "records");
	if (!json_is_array(records))
		return err_set(e, ERR_USAGE, EINVAL, "", "'%s' is not what 'vmpoke export' writes%s%s", path, document ? "" : ": ",
			       document ? "" : je.text);
	*ret = json_incref(records);
	return 0;
}

static int state_exit_code(const char *state)
{
	static const struct {
		const char *state;
		int code;
	} codes[] = {
		{ "adopted", 0 }, { "already", 0 }, { "absent", CLI_EXIT_NOT_APPLIED }, { "refused", 5 },
		{ "attention", CLI_EXIT_ATTENTION },
	};

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (strcmp(codes[i].state, state) == 0)
			return codes[i].code;
	return 1;
}

static void adoption_print(struct cli *c, json_t *record)
{
	struct output *o = &c->out;
	const char *why = output_field(o, record, "why");

	fprintf(o->stream, "%s: %s%s%s\n", output_field(o, record, "patch"), output_field(o, record, "state"),
		strcmp(why, "-") == 0 ? "" : ": ", strcmp(why, "-") == 0 ? "" : why);
}

/* As many records as fit into one message; what was adopted before is part of what the next are planned against. */
static int adopt_some(struct cli *c, json_t *records, size_t *next, json_t *told, struct err *e)
{
	json_auto_t *some = json_array(), *reply = NULL;
	size_t bytes = 0, i = *next;

	for (; i < json_array_size(records); i++) {
		json_t *record = json_array_get(records, i);

		bytes += json_dumpb(record, NULL, 0, JSON_ENSURE_ASCII);
		if (i > *next && (bytes > QMP_MESSAGE_MAX - 4096 || i - *next >= RECORDS_AT_ONCE))
			break;
		json_array_append(some, record);
	}
	*next = i;
	int r = cli_call(c, "patch-adopt", json_pack("{s:s, s:O}", "vm", c->args[0], "records", some), JSON_OBJECT, &reply, e);
	if (r < 0)
		return r;
	return json_array_extend(told, json_object_get(reply, "records")) < 0 ? cli_lost(c, "patch-adopt", -EPROTO, e) : 0;
}

static int adopt_report(struct cli *c, json_t *told)
{
	json_t *record;
	int worst = 0;
	size_t i;

	json_array_foreach(told, i, record) {
		const char *state = json_string_value(json_object_get(record, "state"));
		int code = state_exit_code(state ? state : "");

		worst = code > worst ? code : worst;
		if (!c->options.json)
			adoption_print(c, record);
	}
	if (c->options.json) {
		json_auto_t *document = json_pack("{s:s, s:O}", "vm", c->args[0], "records", told);
		output_json(&c->out, document);
	}
	return worst;
}

int cmd_adopt(struct cli *c)
{
	json_auto_t *records = NULL, *told = json_array();
	struct err e = { 0 };
	size_t next = 0;
	int r = records_read(c->args[1], &records, &e);

	while (r >= 0 && next < json_array_size(records))
		r = adopt_some(c, records, &next, told, &e);
	if (r < 0)
		return cli_fail(c, &e);
	return adopt_report(c, told);
}
