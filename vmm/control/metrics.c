// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The text of the metrics; see metrics.h. All samples of a family stand together, as both formats
 * want it. Names of VMs and states need no quoting: their alphabets are known. Must never tell a peer of
 * a VM that the policy hides from it.
 */
#include "vmm/control/metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vmm/control/daemon.h"
#include "vmm/control/peer.h"
#include "vmm/control/stats.h"
#include "vmm/control/vm.h"

struct page {
	FILE *f;
	const struct daemon *daemon;
	const struct peer *peer;
	bool open; /* OpenMetrics */
};

/* name without _total or _info: the formats disagree on whose they are. */
static void family(struct page *p, const char *name, const char *type, const char *unit, const char *help)
{
	const char *end = p->open ? "" : strcmp(type, "counter") == 0 ? "_total" : strcmp(type, "info") == 0 ? "_info" : "";

	if (!p->open && strcmp(type, "info") == 0)
		type = "gauge";
	fprintf(p->f, "# HELP %s%s %s\n# TYPE %s%s %s\n", name, end, help, name, end, type);
	if (p->open && unit)
		fprintf(p->f, "# UNIT %s %s\n", name, unit);
}

static void plain(struct page *p, const char *name, const char *type, const char *unit, const char *help, uint64_t value)
{
	family(p, name, type, unit, help);
	fprintf(p->f, "%s%s %" PRIu64 "\n", name, strcmp(type, "counter") == 0 ? "_total" : "", value);
}

static bool shown(const struct page *p, const struct vm *vm)
{
	return vm->phase == VM_ACTIVE && policy_sees(&p->daemon->config->policy, p->peer, vm->entry.name);
}

/* --- vmpoked itself --- */

static double cpu_seconds(void)
{
	struct rusage u;

	if (getrusage(RUSAGE_SELF, &u) < 0)
		return 0;
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void daemon_print(struct page *p)
{
	const struct daemon *d = p->daemon;

	family(p, "vmpoke_build", "info", NULL, "Version of vmpoked.");
	fprintf(p->f, "vmpoke_build_info{version=\"%s\"} 1\n", VMPOKE_VERSION);
	family(p, "process_cpu_seconds", "counter", "seconds", "CPU time of vmpoked, without its workers.");
	fprintf(p->f, "process_cpu_seconds_total %.6f\n", cpu_seconds());
	plain(p, "process_resident_memory_bytes", "gauge", "bytes", "Resident memory of vmpoked.", stats_rss(getpid()));
	family(p, "vmpoke_uptime_seconds", "gauge", "seconds", "Since vmpoked was started.");
	fprintf(p->f, "vmpoke_uptime_seconds %.3f\n", (double)(now_us() - d->started_us) / 1e6);
	plain(p, "vmpoke_vms", "gauge", NULL, "VMs registered.", d->n_vms);
	plain(p, "vmpoke_workers", "gauge", NULL, "Worker processes.", daemon_workers(d));
	family(p, "vmpoke_clients", "gauge", NULL, "Clients connected.");
	fprintf(p->f, "vmpoke_clients{socket=\"control\"} %zu\nvmpoke_clients{socket=\"read-only\"} %zu\n",
		d->server.n_sessions - d->server.n_sessions_ro, d->server.n_sessions_ro);
	plain(p, "vmpoke_jobs", "gauge", NULL, "Jobs running.", jobs_running(&d->jobs));
	plain(p, "vmpoke_refusals", "counter", NULL, "Requests refused by policy, signature or socket.", d->audit.total_refused);
}

/* --- VMs, one family after the other --- */

static void states_print(struct page *p)
{
	const struct vm *vm;

	family(p, "vmpoke_vm_state", "gauge", NULL, "1 for the state a VM is in.");
	LIST_FOREACH(vm, &p->daemon->vms, link) {
		if (!shown(p, vm))
			continue;
		json_t *o = vm_describe(vm);
		fprintf(p->f, "vmpoke_vm_state{vm=\"%s\",state=\"%s\"} 1\n", vm->entry.name,
			json_string_value(json_object_get(o, "state")));
		json_decref(o);
	}
}

static uint64_t patches_of(const struct vm *vm)
{
	json_t *o = vm_describe(vm);
	json_int_t n = json_integer_value(json_object_get(o, "patches"));

	json_decref(o);
	return n > 0 ? (uint64_t)n : 0;
}

static uint64_t rss_of(const struct vm *vm)
{
	return stats_rss(vm->worker.pid);
}

static uint64_t barriers_of(const struct vm *vm) { return vm->stats.barriers; }
static uint64_t exits_of(const struct vm *vm) { return vm->stats.forced_exits; }
static uint64_t steps_of(const struct vm *vm) { return vm->stats.steps; }
static uint64_t retries_of(const struct vm *vm) { return vm->stats.retries; }
static uint64_t deaths_of(const struct vm *vm) { return vm->stats.worker_deaths; }

static const struct {
	const char *name, *type, *unit, *help;
	uint64_t (*value)(const struct vm *vm);
} vm_families[] = {
	{ "vmpoke_patches", "gauge", NULL, "Patches applied to a VM.", patches_of },
	{ "vmpoke_worker_resident_memory_bytes", "gauge", "bytes", "Resident memory of a VM's worker; of a machine with its guest's.", rss_of },
	{ "vmpoke_barriers", "counter", NULL, "Serialising barriers.", barriers_of },
	{ "vmpoke_forced_exits", "counter", NULL, "vCPU exits forced.", exits_of },
	{ "vmpoke_single_steps", "counter", NULL, "Single steps to leave a range.", steps_of },
	{ "vmpoke_retries", "counter", NULL, "Attempts that found a range busy.", retries_of },
	{ "vmpoke_worker_deaths", "counter", NULL, "Workers that ended unasked.", deaths_of },
};

static void figures_print(struct page *p)
{
	const struct vm *vm;

	for (size_t i = 0; i < ARRAY_SIZE(vm_families); i++) {
		family(p, vm_families[i].name, vm_families[i].type, vm_families[i].unit, vm_families[i].help);
		LIST_FOREACH(vm, &p->daemon->vms, link)
			if (shown(p, vm))
				fprintf(p->f, "%s%s{vm=\"%s\"} %" PRIu64 "\n", vm_families[i].name,
					strcmp(vm_families[i].type, "counter") == 0 ? "_total" : "", vm->entry.name,
					vm_families[i].value(vm));
	}
}

static void change_print(struct page *p, const struct vm *vm, enum stats_operation op, const char *mode, const char *result, uint64_t n)
{
	if (n)
		fprintf(p->f, "vmpoke_changes_total{vm=\"%s\",operation=\"%s\",mode=\"%s\",result=\"%s\"} %" PRIu64 "\n", vm->entry.name,
			stats_operation_name(op), mode, result, n);
}

static void changes_of(struct page *p, const struct vm *vm)
{
	const struct vm_stats *s = &vm->stats;

	for (enum stats_operation op = 0; op < STATS_OPERATIONS; op++) {
		for (enum stats_mode m = 0; m < STATS_MODES; m++)
			change_print(p, vm, op, stats_mode_name(m), "changed", s->changed[op][m]);
		change_print(p, vm, op, "", "unchanged", s->unchanged[op]);
		for (enum stats_failure f = 0; f < STATS_FAILURES; f++)
			change_print(p, vm, op, "", stats_failure_name(f), s->failed[op][f]);
	}
}

/* Of VMs that nothing was changed in as well: a histogram that appears late has no rate. */
static void pause_of(struct page *p, const struct vm *vm)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < STATS_BUCKETS; i++) {
		n += vm->stats.pauses[i];
		fprintf(p->f, "vmpoke_pause_seconds_bucket{vm=\"%s\",le=\"", vm->entry.name);
		if (i < STATS_BUCKETS - 1)
			fprintf(p->f, "%g\"} %" PRIu64 "\n", (double)stats_bucket_us(i) / 1e6, n);
		else
			fprintf(p->f, "+Inf\"} %" PRIu64 "\n", n);
	}
	fprintf(p->f, "vmpoke_pause_seconds_sum{vm=\"%s\"} %.6f\nvmpoke_pause_seconds_count{vm=\"%s\"} %" PRIu64 "\n", vm->entry.name,
		(double)vm->stats.pause_sum_us / 1e6, vm->entry.name, n);
}

static void max_of(struct page *p, const struct vm *vm)
{
	fprintf(p->f, "vmpoke_longest_pause_seconds{vm=\"%s\"} %.6f\n", vm->entry.name, (double)vm->stats.pause_max_us / 1e6);
}

static void desired_of(struct page *p, const struct vm *vm)
{
	for (int state = 0; state < DESIRED_STATES; state++)
		if (stats_desired(vm, state))
			fprintf(p->f, "vmpoke_desired{vm=\"%s\",state=\"%s\"} %" PRIu64 "\n", vm->entry.name,
				desired_state_name((enum desired_state)state), stats_desired(vm, state));
}

static void each(struct page *p, void (*print)(struct page *p, const struct vm *vm))
{
	const struct vm *vm;

	LIST_FOREACH(vm, &p->daemon->vms, link)
		if (shown(p, vm))
			print(p, vm);
}

static void page_print(struct page *p)
{
	daemon_print(p);
	states_print(p);
	figures_print(p);
	family(p, "vmpoke_desired", "gauge", NULL, "Install rules by what they have come to in a VM.");
	each(p, desired_of);
	family(p, "vmpoke_changes", "counter", NULL, "Applies, reverts and replacements by what came of them.");
	each(p, changes_of);
	family(p, "vmpoke_pause_seconds", "histogram", "seconds", "Longest time a guest stood still for a change.");
	each(p, pause_of);
	family(p, "vmpoke_longest_pause_seconds", "gauge", "seconds", "The longest of these since vmpoked was started.");
	each(p, max_of);
	if (p->open)
		fputs("# EOF\n", p->f);
}

int metrics_format(const struct daemon *d, const struct peer *peer, bool open_metrics, char **ret, size_t *ret_len)
{
	char *text = NULL;
	size_t len = 0;
	struct page p = { .f = open_memstream(&text, &len), .daemon = d, .peer = peer, .open = open_metrics };

	if (!p.f)
		return -ENOMEM;
	page_print(&p);
	bool failed = ferror(p.f);
	if (fclose(p.f) != 0 || failed) {
		free(text);
		return -ENOMEM;
	}
	*ret = text;
	*ret_len = len;
	return 0;
}
