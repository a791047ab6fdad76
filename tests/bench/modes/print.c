// SPDX-License-Identifier: GPL-2.0-or-later
/* The figures as tables. What could not be measured here is a dash, never a zero. */
#include "tests/bench/modes/modes.h"

#include <unistd.h>

static void figure(FILE *out, const char *format, double value, bool there)
{
	char text[32];

	snprintf(text, sizeof(text), format, value); /* NOLINT(clang-diagnostic-format-nonliteral): the formats are below */
	fprintf(out, " %10s", there ? text : "-");
}

typedef double (*pick)(const struct bench_rate *r);

static double per_s(const struct bench_rate *r) { return r->per_s; }
static double of_bare(const struct bench_rate *r) { return r->per_s / r->bare_per_s; }
static double rounds(const struct bench_rate *r) { return r->rounds; }
static double paced(const struct bench_rate *r) { return r->paced; }
static double kicked(const struct bench_rate *r) { return r->kicked; }
static double held(const struct bench_rate *r) { return r->held_us; }

static void table(const struct bench *b, FILE *out, const char *title, const char *format, pick of)
{
	fprintf(out, "\n%-46s", title);
	for (unsigned v = 0; v < BENCH_VCPUS; v++)
		fprintf(out, " %4u vCPU%s", bench_vcpus[v], bench_vcpus[v] > 1 ? "s" : " ");
	fputc('\n', out);
	for (unsigned m = 0; m < BENCH_MODES; m++) {
		fprintf(out, "  %-44s", poke_mode_name(bench_modes[m]));
		for (unsigned v = 0; v < BENCH_VCPUS; v++)
			figure(out, format, of(&b->rates[m][v]), b->rates[m][v].per_s >= 0);
		fputc('\n', out);
	}
}

static void batches(const struct bench *b, FILE *out)
{
	fprintf(out, "\n%-46s", "us per site, so many sites at once, 2 vCPUs");
	for (unsigned i = 0; i < BENCH_BATCHES; i++)
		fprintf(out, " %10u", bench_batches[i]);
	fputc('\n', out);
	for (unsigned m = 0; m < BENCH_MODES; m++) {
		fprintf(out, "  %-44s", poke_mode_name(bench_modes[m]));
		for (unsigned i = 0; i < BENCH_BATCHES; i++)
			figure(out, "%.3f", b->batch_us[m][i] / bench_batches[i], b->batch_us[m][i] >= 0);
		fputc('\n', out);
	}
	fprintf(out, "  %-44s", "memcpy of the same bytes, nobody looking");
	for (unsigned i = 0; i < BENCH_BATCHES; i++)
		figure(out, "%.3f", b->memcpy_us[i] / bench_batches[i], b->memcpy_us[i] >= 0);
	fputc('\n', out);
}

void bench_print(const struct bench *b, FILE *out)
{
	fprintf(out, "Modes of the engine: lane %s, %ld CPUs, one hot call that every vCPU runs and checks\n", b->lane,
		sysconf(_SC_NPROCESSORS_ONLN));
	table(b, out, "changes per second", "%.0f", per_s);
	table(b, out, "  as a share of the bare remap/barriers/pause", "%.2f", of_bare);
	table(b, out, "guest's rounds while so changed (1: left alone)", "%.2f", rounds);
	table(b, out, "  with a change every millisecond", "%.2f", paced);
	table(b, out, "vCPUs taken out of guest mode, per change", "%.2f", kicked);
	table(b, out, "longest a vCPU was held at a trap, us", "%.0f", held);
	batches(b, out);
	fprintf(out, "\nround trip of an exit (OUT): %.2f us", b->exit_us);
	if (b->trap_us > 0)
		fprintf(out, ", of an answered int3: %.2f us (%.2fx)\n", b->trap_us, b->trap_us / b->exit_us);
	else
		fprintf(out, "; int3 is not reported here\n");
}
