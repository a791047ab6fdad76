/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One run of the command line: options, verb, arguments, the connection to
 * vmpoked. A verb is one function and one row in the table of verbs.c.
 */
#ifndef VMPOKE_CLI_CLI_H
#define VMPOKE_CLI_CLI_H

#include <jansson.h>
#include <stdint.h>

#include "cli/options.h"
#include "cli/output.h"
#include "protocol/err.h"

#define CLI_EXIT_NOT_APPLIED 3
#define CLI_EXIT_ATTENTION 9
#define CLI_PATCH_TIMEOUT_MS 10000 /* what vmpoked assumes without "timeout" */
#define CLI_GRACE_MS 35000	   /* for resolving, journalling, undoing: on top of the patch's own timeout */

struct qmp_client;
struct cli;

struct cli_verb {
	const char *name, *alias; /* alias: NULL when there is none */
	const char *args;	  /* for the help, "VM PATCH"; [X] is optional */
	int min_args, max_args;
	unsigned options;	  /* enum cli_option_group */
	const char *help;
	int (*run)(struct cli *c); /* returns the exit code, having printed everything */
};

struct cli {
	struct cli_options options;
	const struct cli_verb *verb;
	const char **args;
	int n_args;
	struct qmp_client *client; /* NULL until the first call */
	bool several;		   /* the verb runs for one of several VMs: its lines say which */
	struct err failed;	   /* what cli_fail() printed last; kind ERR_NONE: nothing */
	struct output out;
};

/* main.c: without --socket the environment's, or the one an installation has. */
void cli_socket_default(struct cli *c);

/* verbs.c */
const struct cli_verb *cli_verbs(size_t *ret_count);
const struct cli_verb *cli_verb_find(const char *name, struct err *e); /* name or alias; NULL and *e with a suggestion */

/* help.c */
int cli_help_all(struct cli *c);
int cli_help_verb(struct cli *c, const struct cli_verb *verb);
int cmd_help(struct cli *c);

/* session.c: connects when needed. type: what the answer must be, JSON_OBJECT or JSON_ARRAY. Steals args. */
int cli_connect(struct cli *c, struct err *e);
int cli_call(struct cli *c, const char *command, json_t *args, json_type type, json_t **ret, struct err *e);
uint64_t cli_deadline_us(const struct cli *c); /* how long to wait for one answer */
int cli_lost(struct cli *c, const char *command, int r, struct err *e); /* the connection broke with r: says so in *e */

/* getfd: passes an open file (borrowed) to vmpoked under a name, for the commands that follow. */
int cli_pass_fd(struct cli *c, const char *name, int fd, struct err *e);

/* Prints the error's sentence to standard error; returns its exit code. */
int cli_fail(struct cli *c, const struct err *e);

/* "web1: " before a line that does not say which VM it is about, where several are; else "". */
const char *cli_vm_prefix(struct cli *c);

/* cmd_*.c */
int cmd_list(struct cli *c);
int cmd_add(struct cli *c);
int cmd_run(struct cli *c);
int cmd_destroy(struct cli *c);
int cmd_remove(struct cli *c);
int cmd_info(struct cli *c);
int cmd_probe(struct cli *c);
int cmd_agent(struct cli *c);
int cmd_symbols(struct cli *c);
int cmd_sites(struct cli *c);
int cmd_count(struct cli *c);
int cmd_check(struct cli *c);
int cmd_apply(struct cli *c);
int cmd_revert(struct cli *c);
int cmd_install(struct cli *c);
int cmd_uninstall(struct cli *c);
int cmd_rules(struct cli *c);
int cmd_wait(struct cli *c);
int cmd_replace(struct cli *c);
int cmd_export(struct cli *c);
int cmd_adopt(struct cli *c);
int cmd_status(struct cli *c);
int cmd_verify(struct cli *c);
int cmd_history(struct cli *c);
int history_trace(struct cli *c); /* trace.c: with --trace */
int cmd_events(struct cli *c);
int cmd_qmp(struct cli *c);
int cmd_version(struct cli *c);
int cmd_keys(struct cli *c);
int cmd_stats(struct cli *c);
int cmd_revoke(struct cli *c);
int cmd_manifest(struct cli *c);
int cmd_setup_domain(struct cli *c);

/* cmd_vm.c: a path as vmpoked, which has another working directory, must be told it. NULL: out of memory or not UTF-8. */
json_t *cli_path_absolute(const char *path);

/* cmd_vm.c: passes the file of --agent-key to vmpoked under the name "agent-key"; the key itself is never an argument. */
int agent_key_pass(struct cli *c, struct err *e);
/* An agent's address as vmpoked wants it: "unix:" takes a path as seen from here. New reference; NULL: no memory. */
json_t *agent_address(const char *agent);

/* cmd_rules.c: what the rules want of one VM, from an answer that tells it; as desired or not is for the exit code. */
void desired_print(struct cli *c, json_t *answer);
bool desired_met(json_t *answer);

/* cmd_patch.c: --mode, --traps, --agent-use and --timeout as arguments. */
void patch_options_add(const struct cli *c, json_t *args);

/* cmd_agent.c: how the guest's agent was used for an operation (NULL: there is none); the agent in a few words. */
void agent_use_print(struct cli *c, json_t *agent);
const char *agent_summary(struct cli *c, json_t *agent);

/* job.c: calls a command that can run as a job. With --no-wait prints the job's id and sets *ret to NULL. Steals args. */
int cli_job_call(struct cli *c, const char *command, json_t *args, json_t **ret, struct err *e);

/* patch_arg.c: a PATCH argument is a file (then its text is sent, and the object it names) or the name of a patch vmpoked knows. */
int patch_arg_add(const char *arg, bool with_object, json_t *args, struct err *e);
int patch_arg_name(const char *arg, char *name, size_t cap, struct err *e); /* the patch's name; reads and parses a file */

/* manifest_arg.c: "manifest" and "signature", where the patch file has them; after patch_arg_add(). */
int manifest_arg_add(const struct cli *c, const char *patch, json_t *args, struct err *e);

#endif
