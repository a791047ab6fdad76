// SPDX-License-Identifier: GPL-2.0-or-later
/* The commands about the protocol itself. Must answer without any VM or worker. */
#include <errno.h>
#include <stdio.h>

#include "protocol/qmp.h"
#include "vmm/control/command.h"
#include "vmm/control/session.h"

#define PACKAGE "vmpoke " VMPOKE_VERSION

/* VMPOKE_VERSION is "MAJOR.MINOR.MICRO"; what is missing counts as 0. */
static void version_split(int *major, int *minor, int *micro)
{
	*major = *minor = *micro = 0;
	(void)!sscanf(VMPOKE_VERSION, "%d.%d.%d", major, minor, micro);
}

char *command_greeting(void)
{
	int major, minor, micro;

	version_split(&major, &minor, &micro);
	return qmp_format_greeting(PACKAGE, major, minor, micro);
}

/* No capability is offered, so none can be enabled. */
int cmd_qmp_capabilities(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
			 json_t **ret, struct err *e)
{
	json_t *enable = json_object_get(args, "enable"), *item;
	size_t i;

	(void)d, (void)cmd, (void)ret;
	json_array_foreach(enable, i, item) {
		if (!json_is_string(item))
			return err_set(e, ERR_USAGE, EINVAL, NULL, "Invalid parameter type for 'enable[%zu]', expected: string", i);
		return err_set(e, ERR_USAGE, EINVAL, NULL, "Parameter 'enable[%zu]' does not accept value '%.64s'", i,
			       json_string_value(item));
	}
	s->negotiated = true;
	return 0;
}

int cmd_query_version(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
		      json_t **ret, struct err *e)
{
	int major, minor, micro;

	(void)d, (void)s, (void)cmd, (void)args, (void)e;
	version_split(&major, &minor, &micro);
	*ret = json_pack("{s:{s:i, s:i, s:i}, s:s}", "qemu", "major", major, "minor", minor, "micro", micro,
			 "package", PACKAGE);
	return 0;
}

int cmd_query_commands(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
		       json_t **ret, struct err *e)
{
	(void)d, (void)cmd, (void)args, (void)e;
	*ret = schema_query_commands(s->read_only);
	return 0;
}

int cmd_query_qmp_schema(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
			 json_t **ret, struct err *e)
{
	(void)d, (void)s, (void)cmd, (void)args, (void)e;
	*ret = schema_query_qmp_schema();
	return 0;
}
