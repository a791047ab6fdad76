/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What was done to VMs since vmpoked started, counted: for query-stats and for metrics.sock.
 * The figures are what workers say, and a hostile guest may speak for its worker: they are
 * bounded, and believed no further.
 */
#ifndef VMPOKE_CONTROL_STATS_H
#define VMPOKE_CONTROL_STATS_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

#include "protocol/err.h"

struct daemon;
struct session;
struct vm;

enum stats_operation { STATS_APPLY, STATS_REVERT, STATS_REPLACE, STATS_OPERATIONS };
enum stats_mode { STATS_FLIPPED, STATS_STAGED, STATS_HELD, STATS_STOPPED, STATS_MODES };
enum stats_failure { STATS_REFUSED, STATS_TIMEOUT, STATS_ATTENTION, STATS_FAILED, STATS_FAILURES };

#define STATS_BUCKETS 11 /* of the longest pauses of changes; the last one is all */

/* Zeroed: nothing has happened. */
struct vm_stats {
	uint64_t changed[STATS_OPERATIONS][STATS_MODES];
	uint64_t unchanged[STATS_OPERATIONS]; /* it was so before */
	uint64_t failed[STATS_OPERATIONS][STATS_FAILURES];
	uint64_t barriers, forced_exits, steps, retries;
	uint64_t pauses[STATS_BUCKETS]; /* changes by their longest pause; not cumulative */
	uint64_t pause_sum_us, pause_max_us;
	uint64_t worker_deaths;
};

/* What a command of a worker came to; value or e (both borrowed) is NULL. Commands that change no text are passed over. */
void stats_account(struct vm_stats *s, const char *command, json_t *value, const struct err *e);

/*
 * query-stats: the daemon, and up to count VMs that the client may see, beginning with number start. A new
 * reference; NULL when memory is short. vm: only this one (NULL: all).
 */
json_t *stats_query(struct daemon *d, const struct session *s, const struct vm *vm, size_t start, size_t count);

/* How many install rules have come to this in a VM (enum desired_state). */
uint64_t stats_desired(const struct vm *vm, int state);

/* The upper bound of a bucket in microseconds; UINT64_MAX of the last. */
uint64_t stats_bucket_us(unsigned bucket);

const char *stats_operation_name(enum stats_operation o);
const char *stats_mode_name(enum stats_mode m);
const char *stats_failure_name(enum stats_failure f);

/* Resident memory of a process in bytes; 0 when it cannot be told. */
uint64_t stats_rss(pid_t pid);

#endif
