// SPDX-License-Identifier: GPL-2.0-or-later
/* keys, revoke: whose signatures vmpoked takes, and which of them not any more. */
#include <errno.h>

#include "cli/cli.h"
#include "protocol/util.h"

static int keys_table(struct cli *c, json_t *keys, struct err *e)
{
	static const char *const heads[] = { "ID", "FILE" };
	_cleanup_free_ const char **cells = calloc(json_array_size(keys) + 1, sizeof(heads));
	size_t i, n = 0;
	json_t *key;

	if (!cells)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	json_array_foreach(keys, i, key) {
		cells[n++] = output_field(&c->out, key, "id");
		cells[n++] = output_field(&c->out, key, "file");
	}
	output_table(&c->out, heads, ARRAY_SIZE(heads), cells, json_array_size(keys));
	return 0;
}

int cmd_keys(struct cli *c)
{
	json_auto_t *keys = NULL;
	struct err e = { 0 };

	if (cli_call(c, "query-keys", json_object(), JSON_ARRAY, &keys, &e) < 0)
		return cli_fail(c, &e);
	if (c->options.json)
		output_json(&c->out, keys);
	else if (keys_table(c, keys, &e) < 0)
		return cli_fail(c, &e);
	return 0;
}

int cmd_revoke(struct cli *c)
{
	json_t *args = json_pack("{s:s, s:s}", "patch", c->args[0], "key", c->args[1]);
	json_auto_t *result = NULL;
	struct err e = { 0 };

	if (args && c->options.serial)
		json_object_set_new(args, "serial", json_integer(c->options.serial));
	if (cli_call(c, "manifest-revoke", args, JSON_OBJECT, &result, &e) < 0)
		return cli_fail(c, &e);
	if (c->options.json)
		output_json(&c->out, result);
	else
		fprintf(c->out.stream, "serials up to %s of patch %s by key %s are revoked\n", output_field(&c->out, result, "serial"),
			output_field(&c->out, result, "patch"), output_field(&c->out, result, "key"));
	return 0;
}
