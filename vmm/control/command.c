// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * From a request to the function that carries it out; see command.h. Every check
 * that needs no VM is made here, in QEMU's order: known at this stage of the
 * conversation, allowed on this socket, arguments, allowed to this client. Must have no side effect
 * but the audit record before all of them have passed.
 */
#include "vmm/control/command.h"

#include <errno.h>
#include <string.h>

#include "protocol/util.h"
#include "vmm/control/authorize.h"
#include "vmm/control/session.h"

static const struct {
	const char *name;
	command_fn run;
} commands[] = {
	{ "qmp_capabilities", cmd_qmp_capabilities },
	{ "query-version", cmd_query_version },
	{ "query-commands", cmd_query_commands },
	{ "query-qmp-schema", cmd_query_qmp_schema },
	{ "getfd", cmd_getfd },
	{ "closefd", cmd_closefd },
	{ "vm-add", cmd_vm_add },
	{ "vm-run", cmd_vm_run },
	{ "vm-destroy", cmd_vm_destroy },
	{ "vm-remove", cmd_vm_remove },
	{ "vm-set-agent", cmd_vm_set_agent },
	{ "query-vms", cmd_query_vms },
	{ "query-vm", cmd_query_vm },
	{ "rule-add", cmd_rule_add },
	{ "rule-remove", cmd_rule_remove },
	{ "query-rules", cmd_query_rules },
	{ "query-desired", cmd_query_desired },
	{ "query-jobs", cmd_query_jobs },
	{ "job-cancel", cmd_job_cancel },
	{ "job-dismiss", cmd_job_dismiss },
	{ "query-keys", cmd_query_keys },
	{ "query-stats", cmd_query_stats },
	{ "manifest-revoke", cmd_manifest_revoke },
};

static command_fn command_lookup(const struct schema_command *cmd)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(commands[i].name, cmd->name) == 0)
			return commands[i].run;
	return cmd->to_worker ? cmd_relay : NULL;
}

static int check_stage(const struct session *s, const char *name, struct err *e)
{
	bool negotiation = strcmp(name, "qmp_capabilities") == 0;

	if (!s->negotiated && !negotiation)
		return err_set(e, ERR_NO_COMMAND, ENOTCONN, NULL,
			       "Expecting capabilities negotiation with 'qmp_capabilities'");
	if (s->negotiated && negotiation)
		return err_set(e, ERR_NO_COMMAND, EALREADY, NULL,
			       "Capabilities negotiation is already complete, command ignored");
	return 0;
}

int command_run(struct daemon *d, struct session *s, const char *name, json_t *args, json_t **ret, struct err *e)
{
	int r = check_stage(s, name, e);

	if (r < 0)
		return r;
	const struct schema_command *cmd = schema_command_find(name);
	command_fn run = cmd ? command_lookup(cmd) : NULL;
	if (!run)
		return err_set(e, ERR_NO_COMMAND, ENOSYS, NULL, "The command %.64s has not been found", name);
	r = authorize_socket(d, s, cmd, e);
	if (r == 0)
		r = schema_check_args(cmd, args, e);
	if (r == 0)
		r = schema_refuse_internal(cmd, args, e);
	if (r == 0)
		r = authorize(d, s, cmd, args, e);
	return r < 0 ? r : run(d, s, cmd, args, ret, e);
}
