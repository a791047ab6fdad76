// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Changes the text of a guest whose vCPUs run nothing else, and lets them judge.
 * Exit 1 on any violation: a result that no version of the text gives, a stale
 * one, half a pair, an exception, a guest that fell over or lost a vCPU, an
 * injected event that was not seen once. Must never report a run in which the
 * guest did nothing as a good one.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "tests/stress/at.h"
#include "tests/stress/exits.h"
#include "tests/stress/missing.h"

enum { EXIT_VIOLATION = 1, EXIT_USAGE = 2, EXIT_NOT_RUN = 3, EXIT_SKIP = 77 };

struct outcome {
	struct change_figures change;
	uint64_t nmi_sent, mce_sent;
	struct smp_vcpu sum;
	uint64_t elapsed_us;
	uint64_t fallen;    /* guest dead, vCPUs that never came to rest */
	uint64_t uncounted; /* injected events not seen, or seen too often */
	size_t sites, groups;
};

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

static uint64_t outcome_violations(const struct outcome *o)
{
	return guest_violations(&o->sum) + o->fallen + o->uncounted;
}

static double per_second(uint64_t n, uint64_t us)
{
	return us ? (double)n * 1e6 / (double)us : 0;
}

/* Members after "mce_seen" say where violations lie and how sharp the checks were. */
static json_t *outcome_json(const struct options *o, const struct outcome *r)
{
	const uint64_t *kinds = r->sum.violations;

	return json_pack("{s:s, s:i, s:I, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I,"
			 " s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I}}",
			 "mode", options_mode_name(o), "vcpus", (int)o->vcpus, "flips", (json_int_t)r->change.flips,
			 "flips_per_s", per_second(r->change.flips, r->elapsed_us), "violations",
			 (json_int_t)outcome_violations(r), "guest_iterations", (json_int_t)r->sum.iterations, "traps",
			 (json_int_t)r->change.traps, "kicked", (json_int_t)r->change.kicked, "already_out",
			 (json_int_t)r->change.already_out, "waited_us", (json_int_t)r->change.waited_us,
			 "longest_flip_us", (json_int_t)r->change.longest_us, "nmi_sent", (json_int_t)r->nmi_sent,
			 "nmi_seen", (json_int_t)r->sum.nmi_seen, "mce_sent", (json_int_t)r->mce_sent, "mce_seen",
			 (json_int_t)r->sum.mce_seen, "timer_seen", (json_int_t)r->sum.timer_seen, "busy",
			 (json_int_t)r->change.busy, "sites", (json_int_t)r->sites, "groups", (json_int_t)r->groups,
			 "checks", (json_int_t)r->sum.checks, "exact_checks", (json_int_t)r->sum.exact, "pairs_checked",
			 (json_int_t)r->sum.pairs_checked, "pairs_between", (json_int_t)r->sum.pairs_between,
			 "changes", (json_int_t)r->change.changes, "held", (json_int_t)r->change.held, "copied",
			 (json_int_t)r->change.copied, "violation_kinds", "result", (json_int_t)kinds[SMP_VIOLATION_RESULT], "stale",
			 (json_int_t)kinds[SMP_VIOLATION_STALE], "pair", (json_int_t)kinds[SMP_VIOLATION_PAIR],
			 "exception", (json_int_t)kinds[SMP_VIOLATION_EXCEPTION], "nested",
			 (json_int_t)kinds[SMP_VIOLATION_NESTED], "fallen", (json_int_t)r->fallen,
			 "uncounted", (json_int_t)r->uncounted);
}

static void outcome_print(const struct options *o, const struct outcome *r)
{
	json_t *json = outcome_json(o, r), *value;
	const char *key;

	if (o->json)
		json_dumpf(json, stdout, JSON_REAL_PRECISION(9));
	else
		json_object_foreach(json, key, value) {
			printf("%-16s ", key);
			json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
			putchar('\n');
		}
	if (o->json)
		putchar('\n');
	json_decref(json);
}

/* Where an event that the guest did not see once is: still in KVM's hands, or gone. */
static void lost_print(const struct injector *i)
{
	for (unsigned v = 0; v < i->guest->vcpus; v++) {
		const struct smp_vcpu *seen = &i->guest->cpus[v];
		struct machine_events now;

		if (seen->nmi_seen == i->nmi.sent[v] && seen->mce_seen == i->mce.sent[v])
			continue;
		fprintf(stderr, "stress: vCPU %u: %" PRIu64 " of %" PRIu64 " NMIs and %" PRIu64 " of %" PRIu64
			" machine checks seen", v, seen->nmi_seen, i->nmi.sent[v], seen->mce_seen, i->mce.sent[v]);
		if (machine_events(i->guest->machine, v, &now, NULL) >= 0)
			fprintf(stderr, "; KVM has %u NMIs pending, %d injected, masked %d, exception %d, MCG_STATUS %" PRIx64,
				now.nmi_pending, now.nmi_injected, now.nmi_masked, now.exception, now.mcg_status);
		fputc('\n', stderr);
	}
}

/* An idle vCPU proves nothing. */
static int outcome_check(const struct guest *g, const struct outcome *o, struct err *e)
{
	if (outcome_violations(o))
		return 0;
	for (unsigned i = 0; i < g->vcpus; i++)
		if (g->cpus[i].iterations == 0)
			return err_set(e, ERR_FAILED, ETIMEDOUT, "", "vCPU %u did not finish a round", i);
	if (o->change.flips == 0)
		return err_set(e, ERR_FAILED, ETIMEDOUT, "", "nothing was changed: %" PRIu64 " transactions were busy",
			       o->change.busy);
	if (o->sum.exact == 0)
		return err_set(e, ERR_FAILED, ETIMEDOUT, "", "no result was looked at while the text was stable");
	return 0;
}

static void outcome_count(struct guest *g, struct outcome *o)
{
	o->fallen = guest_rest(g);
	for (unsigned i = 0; o->fallen && i < g->vcpus && !guest_is_dead(g); i++)
		if (!g->cpus[i].resting)
			missing_print(g->machine, i);
	if (guest_is_dead(g) && o->fallen == 0)
		o->fallen = 1;
	guest_sum(g, &o->sum);
	o->uncounted = distance(o->nmi_sent, o->sum.nmi_seen) + distance(o->mce_sent, o->sum.mce_seen);
	o->sites = g->n_sites;
	o->groups = g->n_groups;
}

static int run(const struct options *options, struct outcome *ret, struct err *e)
{
	_cleanup_(guest_free) struct guest *g = NULL;
	_cleanup_(changer_free) struct changer *c = NULL;
	struct injector injector;
	struct outcome o = { 0 };
	int r = guest_create(options, &g, e);

	if (r < 0)
		return r;
	injector_init(&injector, g, options);
	r = changer_create(g, options, &injector, &c, e);
	if (r >= 0)
		r = guest_start(g, e);
	if (r < 0)
		return r;
	if (options->prefer && machine_prefer_thread() < 0)
		fprintf(stderr, "stress: --prefer is not permitted\n");
	uint64_t began = now_us();
	r = changer_run(c, &o.change, e);
	o.elapsed_us = now_us() - began;
	injector_settle(&injector);
	o.nmi_sent = inject_stream_sent(&injector.nmi);
	o.mce_sent = inject_stream_sent(&injector.mce);
	outcome_count(g, &o);
	for (unsigned i = 0; i < g->vcpus; i++)
		guest_violation_print(g, i);
	lost_print(&injector);
	*ret = o;
	return r < 0 ? r : outcome_check(g, &o, e);
}

static void at_print(const struct options *o, const struct at_figures *f)
{
	json_t *json = json_pack("{s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
				 "mode",
				 options_mode_name(o), "vcpus", (int)o->vcpus, "flips", (json_int_t)f->change.flips,
				 "violations", (json_int_t)at_violations(f), "nmi_sent", (json_int_t)f->nmis, "mce_sent",
				 (json_int_t)f->mces, "landed", (json_int_t)f->landed, "blocked", (json_int_t)f->blocked,
				 "places", (json_int_t)f->places, "stages", (json_int_t)f->stages, "steps",
				 (json_int_t)f->steps, "traps", (json_int_t)f->change.traps, "held",
				 (json_int_t)f->change.held, "copied", (json_int_t)f->change.copied, "busy",
				 (json_int_t)f->change.busy, "dirty", (json_int_t)f->dirty, "uncounted",
				 (json_int_t)f->uncounted, "fallen", (json_int_t)f->fallen);

	json_dumpf(json, stdout, o->json ? 0 : JSON_INDENT(2));
	putchar('\n');
	json_decref(json);
}

static int main_at(const struct options *o)
{
	struct at_figures f = { 0 };
	struct err e = { 0 };
	int r = at_run(o, &f, &e);

	if (r < 0)
		fprintf(stderr, "stress: %s\n", e.text);
	at_print(o, &f);
	if (at_violations(&f))
		return EXIT_VIOLATION;
	return r < 0 ? EXIT_NOT_RUN : 0;
}

static void exits_print(const struct options *o, const struct exits_figures *f)
{
	json_t *json = json_pack("{s:s, s:I, s:I, s:I}", "mode", options_mode_name(o), "violations", (json_int_t)f->violations, "halted", (json_int_t)f->halted, "ticks",
				 (json_int_t)f->ticks);
	json_t *batches = json_array();

	for (const struct exits_batch *b = f->batches; b < f->batches + f->n; b++)
		json_array_append_new(batches, json_pack("{s:i, s:i, s:i, s:i, s:I, s:I, s:I}", "sites", (int)b->sites, "every",
							 (int)b->every, "rounds", (int)b->rounds, "limit", (int)b->limit, "low", (json_int_t)b->low,
							 "median", (json_int_t)b->median, "most", (json_int_t)b->most));
	json_object_set_new(json, "batches", batches);
	json_dumpf(json, stdout, o->json ? 0 : JSON_INDENT(2));
	putchar('\n');
	json_decref(json);
}

static int main_exits(const struct options *o)
{
	struct exits_figures f = { 0 };
	struct err e = { 0 };
	int r = exits_run(o, &f, &e);

	if (r < 0)
		fprintf(stderr, "stress: %s\n", e.text);
	if (r == -ENOTSUP)
		return EXIT_SKIP;
	exits_print(o, &f);
	if (f.violations)
		return EXIT_VIOLATION;
	return r < 0 ? EXIT_NOT_RUN : 0;
}

int main(int argc, char *argv[])
{
	struct options options;
	struct outcome outcome = { 0 };
	struct err e = { 0 };

	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		options_usage(stdout);
		return 0;
	}
	if (options_parse(argc, argv, &options) < 0)
		return EXIT_USAGE;
	if (access("/dev/kvm", R_OK | W_OK) < 0) {
		fprintf(stderr, "stress: /dev/kvm: %s\n", strerror(errno));
		return EXIT_SKIP;
	}
	if (options.count_exits)
		return main_exits(&options);
	if (options.at)
		return main_at(&options);
	int r = run(&options, &outcome, &e);
	if (r < 0)
		fprintf(stderr, "stress: %s\n", e.text);
	if (outcome.elapsed_us)
		outcome_print(&options, &outcome);
	if (outcome_violations(&outcome))
		return EXIT_VIOLATION;
	return r < 0 ? EXIT_NOT_RUN : 0;
}
