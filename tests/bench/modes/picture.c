// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The figures as one SVG that needs nothing else: three panels with logarithmic
 * axes where the modes differ by orders of magnitude. Must never draw a figure
 * that was not measured: such a point is left out.
 */
#include "tests/bench/modes/modes.h"

#include <math.h>
#include <unistd.h>

#define PANEL_W 360.0
#define PANEL_H 260.0
#define LEFT	70.0
#define TOP	90.0
#define STEP	(PANEL_W + 90.0)

static const char *const colours[BENCH_MODES] = { "#c2410c", "#3f6fa3", "#b7791f", "#7d8590" };

/* One panel: x is a number of points, y runs from low to high. */
struct panel {
	FILE *out;
	double left, low, high;
	unsigned points;
	bool log;
};

static double at_x(const struct panel *p, unsigned i)
{
	return p->left + (i + 0.5) * PANEL_W / p->points;
}

static double at_y(const struct panel *p, double value)
{
	double part = p->log ? log(value / p->low) / log(p->high / p->low) : (value - p->low) / (p->high - p->low);

	return TOP + PANEL_H * (1 - fmin(fmax(part, 0), 1));
}

static void text(FILE *out, double x, double y, const char *class, const char *words)
{
	fprintf(out, "<text x='%.1f' y='%.1f' class='%s'>%s</text>\n", x, y, class, words);
}

static void grid_line(const struct panel *p, double value)
{
	char words[32];

	snprintf(words, sizeof(words), value >= 10000 ? "%gk" : "%g", value >= 10000 ? value / 1000 : value);
	fprintf(p->out, "<line x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f' class='g'/>\n", p->left, p->left + PANEL_W,
		at_y(p, value), at_y(p, value));
	text(p->out, p->left - 8, at_y(p, value) + 4, "e", words);
}

static void panel_begin(const struct panel *p, const char *title, const unsigned *x, const char *unit)
{
	char words[32];

	text(p->out, p->left, TOP - 16, "t", title);
	for (double v = p->low; v <= p->high * 1.0001; v = p->log ? v * 10 : v + 0.25)
		grid_line(p, v);
	for (unsigned i = 0; i < p->points; i++) {
		snprintf(words, sizeof(words), "%u", x[i]);
		text(p->out, at_x(p, i), TOP + PANEL_H + 18, "c", words);
	}
	text(p->out, p->left + PANEL_W / 2, TOP + PANEL_H + 36, "c m", unit);
}

static void line(const struct panel *p, const double *values, const char *colour, const char *extra)
{
	fprintf(p->out, "<polyline fill='none' stroke='%s' stroke-width='2' %s points='", colour, extra);
	for (unsigned i = 0; i < p->points; i++)
		if (values[i] > 0)
			fprintf(p->out, "%.1f,%.1f ", at_x(p, i), at_y(p, values[i]));
	fprintf(p->out, "'/>\n");
	for (unsigned i = 0; i < p->points; i++)
		if (values[i] > 0)
			fprintf(p->out, "<circle cx='%.1f' cy='%.1f' r='3' fill='%s'/>\n", at_x(p, i), at_y(p, values[i]),
				colour);
}

static void rates(const struct bench *b, FILE *out)
{
	const struct panel p = { .out = out, .left = LEFT, .low = 10, .high = 1e6, .points = BENCH_VCPUS, .log = true };

	panel_begin(&p, "changes of one hot call per second", bench_vcpus, "vCPUs (dashed: bare remap, barriers, pause)");
	for (unsigned m = 0; m < BENCH_MODES; m++) {
		double with[BENCH_VCPUS], bare[BENCH_VCPUS];

		for (unsigned v = 0; v < BENCH_VCPUS; v++) {
			with[v] = b->rates[m][v].per_s;
			bare[v] = b->rates[m][v].bare_per_s;
		}
		line(&p, with, colours[m], "");
		if (bench_modes[m] != POKE_MODE_HELD) /* the same barriers as staged */
			line(&p, bare, colours[m], "stroke-dasharray='3 4' opacity='.5'");
	}
}

static void bar(const struct panel *p, unsigned v, unsigned m, double value)
{
	double w = PANEL_W / p->points / (BENCH_MODES + 1.5), y = at_y(p, value);

	if (value >= 0)
		fprintf(p->out, "<rect x='%.1f' y='%.1f' width='%.1f' height='%.1f' fill='%s'/>\n",
			at_x(p, v) + (m - BENCH_MODES / 2.0) * w, y, w - 2, TOP + PANEL_H - y, colours[m]);
}

static void guest(const struct bench *b, FILE *out)
{
	const struct panel p = { .out = out, .left = LEFT + STEP, .low = 0, .high = 1.25, .points = BENCH_VCPUS };

	panel_begin(&p, "guest's work, a change every millisecond", bench_vcpus, "vCPUs (1: a guest left alone)");
	for (unsigned m = 0; m < BENCH_MODES; m++)
		for (unsigned v = 0; v < BENCH_VCPUS; v++)
			if (b->rates[m][v].per_s >= 0)
				bar(&p, v, m, b->rates[m][v].paced);
}

static void batch(const struct bench *b, FILE *out)
{
	const struct panel p = {
		.out = out, .left = LEFT + 2 * STEP, .low = 0.001, .high = 1000, .points = BENCH_BATCHES, .log = true
	};
	double each[BENCH_BATCHES];

	panel_begin(&p, "µs per site", bench_batches, "sites in one transaction (dashed: memcpy)");
	for (unsigned m = 0; m < BENCH_MODES; m++) {
		for (unsigned i = 0; i < BENCH_BATCHES; i++)
			each[i] = b->batch_us[m][i] / bench_batches[i];
		line(&p, each, colours[m], "");
	}
	for (unsigned i = 0; i < BENCH_BATCHES; i++)
		each[i] = b->memcpy_us[i] / bench_batches[i];
	line(&p, each, "#2b2f36", "stroke-dasharray='3 4'");
}

static void legend(const struct bench *b, FILE *out)
{
	char words[160];
	double x = LEFT;

	snprintf(words, sizeof(words), "vmpoke: what the modes cost, lane %s, %ld CPUs", b->lane,
		 sysconf(_SC_NPROCESSORS_ONLN));
	text(out, LEFT, 28, "h", words);
	for (unsigned m = 0; m < BENCH_MODES; m++, x += 90) {
		fprintf(out, "<rect x='%.1f' y='40' width='10' height='10' fill='%s'/>\n", x, colours[m]);
		text(out, x + 15, 49, "n", poke_mode_name(bench_modes[m]));
	}
	snprintf(words, sizeof(words), "exit and back %.2f µs", b->exit_us);
	if (b->trap_us > 0)
		snprintf(words, sizeof(words), "exit and back %.2f µs, int3 answered %.2f µs", b->exit_us, b->trap_us);
	text(out, x + 30, 49, "m", words);
}

void bench_picture(const struct bench *b, FILE *out)
{
	double width = LEFT + 3 * STEP, height = TOP + PANEL_H + 56;

	fprintf(out, "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %.0f %.0f' width='%.0f' height='%.0f'>\n",
		width, height, width, height);
	fprintf(out, "<style>text{font:11px system-ui,'DejaVu Sans',Helvetica,Arial,sans-serif;fill:#2b2f36}"
		     ".h{font-size:16px;font-weight:600}.t{font-size:12px;font-weight:600}.m{fill:#6b7280}"
		     ".e{text-anchor:end}.c{text-anchor:middle}.g{stroke:#d6dae0}</style>\n"
		     "<rect width='100%%' height='100%%' fill='#fff'/>\n");
	legend(b, out);
	rates(b, out);
	guest(b, out);
	batch(b, out);
	fprintf(out, "</svg>\n");
}
