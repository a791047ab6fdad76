// SPDX-License-Identifier: GPL-2.0-or-later
/* Dispatch of a worker's commands; see commands.h. The daemon is trusted no further than the schema. */
#include "vmm/worker/commands.h"

#include <errno.h>
#include <string.h>

#include "protocol/schema.h"

static const struct command commands[] = {
	{ "query-vm", command_query_vm },
	{ "vm-probe", command_vm_probe },
	{ "query-symbols", command_query_symbols },
	{ "query-sites", command_query_sites },
	{ "vm-count", command_vm_count },
	{ "patch-check", command_patch_check },
	{ "patch-apply", command_patch_apply },
	{ "patch-revert", command_patch_revert },
	{ "patch-replace", command_patch_replace },
	{ "patch-export", command_patch_export },
	{ "patch-adopt", command_patch_adopt },
	{ "query-agent", command_query_agent },
	{ "vm-set-agent", command_vm_set_agent },
	{ "query-patches", command_query_patches },
	{ "patch-verify", command_patch_verify },
	{ "query-history", command_query_history },
	{ "query-trace", command_query_trace },
};

static const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static int run(struct session *s, const struct qmp_request *req, json_t **ret, struct err *e)
{
	const struct command *c = command_find(req->execute);
	const struct schema_command *schema = c ? schema_command_find(c->name) : NULL;

	/* A cancel that comes too late: its job is over. */
	if (strcmp(req->execute, "job-cancel") == 0)
		return err_set(e, ERR_NOT_FOUND, ENOENT, NULL, "the job is over");
	if (!schema)
		return err_set(e, ERR_NO_COMMAND, ENOSYS, NULL, "The command %s has not been found", req->execute);
	int r = schema_check_args(schema, req->args, e);
	s->by = json_object_get(req->args, "by");
	if (r == 0)
		r = c->run(s, req->args, ret, e);
	s->by = NULL;
	return r;
}

void command_answer(struct session *s, const struct qmp_request *req)
{
	struct err e = { 0 };
	json_t *value = NULL;

	session_progress_begin(s, req->args);
	int r = run(s, req, &value, &e);
	session_progress_end(s);
	session_release(s);
	/* Events that came in with a reply are buffered: nobody would wake us for them. */
	session_events(s);
	session_tell_state(s);
	if (r >= 0) {
		control_return(s->control, req->id, value ? value : json_object());
		return;
	}
	if (e.kind == ERR_NONE)
		err_set(&e, ERR_FAILED, -r, NULL, "%s failed: %s", req->execute, strerror(-r));
	snprintf(e.vm, sizeof(e.vm), "%s", s->target.vm);
	control_error(s->control, req->id, &e);
}
