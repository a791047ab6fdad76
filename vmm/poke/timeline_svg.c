// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A timeline as a picture that needs nothing else: no script, no font, no link.
 * Time runs to the right; the engine's stages on top tint the whole height, so
 * that one sees in which stage each vCPU met what; below one lane per vCPU, an
 * axis, and a legend of what occurs. Size is bounded however long the record:
 * what is not drawn is said.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "vmm/poke/timeline.h"

#define WIDTH	      1200
#define LEFT	      92
#define RIGHT	      (WIDTH - 24)
#define TOP	      64
#define STAGE_HEIGHT  26
#define STEP_HEIGHT   18 /* the engine's second row: barriers, flips, scans, pauses */
#define LANES_TOP     (TOP + STAGE_HEIGHT + STEP_HEIGHT + 16)
#define LANE_HEIGHT   26
#define LANES_MAX     64
#define DRAWN_MAX     4000
#define CHAR_WIDTH    6.2 /* of 11 px text, generously */
#define STAGE_COLOURS 6
#define STAGES_LISTED 14 /* two lines */
#define STAGE_TIME_CHARS 12 /* " 123.456 ms" */

struct picture {
	FILE *out;
	uint64_t zero, span; /* of time, us; span > 0 */
	size_t lanes;	     /* vCPUs drawn */
	size_t skipped;	     /* events not drawn */
	unsigned stages;     /* drawn so far */
	bool used[TIMELINE_KIND_COUNT];
};

static const char style[] =
	"text{font:11px system-ui,'DejaVu Sans',Helvetica,Arial,sans-serif;fill:#2b2f36}"
	".h{font-size:16px;font-weight:600}.m{fill:#6b7280}.e{text-anchor:end}.c{text-anchor:middle}"
	".w{fill:#fff;font-weight:600}.grid{stroke:#d6dae0}.lane{stroke:#b9c0ca;stroke-width:2}"
	".stage0{fill:#3f6fa3}.stage1{fill:#b7791f}.stage2{fill:#7a5195}.stage3{fill:#3c8d5a}"
	".stage4{fill:#2f8f9d}.stage5{fill:#7d8590}.tint{opacity:.09}"
	".barrier{fill:#2b2f36}.flip{fill:#c2410c}.scan{fill:#0e7490}.pause{fill:#9aa3af}"
	".kick{fill:#8193ad}.trap{fill:#dc2626}.hold{fill:#f59e0b}.fault{fill:#7c3aed}.nmi{fill:#0d9488}";

static const char *const kind_meaning[TIMELINE_KIND_COUNT] = {
	[TIMELINE_BARRIER] = "barrier: every vCPU serialised",
	[TIMELINE_FLIP] = "flip: new pages in place of the old",
	[TIMELINE_SCAN] = "looking for saved contexts",
	[TIMELINE_PAUSE] = "all vCPUs stopped",
	[TIMELINE_KICK] = "kicked out of guest mode",
	[TIMELINE_TRAP] = "trap",
	[TIMELINE_HOLD] = "held in the host",
	[TIMELINE_FAULT] = "fault",
	[TIMELINE_NMI] = "NMI",
};

static void escape(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '<')
			fputs("&lt;", out);
		else if (*text == '>')
			fputs("&gt;", out);
		else if (*text == '&')
			fputs("&amp;", out);
		else
			putc(*text >= ' ' && *text <= '~' ? *text : '?', out);
	}
}

static double x_of(const struct picture *p, uint64_t us)
{
	return LEFT + (double)(us - p->zero) * (RIGHT - LEFT) / (double)p->span;
}

/* "800 us", "1.25 ms", "3 s" */
static void print_time(FILE *out, uint64_t us)
{
	if (us < 1000)
		fprintf(out, "%" PRIu64 " \302\265s", us);
	else if (us < 1000000)
		fprintf(out, "%g ms", (double)us / 1e3);
	else
		fprintf(out, "%g s", (double)us / 1e6);
}

/* What a viewer shows under the pointer; closes the element NAME. */
static void tooltip(const struct picture *p, const struct timeline_event *event, const char *name)
{
	fputs("><title>", p->out);
	fputs(timeline_kind_name(event->kind), p->out);
	if (event->text[0]) {
		fputs(": ", p->out);
		escape(p->out, event->text);
	}
	if (event->gva)
		fprintf(p->out, " at 0x%" PRIx64, event->gva);
	fputs(", ", p->out);
	print_time(p->out, event->start_us - p->zero);
	if (event->end_us > event->start_us) {
		fputs(" + ", p->out);
		print_time(p->out, event->end_us - event->start_us);
	}
	fprintf(p->out, "</title></%s>\n", name);
}

/* A bar from start to end, wide enough to be seen; returns its width. */
static double bar(const struct picture *p, const struct timeline_event *event, const char *class, double y,
		  double height)
{
	double x = x_of(p, event->start_us), width = x_of(p, event->end_us) - x;

	if (width < 2)
		width = 2;
	fprintf(p->out, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"2\"", class, x, y,
		width, height);
	tooltip(p, event, "rect");
	return width;
}

static void label(const struct picture *p, const struct timeline_event *event, double width, double y)
{
	if ((double)strlen(event->text) * CHAR_WIDTH > width - 6)
		return;
	fprintf(p->out, "<text class=\"c w\" x=\"%.1f\" y=\"%.1f\">", x_of(p, event->start_us) + width / 2, y);
	escape(p->out, event->text);
	fputs("</text>\n", p->out);
}

static double lanes_bottom(const struct picture *p)
{
	return LANES_TOP + (double)p->lanes * LANE_HEIGHT;
}

static void draw_stage(struct picture *p, const struct timeline_event *event)
{
	char class[16];
	double x = x_of(p, event->start_us), width = x_of(p, event->end_us) - x;

	snprintf(class, sizeof(class), "stage%u", p->stages++ % STAGE_COLOURS);
	fprintf(p->out, "<rect class=\"%s tint\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%.1f\"/>\n", class, x, TOP,
		width, lanes_bottom(p) - TOP);
	label(p, event, bar(p, event, class, TOP, STAGE_HEIGHT), TOP + 17);
}

/* A pause is one thing for all vCPUs: it is drawn over their lanes too. */
static void draw_step(struct picture *p, const struct timeline_event *event)
{
	const char *class = timeline_kind_name(event->kind);

	if (event->kind == TIMELINE_PAUSE)
		for (size_t i = 0; i < p->lanes; i++)
			bar(p, event, class, LANES_TOP + (double)i * LANE_HEIGHT + 10, 6);
	bar(p, event, class, TOP + STAGE_HEIGHT + 4, STEP_HEIGHT - 6);
}

/* A diamond for a moment that somebody asks about one by one, a tick for a kick. */
static void draw_moment(struct picture *p, const struct timeline_event *event, double middle)
{
	const char *class = timeline_kind_name(event->kind);
	double x = (x_of(p, event->start_us) + x_of(p, event->end_us)) / 2;

	if (event->kind == TIMELINE_KICK)
		fprintf(p->out, "<path class=\"%s\" d=\"M%.1f %.1fh6l-3 7z\"", class, x - 3, middle - 10);
	else
		fprintf(p->out, "<path class=\"%s\" d=\"M%.1f %.1fl5 5l-5 5l-5-5z\"", class, x, middle - 5);
	tooltip(p, event, "path");
}

/* Half the height of a bar of that kind: the eye should find what holds a vCPU up longest. */
static double half_height(enum timeline_kind kind)
{
	return kind == TIMELINE_HOLD ? 6 : kind == TIMELINE_TRAP ? 2 : 4;
}

static void draw_on_lane(struct picture *p, const struct timeline_event *event)
{
	double middle = LANES_TOP + (double)event->vcpu * LANE_HEIGHT + LANE_HEIGHT / 2.0;
	double half = half_height(event->kind);

	if (event->end_us > event->start_us)
		bar(p, event, timeline_kind_name(event->kind), middle - half, 2 * half);
	if (event->end_us == event->start_us || event->kind == TIMELINE_TRAP)
		draw_moment(p, event, middle);
}

/* Moments over spans over stages, whatever the order of the record. */
static unsigned layer(const struct timeline_event *event)
{
	if (event->kind == TIMELINE_STAGE)
		return 0;
	if (event->vcpu == TIMELINE_ENGINE)
		return 1;
	return event->end_us > event->start_us && event->kind != TIMELINE_TRAP ? 2 : 3;
}

static void draw_layer(struct picture *p, const struct timeline_record *r, unsigned wanted, size_t *budget)
{
	for (size_t i = 0; i < r->n; i++) {
		const struct timeline_event *event = &r->events[i];

		if (layer(event) != wanted)
			continue;
		if (event->vcpu >= (int)p->lanes || !*budget) {
			p->skipped++;
			continue;
		}
		--*budget;
		p->used[event->kind] = true;
		if (wanted == 0)
			draw_stage(p, event);
		else if (wanted == 1)
			draw_step(p, event);
		else
			draw_on_lane(p, event);
	}
}

/* 1, 2 or 5 times a power of ten, so that there are 6 to 15 ticks. */
static uint64_t tick_step(uint64_t span)
{
	uint64_t step = 1;

	while (span / step > 15) {
		if (span / (step * 2) <= 15)
			return step * 2;
		if (span / (step * 5) <= 15)
			return step * 5;
		step *= 10;
	}
	return step;
}

static void draw_axis(const struct picture *p)
{
	uint64_t step = tick_step(p->span);
	double bottom = lanes_bottom(p) + 4;

	for (uint64_t i = 0; i <= p->span / step; i++) {
		double x = x_of(p, p->zero + i * step);

		fprintf(p->out, "<path class=\"grid\" d=\"M%.1f %dV%.1f\"/><text class=\"m c\" x=\"%.1f\" y=\"%.1f\">",
			x, TOP + STAGE_HEIGHT, bottom, x, bottom + 14);
		print_time(p->out, i * step);
		fputs("</text>\n", p->out);
	}
}

static void draw_lanes(const struct picture *p)
{
	fprintf(p->out, "<text class=\"e\" x=\"%d\" y=\"%d\">engine</text>\n", LEFT - 12, TOP + 17);
	for (size_t i = 0; i < p->lanes; i++) {
		double y = LANES_TOP + (double)i * LANE_HEIGHT + LANE_HEIGHT / 2.0;

		fprintf(p->out,
			"<text class=\"e\" x=\"%d\" y=\"%.1f\">vCPU %zu</text><path class=\"lane\" d=\"M%d %.1fH%d\"/>\n",
			LEFT - 12, y + 4, i, LEFT, y, RIGHT);
	}
}

/* The same marks as in the lanes, with words. */
static void draw_legend(struct picture *p, double y)
{
	double x = LEFT;

	for (unsigned kind = 0; kind < TIMELINE_KIND_COUNT; kind++) {
		const char *class = timeline_kind_name((enum timeline_kind)kind);

		if (!p->used[kind] || !kind_meaning[kind])
			continue;
		double width = 28 + CHAR_WIDTH * (double)strlen(kind_meaning[kind]);

		if (x + width > RIGHT) {
			x = LEFT;
			y += 18;
		}
		if (kind == TIMELINE_KICK)
			fprintf(p->out, "<path class=\"kick\" d=\"M%.1f %.1fh6l-3 7z\"/>", x, y - 8);
		else if (kind >= TIMELINE_TRAP && kind != TIMELINE_HOLD)
			fprintf(p->out, "<path class=\"%s\" d=\"M%.1f %.1fl5 5l-5 5l-5-5z\"/>", class, x + 4, y - 9);
		else
			fprintf(p->out, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"12\" height=\"8\" rx=\"2\"/>",
				class, x, y - 8);
		fprintf(p->out, "<text x=\"%.1f\" y=\"%.1f\">%s</text>\n", x + 18, y, kind_meaning[kind]);
		x += width;
	}
}

/* Every stage by name and time, as narrow ones have no room for it. Returns where the next line goes. */
static double draw_stage_list(const struct picture *p, const struct timeline_record *r, double y)
{
	unsigned drawn = 0;
	double x = LEFT;

	for (size_t i = 0; i < r->n && drawn < STAGES_LISTED; i++) {
		const struct timeline_event *event = &r->events[i];

		if (event->kind != TIMELINE_STAGE)
			continue;
		double width = 18 + 12 + CHAR_WIDTH * (double)(strlen(event->text) + STAGE_TIME_CHARS);

		if (x + width > RIGHT) {
			x = LEFT;
			y += 18;
		}
		fprintf(p->out, "<rect class=\"stage%u\" x=\"%.1f\" y=\"%.1f\" width=\"12\" height=\"8\" rx=\"2\"/>",
			drawn++ % STAGE_COLOURS, x, y - 8);
		fprintf(p->out, "<text x=\"%.1f\" y=\"%.1f\">", x + 18, y);
		escape(p->out, event->text);
		putc(' ', p->out);
		print_time(p->out, event->end_us - event->start_us);
		fputs("</text>\n", p->out);
		x += width;
	}
	return drawn ? y + 22 : y;
}

static void draw_heading(const struct picture *p, const struct timeline_record *r)
{
	fprintf(p->out, "<text class=\"h\" x=\"24\" y=\"30\">");
	escape(p->out, r->title);
	fprintf(p->out, "</text><text class=\"m\" x=\"24\" y=\"50\">%zu vCPUs, %zu events in ", r->vcpus, r->n);
	print_time(p->out, p->span);
	if (r->lost)
		fprintf(p->out, "; %zu more were not recorded", r->lost);
	if (p->skipped)
		fprintf(p->out, "; %zu are not drawn", p->skipped);
	fputs("</text>\n", p->out);
}

static void picture_draw(struct picture *p, const struct timeline_record *r)
{
	size_t budget = DRAWN_MAX;
	double height = lanes_bottom(p) + 118;

	fprintf(p->out,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %.0f\" width=\"%d\" height=\"%.0f\">\n"
		"<style>%s</style>\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
		WIDTH, height, WIDTH, height, style);
	draw_layer(p, r, 0, &budget);
	draw_axis(p);
	draw_lanes(p);
	for (unsigned i = 1; i <= 3; i++)
		draw_layer(p, r, i, &budget);
	draw_legend(p, draw_stage_list(p, r, lanes_bottom(p) + 48));
	draw_heading(p, r);
	fputs("</svg>\n", p->out);
}

static void picture_init(struct picture *p, const struct timeline_record *r)
{
	uint64_t end = 0;

	p->zero = r->n ? r->events[0].start_us : 0;
	for (size_t i = 0; i < r->n; i++)
		if (r->events[i].end_us > end)
			end = r->events[i].end_us;
	p->span = end > p->zero ? end - p->zero : 1;
	p->lanes = r->vcpus < LANES_MAX ? r->vcpus : LANES_MAX;
}

int timeline_svg(const struct timeline_record *r, char **ret, struct err *e)
{
	struct picture p = { 0 };
	char *text = NULL;
	size_t len;

	picture_init(&p, r);
	p.out = open_memstream(&text, &len);
	if (!p.out)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	picture_draw(&p, r);
	bool failed = ferror(p.out);
	failed |= fclose(p.out) != 0;
	if (failed) {
		free(text);
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	}
	*ret = text;
	return 0;
}
