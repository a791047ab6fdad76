// SPDX-License-Identifier: GPL-2.0-or-later
/* Commands that may take long: waited for, or with --no-wait left to vmpoked under an id of ours. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/progress.h"
#include "protocol/schema.h"
#include "protocol/util.h"

static bool command_tells(const char *command)
{
	const struct schema_command *cmd = schema_command_find(command);

	for (const struct schema_arg *a = cmd->args; a < cmd->args + SCHEMA_ARGS_MAX && a->name; a++)
		if (strcmp(a->name, "progress") == 0)
			return true;
	return false;
}

static int id_print(struct cli *c, const char *id, struct err *e)
{
	json_auto_t *o = json_pack("{s:s}", "job_id", id);

	if (!o)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	if (c->options.json)
		output_json(&c->out, o);
	else
		fprintf(c->out.stream, "%s%s\n", cli_vm_prefix(c), id);
	return 0;
}

/* args is borrowed. */
static int wait_call(struct cli *c, const char *command, json_t *args, json_t **ret, struct err *e)
{
	if (!args || !command_tells(command) || !progress_wanted(c))
		return cli_call(c, command, json_incref(args), JSON_OBJECT, ret, e);
	json_object_set_new(args, "progress", json_true());
	return progress_call(c, command, args, ret, e);
}

int cli_job_call(struct cli *c, const char *command, json_t *args, json_t **ret, struct err *e)
{
	json_auto_t *owned = args;
	json_auto_t *reply = NULL;
	char id[64];
	int r;

	if (!c->options.no_wait)
		return wait_call(c, command, owned, ret, e);
	/* Unique on this host for as long as it is up. */
	snprintf(id, sizeof(id), "cli-%d-%llu", (int)getpid(), (unsigned long long)now_us());
	if (!owned || json_object_set_new(owned, "job-id", json_string(id)) < 0)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	r = cli_call(c, command, json_incref(owned), JSON_OBJECT, &reply, e);
	if (r < 0)
		return r;
	*ret = NULL;
	return id_print(c, id, e);
}
