/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vmpoked.conf and vmpoked.conf.d/ beside it: what vmpoked's options can say as well, and the policy.
 * docs/policy.md describes the format. All or nothing: a file with a mistake gives no configuration.
 */
#ifndef VMPOKE_CONTROL_CONFIG_H
#define VMPOKE_CONTROL_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "protocol/err.h"
#include "vmm/control/policy.h"

#define CONFIG_SIZE_MAX (64u << 10) /* bytes of one file */
#define CONFIG_FILES_MAX 64

struct config {
	/* "" or as below: not given */
	char state_dir[PATH_MAX], runtime_dir[PATH_MAX], worker[PATH_MAX], keys_dir[PATH_MAX];
	int log_level;		  /* a syslog priority; -1 */
	uint64_t client_stall_us; /* 0 */
	mode_t read_only_mode;	  /* of control-ro.sock and metrics.sock; 0 */
	struct policy policy;
	bool has_file;	   /* path itself was there */
	bool unsigned_set; /* [policy] says whether unsigned patches are allowed */
};

/*
 * path and the files of path.d/ that end in .conf, in the order of their names: later ones win, rules add up.
 * Malloc'ed. A path that is not there is an error only when it must be. Errors say "FILE:LINE: ...".
 */
int config_load(const char *path, bool must_exist, struct config **ret, struct err *e);

/*
 * May new be taken over while old is in force? Not where less is forbidden because something that was said is not said
 * any more, as when a file was deleted: -EPERM, ERR_REFUSED, rule "config".
 */
int config_may_replace(const struct config *old, const struct config *new, struct err *e);

/* What there is without a file. NULL when memory is short. */
struct config *config_new(void);
void config_free(struct config *c); /* NULL allowed */
DEFINE_CLEANUP(struct config, config_free)

/* Can anybody but root and vmpoked's own user write a file that decides on rights? By owner and mode. */
bool file_others_may_write(const struct stat *st);

/* "30" to microseconds: 1 to 86400 seconds. -EINVAL. */
int config_seconds_parse(const char *text, uint64_t *ret_us);

#endif
