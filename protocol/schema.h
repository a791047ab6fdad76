/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one table of commands, arguments and events of vmpoked. Argument checking,
 * query-commands, query-qmp-schema and docs/qmp-commands.md all come from it.
 */
#ifndef VMPOKE_PROTOCOL_SCHEMA_H
#define VMPOKE_PROTOCOL_SCHEMA_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "protocol/err.h"

enum schema_type {
	SCHEMA_STR,
	SCHEMA_INT,
	SCHEMA_BOOL,
	SCHEMA_ADDRESS, /* string "0x..." */
	SCHEMA_OBJECT,
	SCHEMA_ARRAY,
	SCHEMA_NUMBER,
	SCHEMA_OBJECTS, /* array of objects; as an argument SCHEMA_ARRAY is one of strings */
};

/* What a command does, as far as the policy of vmpoked.conf is concerned; see docs/policy.md. */
enum schema_class {
	SCHEMA_CLASS_NONE,    /* of no command: each row must say */
	SCHEMA_CLASS_SESSION, /* about the connection alone: for everybody who may connect */
	SCHEMA_CLASS_MONITOR, /* looks at what is known; the only class of control-ro.sock */
	SCHEMA_CLASS_CHECK,   /* reads the guest, maybe with a pause, and changes nothing */
	SCHEMA_CLASS_APPLY,   /* puts a patch into a guest */
	SCHEMA_CLASS_REVERT,  /* takes one out */
	SCHEMA_CLASS_MANAGE,  /* which VMs there are: adds, runs, ends, forgets them */
	SCHEMA_CLASS_RULES,   /* what is to be applied to which VMs in future */
	SCHEMA_CLASS_KEYS,    /* whose signatures count */
	SCHEMA_CLASS_JOB,     /* on a job: whatever the class of the job's command is */
	SCHEMA_CLASS_COUNT,
};

#define SCHEMA_ARGS_MAX 16
#define SCHEMA_FIELDS_MAX 32

struct schema_arg {
	const char *name;
	enum schema_type type;
	bool optional;
	json_int_t min, max; /* SCHEMA_INT: allowed range; SCHEMA_STR: max is the longest length (0: 4096) */
	const char *doc;
	bool override; /* lifts a safety default: the policy has to allow it by this name */
	bool internal; /* from vmpoked to a worker; of clients refused as unexpected */
};

struct schema_command {
	const char *name;
	const char *doc;   /* one line */
	enum schema_class class;
	enum schema_class also; /* a second one it needs, where it does two things; NONE: it does not */
	bool read_only;	   /* changes neither a guest nor what vmpoked keeps */
	bool to_worker;	   /* the daemon passes it to the worker of the VM named by "vm" */
	bool job;	   /* may take long: accepts "job-id" and runs as a job */
	bool attached;	   /* a job that is cancelled when the client that waits for it leaves */
	struct schema_arg args[SCHEMA_ARGS_MAX];    /* ends with name NULL */
	struct schema_arg returns[SCHEMA_FIELDS_MAX]; /* members of the returned object; empty: {} */
	bool returns_array; /* an array of such objects */
};

struct schema_event {
	const char *name;
	const char *doc;
	struct schema_arg data[SCHEMA_FIELDS_MAX];
};

/* "monitor" and so on, and back (-EINVAL). */
const char *schema_class_name(enum schema_class class);
int schema_class_from_name(const char *name);

/* May it be given on control-ro.sock? */
bool schema_on_read_only_socket(const struct schema_command *cmd);

/* NULL when there is no such command. */
const struct schema_command *schema_command_find(const char *name);
const struct schema_command *schema_commands(size_t *ret_count);
const struct schema_event *schema_events(size_t *ret_count);

/*
 * Checks arguments before any side effect. -EINVAL with QEMU's sentences:
 * "Parameter 'x' is missing", "Parameter 'x' is unexpected", "Invalid parameter type for 'x', expected: string".
 */
int schema_check_args(const struct schema_command *cmd, json_t *args, struct err *e);

/* Is there an argument of this name? */
bool schema_takes(const struct schema_command *cmd, const char *name);

/* Refuses arguments that are vmpoked's to give, as if they did not exist. */
int schema_refuse_internal(const struct schema_command *cmd, json_t *args, struct err *e);

json_t *schema_query_commands(bool read_only); /* [{"name": ...}]; read_only: only what control-ro.sock allows */
json_t *schema_query_qmp_schema(void);	       /* QEMU's SchemaInfo array */

#endif
