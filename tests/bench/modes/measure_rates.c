// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The stress test's guest, one hot call that all vCPUs run for ever, changed in each
 * mode. The guest checks every result here too: a figure of a run in which it saw a
 * wrong one must never be reported.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "tests/bench/modes/modes.h"
#include "tests/stress/change.h"

#define SECOND 1000000.0

struct run {
	struct guest *guest;
	struct changer *changer;
	struct injector injector;
	struct options options;
};

static void run_done(struct run *r)
{
	changer_free(r->changer);
	guest_free(r->guest);
}

static int run_begin(struct run *r, struct err *e)
{
	int result = guest_create(&r->options, &r->guest, e);

	if (result < 0)
		return result;
	injector_init(&r->injector, r->guest, &r->options);
	result = changer_create(r->guest, &r->options, &r->injector, &r->changer, e);
	return result < 0 ? result : guest_start(r->guest, e);
}

static uint64_t rounds(const struct run *r)
{
	struct smp_vcpu sum;

	guest_sum(r->guest, &sum);
	return sum.iterations;
}

/* Names what was wrong first: a bench that finds a bug must not lose it. */
static int judge(struct run *r, struct err *e)
{
	static const char *const kinds[SMP_VIOLATION_KINDS] = { "none", "result", "stale", "pair", "exception" };
	struct smp_vcpu sum, first = { 0 };
	unsigned fallen = guest_rest(r->guest);

	guest_sum(r->guest, &sum);
	if (!fallen && !guest_violations(&sum) && !guest_is_dead(r->guest))
		return 0;
	for (unsigned i = 0; i < r->guest->vcpus && !first.kind; i++)
		first = r->guest->cpus[i];
	return err_set(e, ERR_FAILED, EIO, "",
		       "%s, %u vCPUs, gap %u: %llu violations, %u vCPUs not at rest; first: %s, site %llu, value 0x%llx, "
		       "expected 0x%llx",
		       poke_mode_name(r->options.mode), r->options.vcpus, r->options.gap,
		       (unsigned long long)guest_violations(&sum), fallen,
		       first.kind < SMP_VIOLATION_KINDS ? kinds[first.kind] : "?", (unsigned long long)first.site,
		       (unsigned long long)first.value, (unsigned long long)first.expected);
}

static struct options options_of(enum poke_mode mode, unsigned vcpus, unsigned seconds)
{
	return (struct options){ .has_mode = true, .mode = mode,   .vcpus = vcpus, .seconds = seconds,
				 .sites = 1,	   .shapes = "call", .inside = true };
}

/* Rounds per second of a guest that is left alone. */
static int free_rounds(unsigned vcpus, unsigned seconds, double *ret, struct err *e)
{
	__attribute__((cleanup(run_done))) struct run r = { .options = options_of(POKE_MODE_STOPPED, vcpus, seconds) };
	int result = run_begin(&r, e);

	if (result < 0)
		return result;
	uint64_t from = rounds(&r), began = now_us();
	poll(NULL, 0, (int)seconds * 1000);
	*ret = (double)(rounds(&r) - from) * SECOND / (double)(now_us() - began);
	return judge(&r, e);
}

struct result {
	struct change_figures change;
	double per_s, rounds_per_s;
};

static int changed(struct run *r, struct result *ret, struct err *e)
{
	int result = run_begin(r, e);

	if (result < 0)
		return result;
	uint64_t from = rounds(r), began = now_us();
	result = changer_run(r->changer, &ret->change, e);
	double took = (double)(now_us() - began) / SECOND;
	ret->per_s = (double)ret->change.flips / took;
	ret->rounds_per_s = (double)(rounds(r) - from) / took;
	return result < 0 ? result : judge(r, e);
}

/* What the engine rests on, and nothing else: the same page, unchanged. */
static int bare_once(struct run *r, enum poke_mode mode, struct err *e)
{
	struct backend *b = machine_backend(r->guest->machine);
	const struct text_site *s = &r->guest->sites[0];
	const struct backend_flip flip = { .gpa = s->gva, .len = s->len, .bytes = s->versions[0] };
	const uint64_t page = s->gva & ~UINT64_C(4095);
	bool was;

	if (mode == POKE_MODE_FLIPPED)
		return b->ops->live->flip(b, &flip, 1, NULL, e);
	if (mode == POKE_MODE_STOPPED) {
		int result = b->ops->pause(b, NULL, &was, e);
		return result < 0 ? result : b->ops->resume(b, e);
	}
	for (int i = 0; i < 3; i++) {
		int result = b->ops->live->barrier(b, &page, 1, NULL, e);
		if (result < 0)
			return result;
	}
	return 0;
}

static int bare(enum poke_mode mode, unsigned vcpus, unsigned seconds, double *ret, struct err *e)
{
	__attribute__((cleanup(run_done))) struct run r = { .options = options_of(mode, vcpus, seconds) };
	int result = run_begin(&r, e);
	uint64_t n = 0, began = now_us();

	for (; result >= 0 && now_us() - began < seconds * (uint64_t)SECOND; n++)
		result = bare_once(&r, mode, e);
	*ret = (double)n * SECOND / (double)(now_us() - began);
	return result < 0 ? result : judge(&r, e);
}

static int rate(struct bench_rate *rate, enum poke_mode mode, unsigned vcpus, unsigned seconds, double free_per_s,
		struct err *e)
{
	__attribute__((cleanup(run_done))) struct run fast = { .options = options_of(mode, vcpus, seconds) };
	__attribute__((cleanup(run_done))) struct run paced = { .options = options_of(mode, vcpus, seconds) };
	struct result result = { 0 };
	int r = bare(mode, vcpus, seconds, &rate->bare_per_s, e);

	if (r >= 0)
		r = changed(&fast, &result, e);
	if (r < 0)
		return r;
	rate->per_s = result.per_s;
	rate->rounds = result.rounds_per_s / free_per_s;
	rate->kicked = (double)result.change.kicked / (double)(result.change.flips + !result.change.flips) / vcpus;
	rate->held_us = (double)result.change.held_us;
	paced.options.gap = BENCH_PACE_US;
	r = changed(&paced, &result, e);
	rate->paced = result.rounds_per_s / free_per_s;
	if (rate->held_us < (double)result.change.held_us)
		rate->held_us = (double)result.change.held_us;
	return r;
}

/* A mode that is refused here has no figures. */
int measure_rates(struct bench *b, unsigned vcpus_at, unsigned seconds, struct err *e)
{
	double free_per_s = 0;
	int r = free_rounds(bench_vcpus[vcpus_at], seconds, &free_per_s, e);

	for (unsigned m = 0; r >= 0 && m < BENCH_MODES; m++) {
		struct bench_rate *to = &b->rates[m][vcpus_at];

		r = rate(to, bench_modes[m], bench_vcpus[vcpus_at], seconds, free_per_s, e);
		if (r == -EOPNOTSUPP) {
			*to = (struct bench_rate){ .per_s = -1 };
			r = 0;
		}
	}
	return r;
}

/* The same stores in memory that is nobody's text. */
static double memcpy_us(const struct guest *g)
{
	size_t span = g->sites[g->n_sites - 1].gva + sizeof(g->sites->versions[0]) - g->sites[0].gva;
	_cleanup_free_ uint8_t *area = calloc(1, span);
	uint64_t began, rounds = 0;

	if (!area)
		return -1;
	for (began = now_us(); rounds % 1000 || now_us() - began < 50000; rounds++)
		for (size_t i = 0; i < g->n_sites; i++) {
			const struct text_site *s = &g->sites[i];

			memcpy(area + (s->gva - g->sites[0].gva), s->versions[rounds & 1], s->len);
			__asm__ volatile("" : : "r"(area) : "memory");
		}
	return (double)(now_us() - began) / (double)rounds;
}

int measure_batch(struct bench *b, unsigned batch_at, unsigned seconds, struct err *e)
{
	for (unsigned m = 0; m < BENCH_MODES; m++) {
		__attribute__((cleanup(run_done))) struct run run = { .options = options_of(bench_modes[m], 2, seconds) };
		struct result result = { 0 };

		run.options.sites = bench_batches[batch_at];
		int r = changed(&run, &result, e);
		if (r < 0 && r != -EOPNOTSUPP)
			return r;
		b->batch_us[m][batch_at] =
			r < 0 || !result.change.flips ? -1 : (double)result.change.spent_us / (double)result.change.flips;
		b->memcpy_us[batch_at] = memcpy_us(run.guest);
	}
	return 0;
}
