// SPDX-License-Identifier: GPL-2.0-or-later
/* Counting; see stats.h. Must never make a counter go down, whatever a worker says. */
#include "vmm/control/stats.h"

#include <string.h>
#include <unistd.h>

#include "protocol/util.h"
#include "vmm/control/authorize.h"
#include "vmm/control/daemon.h"
#include "vmm/control/session.h"
#include "vmm/control/vm.h"

#define FIGURE_MAX INT64_C(3600000000) /* an hour in microseconds, and more than any count */

static const char *const operation_names[] = {
	[STATS_APPLY] = "apply", [STATS_REVERT] = "revert", [STATS_REPLACE] = "replace",
};
static const char *const mode_names[] = {
	[STATS_FLIPPED] = "flipped", [STATS_STAGED] = "staged", [STATS_HELD] = "held", [STATS_STOPPED] = "stopped",
};
static const char *const failure_names[] = {
	[STATS_REFUSED] = "refused", [STATS_TIMEOUT] = "timeout", [STATS_ATTENTION] = "attention", [STATS_FAILED] = "failed",
};

const char *stats_operation_name(enum stats_operation o)
{
	return operation_names[o];
}

const char *stats_mode_name(enum stats_mode m)
{
	return mode_names[m];
}

const char *stats_failure_name(enum stats_failure f)
{
	return failure_names[f];
}

uint64_t stats_bucket_us(unsigned bucket)
{
	static const uint64_t bounds[STATS_BUCKETS] = {
		100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, UINT64_MAX,
	};

	return bounds[bucket];
}

/* --- counting --- */

static int find(const char *const *names, int n, const char *name)
{
	for (int i = 0; name && i < n; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -1;
}

static uint64_t figure(json_t *value, const char *key)
{
	json_t *v = json_object_get(value, key);
	json_int_t n = json_is_integer(v) ? json_integer_value(v) : 0;

	return n < 0 ? 0 : n > FIGURE_MAX ? (uint64_t)FIGURE_MAX : (uint64_t)n;
}

static enum stats_failure failure_of(const struct err *e)
{
	return e->kind == ERR_REFUSED   ? STATS_REFUSED :
	       e->kind == ERR_TIMEOUT   ? STATS_TIMEOUT :
	       e->kind == ERR_ATTENTION ? STATS_ATTENTION :
					  STATS_FAILED;
}

static void account_pause(struct vm_stats *s, uint64_t us)
{
	unsigned bucket = 0;

	while (us > stats_bucket_us(bucket))
		bucket++;
	s->pauses[bucket]++;
	s->pause_sum_us += us;
	if (us > s->pause_max_us)
		s->pause_max_us = us;
}

static void account_change(struct vm_stats *s, int operation, json_t *value)
{
	int mode = find(mode_names, STATS_MODES, json_string_value(json_object_get(value, "mode")));

	if (!json_is_true(json_object_get(value, "changed")) || mode < 0) {
		s->unchanged[operation]++;
		return;
	}
	s->changed[operation][mode]++;
	s->barriers += figure(value, "barriers");
	s->forced_exits += figure(value, "forced_exits");
	s->steps += figure(value, "steps");
	s->retries += figure(value, "retries");
	account_pause(s, figure(value, "longest_pause_us"));
}

void stats_account(struct vm_stats *s, const char *command, json_t *value, const struct err *e)
{
	int operation = strncmp(command, "patch-", 6) == 0 ? find(operation_names, STATS_OPERATIONS, command + 6) : -1;

	if (operation < 0)
		return;
	if (e)
		s->failed[operation][failure_of(e)]++;
	else
		account_change(s, operation, value);
}

/* --- telling --- */

uint64_t stats_rss(pid_t pid)
{
	char path[32], text[128] = "";
	unsigned long long pages = 0;

	snprintf(path, sizeof(path), "/proc/%d/statm", pid);
	FILE *f = pid > 0 ? fopen(path, "re") : NULL;
	if (f && fgets(text, sizeof(text), f))
		(void)!sscanf(text, "%*s %llu", &pages);
	if (f)
		fclose(f);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void put(json_t *o, const char *key, uint64_t n)
{
	json_object_set_new(o, key, json_integer((json_int_t)n));
}

static json_t *counted(const char *operation, const char *mode, const char *result, uint64_t n)
{
	json_t *o = json_pack("{s:s, s:s, s:I}", "operation", operation, "result", result, "count", (json_int_t)n);

	if (mode)
		json_object_set_new(o, "mode", json_string(mode));
	return o;
}

/* Only what has happened: most VMs rest, and a reply has a limit. */
static json_t *changes_json(const struct vm_stats *s)
{
	json_t *list = json_array();

	for (int op = 0; op < STATS_OPERATIONS; op++) {
		for (int m = 0; m < STATS_MODES; m++)
			if (s->changed[op][m])
				json_array_append_new(list, counted(operation_names[op], mode_names[m], "changed", s->changed[op][m]));
		if (s->unchanged[op])
			json_array_append_new(list, counted(operation_names[op], NULL, "unchanged", s->unchanged[op]));
		for (int f = 0; f < STATS_FAILURES; f++)
			if (s->failed[op][f])
				json_array_append_new(list, counted(operation_names[op], NULL, failure_names[f], s->failed[op][f]));
	}
	return list;
}

static json_t *pause_json(const struct vm_stats *s)
{
	json_t *buckets = json_array(), *o = json_object();
	uint64_t n = 0;

	for (unsigned i = 0; i < STATS_BUCKETS; i++) {
		n += s->pauses[i];
		if (i < STATS_BUCKETS - 1 && s->pauses[i])
			json_array_append_new(buckets, json_pack("{s:I, s:I}", "up_to_us", (json_int_t)stats_bucket_us(i), "count",
								 (json_int_t)s->pauses[i]));
	}
	put(o, "count", n);
	put(o, "sum_us", s->pause_sum_us);
	put(o, "max_us", s->pause_max_us);
	json_object_set_new(o, "buckets", buckets);
	return o;
}

uint64_t stats_desired(const struct vm *vm, int state)
{
	uint64_t n = 0;

	for (size_t i = 0; i < vm->desired.n; i++)
		n += vm->desired.list[i].state == (enum desired_state)state;
	return n;
}

static json_t *desired_json(const struct vm *vm)
{
	json_t *list = json_array();

	for (int state = 0; state < DESIRED_STATES; state++)
		if (stats_desired(vm, state))
			json_array_append_new(list, json_pack("{s:s, s:I}", "state", desired_state_name((enum desired_state)state), "count",
							      (json_int_t)stats_desired(vm, state)));
	return list;
}

static json_t *vm_json(const struct vm *vm)
{
	const struct vm_stats *s = &vm->stats;
	json_t *described = vm_describe(vm), *o = json_pack("{s:s}", "vm", vm->entry.name);

	json_object_set(o, "state", json_object_get(described, "state"));
	json_object_set(o, "patches", json_object_get(described, "patches"));
	json_decref(described);
	put(o, "worker_rss", stats_rss(vm->worker.pid));
	put(o, "worker_deaths", s->worker_deaths);
	put(o, "barriers", s->barriers);
	put(o, "forced_exits", s->forced_exits);
	put(o, "steps", s->steps);
	put(o, "retries", s->retries);
	json_object_set_new(o, "desired", desired_json(vm));
	json_object_set_new(o, "changes", changes_json(s));
	json_object_set_new(o, "pause", pause_json(s));
	return o;
}

static json_t *daemon_json(const struct daemon *d)
{
	json_t *o = json_object();

	put(o, "uptime_us", now_us() - d->started_us);
	put(o, "rss", stats_rss(getpid()));
	put(o, "vms", d->n_vms);
	put(o, "workers", daemon_workers(d));
	put(o, "clients", d->server.n_sessions);
	put(o, "clients_read_only", d->server.n_sessions_ro);
	put(o, "jobs", jobs_running(&d->jobs));
	put(o, "refused", d->audit.total_refused);
	return o;
}

json_t *stats_query(struct daemon *d, const struct session *s, const struct vm *only, size_t start, size_t count)
{
	json_t *vms = json_array();
	const struct vm *vm;
	size_t i = 0;
	json_int_t next = -1;

	LIST_FOREACH(vm, &d->vms, link) {
		if (vm->phase != VM_ACTIVE || (only && vm != only) || !authorize_sees(d, s, vm->entry.name))
			continue;
		if (i >= start && json_array_size(vms) < count)
			json_array_append_new(vms, vm_json(vm));
		else if (i >= start && next < 0)
			next = (json_int_t)i;
		i++;
	}
	return json_pack("{s:o, s:o, s:I}", "daemon", daemon_json(d), "vms", vms, "next", next);
}
