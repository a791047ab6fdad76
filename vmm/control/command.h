/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happens for each command. protocol/schema.h says which commands exist and
 * what they take; the table in command.c says which function carries one out.
 */
#ifndef VMPOKE_CONTROL_COMMAND_H
#define VMPOKE_CONTROL_COMMAND_H

#include <jansson.h>

#include "protocol/err.h"
#include "protocol/schema.h"

struct daemon;
struct session;

#define COMMAND_DEFERRED 1 /* the command has taken a pending and answers later */

/*
 * args have passed schema_check_args(). 0 with *ret (new reference; NULL: {}),
 * COMMAND_DEFERRED, or a negative errno with *e.
 */
typedef int (*command_fn)(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
			  json_t **ret, struct err *e);

/* Checks and runs one command of a client. */
int command_run(struct daemon *d, struct session *s, const char *name, json_t *args, json_t **ret, struct err *e);

char *command_greeting(void);

/* cmd_meta.c */
int cmd_qmp_capabilities(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
			 json_t **ret, struct err *e);
int cmd_query_version(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
		      json_t **ret, struct err *e);
int cmd_query_commands(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
		       json_t **ret, struct err *e);
int cmd_query_qmp_schema(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
			 json_t **ret, struct err *e);

/* cmd_vm.c */
int cmd_vm_add(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
	       json_t **ret, struct err *e);
int cmd_vm_remove(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
		  json_t **ret, struct err *e);
int cmd_query_vms(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
		  json_t **ret, struct err *e);
int cmd_query_vm(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
		 json_t **ret, struct err *e);

/* cmd_agent.c */
int cmd_vm_set_agent(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
		     json_t **ret, struct err *e);

/* cmd_fds.c */
int cmd_getfd(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args, json_t **ret,
	      struct err *e);
/* The descriptor that "agent-key" of a request names, passed with getfd; *ret is -1 when it names none. A path is never taken. */
int agent_key_take(struct session *s, json_t *args, int *ret, struct err *e);

int cmd_closefd(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args, json_t **ret,
		struct err *e);

/* cmd_machine.c: VMs of our own */
int cmd_vm_run(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args, json_t **ret,
	       struct err *e);
int cmd_vm_destroy(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
		   json_t **ret, struct err *e);

/* cmd_rule.c: what is to be in which VMs */
int cmd_rule_add(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args, json_t **ret,
		 struct err *e);
int cmd_rule_remove(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args, json_t **ret,
		    struct err *e);
int cmd_query_rules(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args, json_t **ret,
		    struct err *e);
int cmd_query_desired(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args, json_t **ret,
		      struct err *e);

/* cmd_patch.c: everything the worker does */
int cmd_relay(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
	      json_t **ret, struct err *e);

/* cmd_jobs.c */
int cmd_query_jobs(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
		   json_t **ret, struct err *e);
int cmd_job_cancel(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
		   json_t **ret, struct err *e);
int cmd_job_dismiss(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
		    json_t **ret, struct err *e);

/* cmd_stats.c */
int cmd_query_stats(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args, json_t **ret,
		    struct err *e);

/* cmd_keys.c */
int cmd_query_keys(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args, json_t **ret,
		   struct err *e);
int cmd_manifest_revoke(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args, json_t **ret,
			struct err *e);

#endif
