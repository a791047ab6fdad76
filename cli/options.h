/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Command-line options as data: one row per option, shared by the parser and
 * the help. Long options must be spelled out; abbreviations would change their
 * meaning the day a longer option is added.
 */
#ifndef VMPOKE_CLI_OPTIONS_H
#define VMPOKE_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/err.h"

#define CLI_TIMEOUT_MS_MAX 600000 /* what vmpoked accepts as "timeout" */
#define CLI_VCPUS_MAX 64	  /* what vmpoked accepts as "vcpus" */
#define CLI_DISKS_MAX  4	  /* and as "disks" */
#define CLI_MEMORY_MAX (1ull << 40) /* and as "memory" */
#define CLI_RATE_MAX 1000000	  /* and as "max-rate" */
#define CLI_LIST_MAX 32		  /* of options that may be given again */
#define CLI_PRIORITY_MAX 1000	  /* what vmpoked accepts as "priority" */
#define CLI_LIMIT_MAX 1000	  /* what vmpoked accepts as "limit" */

enum cli_color { CLI_COLOR_AUTO, CLI_COLOR_ALWAYS, CLI_COLOR_NEVER };

/* Which verbs an option is for; 0 means all of them. */
enum cli_option_group {
	CLI_OPT_JOB = 1 << 0,
	CLI_OPT_DRY_RUN = 1 << 1,
	CLI_OPT_ADD = 1 << 2,
	CLI_OPT_REMOVE = 1 << 3,
	CLI_OPT_HISTORY = 1 << 4,
	CLI_OPT_AGENT = 1 << 23,
	CLI_OPT_RUN = 1 << 5,
	CLI_OPT_MODE = 1 << 6,
	CLI_OPT_SITES = 1 << 7,
	CLI_OPT_COUNT = 1 << 8,
	CLI_OPT_VMLINUX = 1 << 9,
	CLI_OPT_RULE = 1 << 12,
	CLI_OPT_STATUS = 1 << 13,
	CLI_OPT_WAIT = 1 << 14,
	CLI_OPT_SIGNED = 1 << 20,   /* verbs that send a manifest */
	CLI_OPT_MANIFEST = 1 << 21, /* verbs about one */
	CLI_OPT_SERIAL = 1 << 22,
	CLI_OPT_TARGETS = 1 << 10, /* the verb can be run for several VMs */
	CLI_OPT_WATCH = 1 << 11,
	CLI_OPT_SETUP = 1 << 18,
};

struct cli_options {
	const char *socket, *qmp, *gdb, *agent, *agent_key, *set; /* NULL when not given */
	const char *kernel, *initrd, *append, *console;
	const char *disks[CLI_DISKS_MAX]; /* as given, ",ro" included */
	size_t n_disks;
	unsigned vcpus;	 /* 0 when not given */
	uint64_t memory; /* bytes; 0 when not given */
	int json, no_wait, dry_run, keep_patches, help, version, all, watch;
	int verbosity; /* -1 quiet, 0, 1 verbose */
	enum cli_color color;
	int limit; /* 0 when not given */
	const char *manifest, *expires; /* NULL when not given */
	int unsigned_;
	const char *build_ids[CLI_LIST_MAX], *vms[CLI_LIST_MAX];
	size_t n_build_ids, n_vms;
	int64_t serial; /* 0 when not given */
	const char *mode, *traps, *trace, *agent_use, *vmlinux; /* NULL when not given */
	const char *kind; /* of sites; NULL when not given */
	int64_t id; /* of a transaction; 0 when not given */
	const char *connect, *monitor; /* of setup-domain; NULL when not given */
	int apply;
	bool has_timeout;
	uint64_t timeout_ms;
	int priority; /* of a rule; 0 when not given */
	const char *wait_for; /* NULL when not given */
	int why, adopt;
	int max_rate;  /* hits per second; 0 when not given */
	uint64_t seen; /* bit i: row i of the table was given */
};

struct cli_option {
	char letter;	     /* '\0' when there is none */
	const char *name;
	const char *arg;     /* name of its argument for the help; NULL when it takes none */
	unsigned group;	     /* enum cli_option_group */
	const char *help;
	int (*set)(struct cli_options *o, const char *value); /* -EINVAL: not a legal value */
};

const struct cli_option *cli_options(size_t *ret_count);

/*
 * Splits argv[1..argc) into *o and the remaining arguments (args has room for argc
 * of them), options being allowed anywhere before "--". -EINVAL with ERR_USAGE.
 */
int cli_options_parse(int argc, char **argv, struct cli_options *o, const char **args, int *ret_n_args,
		      struct err *e);

/* -EINVAL when an option was given that only other verbs know. */
int cli_options_check(const struct cli_options *o, const char *verb, unsigned groups, struct err *e);

#endif
