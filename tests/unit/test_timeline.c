// SPDX-License-Identifier: GPL-2.0-or-later
/* A timeline keeps what fits and counts the rest, also from many threads; its JSON and SVG are well-formed whatever was recorded. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "vmm/poke/timeline.h"

#define WRITERS	    8
#define EVENTS_EACH 4000

static struct timeline_record recorded(struct timeline *t)
{
	struct timeline_record r;

	assert_int_equal(timeline_read(t, &r, NULL), 0);
	return r;
}

static void test_order_and_lanes(void **state)
{
	_cleanup_(timeline_free) struct timeline *t = timeline_new(16);

	(void)state;
	timeline_add(t, TIMELINE_TRAP, 2, 50, 50, 0xffffffff81000000, "emulated");
	timeline_add(t, TIMELINE_BARRIER, TIMELINE_ENGINE, 10, 20, 0, NULL);
	timeline_add(t, TIMELINE_STAGE, TIMELINE_ENGINE, 10, 60, 0, "trapped");
	timeline_add(t, TIMELINE_HOLD, 0, 55, 40, 0, "ends before it begins");
	struct timeline_record r = recorded(t);
	assert_int_equal(r.n, 4);
	assert_int_equal(r.vcpus, 3);
	assert_int_equal(r.lost, 0);
	assert_int_equal(r.events[0].kind, TIMELINE_STAGE);
	assert_int_equal(r.events[1].kind, TIMELINE_BARRIER);
	assert_int_equal(r.events[2].gva, 0xffffffff81000000);
	assert_int_equal(r.events[3].end_us, 55);
	timeline_record_clear(&r);
	assert_null(r.events);
}

static void test_caps(void **state)
{
	_cleanup_(timeline_free) struct timeline *t = timeline_new(4);

	(void)state;
	for (unsigned i = 0; i < 10; i++)
		timeline_add(t, TIMELINE_TRAP, 0, i, i, 0, "storm");
	/* A storm of traps takes nothing from the engine. */
	for (unsigned i = 0; i < TIMELINE_ENGINE_MAX + 1; i++)
		timeline_add(t, TIMELINE_STAGE, TIMELINE_ENGINE, i, i + 1, 0, "stage");
	timeline_add(t, TIMELINE_TRAP, TIMELINE_VCPUS_MAX, 1, 1, 0, "no such vCPU");
	timeline_add(t, TIMELINE_TRAP, -2, 1, 1, 0, "no such vCPU");
	timeline_add(t, TIMELINE_KIND_COUNT, 0, 1, 1, 0, "no such kind");
	timeline_add(NULL, TIMELINE_TRAP, 0, 1, 1, 0, "nobody records");
	struct timeline_record r = recorded(t);
	assert_int_equal(r.n, 4 + TIMELINE_ENGINE_MAX);
	assert_int_equal(r.lost, 6 + 1);
	timeline_record_clear(&r);
}

static void *writer(void *arg)
{
	struct timeline *t = arg;
	static int next;
	int vcpu = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED) % WRITERS;

	for (unsigned i = 0; i < EVENTS_EACH; i++)
		timeline_add(t, TIMELINE_TRAP, vcpu, i, i + (unsigned)vcpu, (uint64_t)vcpu + 1, "hit");
	return NULL;
}

/* Every event read is one that was written, whole; none is counted twice or not at all. */
static void test_threads(void **state)
{
	_cleanup_(timeline_free) struct timeline *t = timeline_new(TIMELINE_EVENTS_MAX);
	pthread_t threads[WRITERS];

	(void)state;
	for (size_t i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, writer, t), 0);
	for (unsigned round = 0; round < 20; round++) {
		struct timeline_record r = recorded(t);
		for (size_t i = 0; i < r.n; i++) {
			assert_int_equal(r.events[i].gva, r.events[i].vcpu + 1);
			assert_int_equal(r.events[i].end_us - r.events[i].start_us, r.events[i].vcpu);
		}
		timeline_record_clear(&r);
	}
	for (size_t i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	struct timeline_record r = recorded(t);
	assert_int_equal(r.n, TIMELINE_EVENTS_MAX);
	assert_int_equal(r.n + r.lost, WRITERS * EVENTS_EACH);
	timeline_record_clear(&r);
}

/* A staged transaction on four vCPUs, as the engine would record it. */
static struct timeline *staged_example(void)
{
	static const struct {
		enum timeline_kind kind;
		int vcpu;
		unsigned start, end;
		const char *text;
	} events[] = {
		{ TIMELINE_STAGE, -1, 0, 118, "trapped" },  { TIMELINE_BARRIER, -1, 62, 118, "3 kicked" },
		{ TIMELINE_STAGE, -1, 118, 196, "quiet" },  { TIMELINE_PAUSE, -1, 122, 184, NULL },
		{ TIMELINE_SCAN, -1, 131, 172, NULL },	    { TIMELINE_STAGE, -1, 196, 287, "tailed" },
		{ TIMELINE_BARRIER, -1, 214, 287, NULL },   { TIMELINE_STAGE, -1, 287, 371, "headed" },
		{ TIMELINE_BARRIER, -1, 301, 371, NULL },   { TIMELINE_STAGE, -1, 371, 402, "verified" },
		{ TIMELINE_KICK, 0, 64, 71, NULL },	    { TIMELINE_KICK, 1, 64, 83, NULL },
		{ TIMELINE_KICK, 3, 66, 116, NULL },	    { TIMELINE_TRAP, 0, 76, 79, "emulated do_idle+0x3c" },
		{ TIMELINE_TRAP, 1, 92, 97, "stepped" },    { TIMELINE_NMI, 1, 107, 107, NULL },
		{ TIMELINE_HOLD, 2, 101, 384, "no slot" },  { TIMELINE_TRAP, 2, 100, 101, "held" },
		{ TIMELINE_KICK, 0, 216, 226, NULL },	    { TIMELINE_KICK, 1, 217, 241, NULL },
		{ TIMELINE_KICK, 3, 217, 283, NULL },	    { TIMELINE_TRAP, 0, 240, 243, "emulated" },
		{ TIMELINE_TRAP, 0, 262, 265, "emulated" }, { TIMELINE_TRAP, 3, 292, 295, "emulated" },
		{ TIMELINE_KICK, 0, 303, 303, NULL },	    { TIMELINE_KICK, 1, 303, 303, NULL },
		{ TIMELINE_KICK, 3, 304, 304, NULL },	    { TIMELINE_FAULT, 3, 318, 318, "page" },
		{ TIMELINE_TRAP, 1, 311, 311, "late hit" },
	};
	struct timeline *t = timeline_new(64);

	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		timeline_add(t, events[i].kind, events[i].vcpu, 7000000 + events[i].start, 7000000 + events[i].end,
			     events[i].kind == TIMELINE_TRAP ? 0xffffffff810a1b3c : 0, events[i].text);
	return t;
}

static void test_json(void **state)
{
	_cleanup_(timeline_free) struct timeline *t = staged_example();
	struct timeline_record r = recorded(t);
	_cleanup_free_ char *text = NULL;
	size_t spans = 0, moments = 0, i;
	json_t *o;

	(void)state;
	snprintf(r.title, sizeof(r.title), "quote \" and \xff");
	assert_int_equal(timeline_json(&r, &text, NULL), 0);
	json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(root);
	json_array_foreach(json_object_get(root, "traceEvents"), i, o) {
		const char *phase = json_string_value(json_object_get(o, "ph"));

		spans += strcmp(phase, "X") == 0;
		moments += strcmp(phase, "i") == 0;
		assert_true(json_integer_value(json_object_get(o, "ts")) <= 402);
		assert_int_equal(json_integer_value(json_object_get(o, "pid")), 1);
	}
	assert_int_equal(spans + moments, r.n);
	assert_int_equal(moments, 6);
	assert_int_equal(i, r.n + 2 * 5);
	json_decref(root);
	timeline_record_clear(&r);
}

/* Elements nest and every '<' or '&' of a label is escaped: what an XML reader wants of so simple a file. */
static void assert_well_formed(const char *svg)
{
	char open[8][16];
	unsigned depth = 0;

	assert_true(strncmp(svg, "<svg ", 5) == 0);
	for (const char *p = strchr(svg, '<'); p; p = strchr(p, '<')) {
		const char *end = strchr(++p, '>');

		assert_non_null(end);
		assert_null(memchr(p, '<', (size_t)(end - p)));
		if (*p == '/') {
			assert_true(depth > 0);
			depth--;
			assert_int_equal(strncmp(p + 1, open[depth], strlen(open[depth])), 0);
			assert_int_equal(end - p - 1, strlen(open[depth]));
		} else if (end[-1] != '/') {
			assert_true(depth < 8);
			assert_int_equal(sscanf(p, "%15[a-z]", open[depth]), 1);
			depth++;
		}
		p = end;
	}
	assert_int_equal(depth, 0);
	for (const char *p = strchr(svg, '&'); p; p = strchr(p + 1, '&'))
		assert_true(strncmp(p, "&lt;", 4) == 0 || strncmp(p, "&gt;", 4) == 0 || strncmp(p, "&amp;", 5) == 0);
}

static size_t occurrences(const char *text, const char *what)
{
	size_t n = 0;

	for (const char *p = strstr(text, what); p; p = strstr(p + 1, what))
		n++;
	return n;
}

static void test_svg(void **state)
{
	_cleanup_(timeline_free) struct timeline *t = staged_example();
	struct timeline_record r = recorded(t);
	_cleanup_free_ char *svg = NULL;

	(void)state;
	snprintf(r.title, sizeof(r.title), "getpgrp-is-4242 & <others>: staged, 3 sites");
	assert_int_equal(timeline_svg(&r, &svg, NULL), 0);
	assert_well_formed(svg);
	assert_int_equal(occurrences(svg, ">vCPU "), 4);
	assert_int_equal(occurrences(svg, "&amp; &lt;others&gt;"), 1);
	assert_int_equal(occurrences(svg, "class=\"trap\""), 7 + 6 + 1); /* moments, spans, legend */
	timeline_record_clear(&r);
}

/* Nothing recorded, one moment only, labels that mean harm, and far more than can be drawn. */
static void test_odd_records(void **state)
{
	static const char *const labels[] = { "</title><script>", "a & b", "\"'\x01\x7f\xc3", "", "]]>" };
	_cleanup_(timeline_free) struct timeline *empty = timeline_new(1), *t = timeline_new(TIMELINE_EVENTS_MAX);
	struct timeline_record nothing = recorded(empty), r;
	char *svg;

	(void)state;
	assert_int_equal(timeline_svg(&nothing, &svg, NULL), 0);
	assert_well_formed(svg);
	free(svg);
	assert_int_equal(timeline_json(&nothing, &svg, NULL), 0);
	free(svg);
	timeline_record_clear(&nothing);
	for (unsigned i = 0; i < TIMELINE_EVENTS_MAX; i++)
		timeline_add(t, i % TIMELINE_KIND_COUNT, (int)(i % 300), UINT64_C(1) << i % 60, UINT64_C(1) << i % 61,
			     i, labels[i % ARRAY_SIZE(labels)]);
	timeline_add(t, TIMELINE_STAGE, TIMELINE_ENGINE, 1, UINT64_MAX, 0, "for ever");
	r = recorded(t);
	memset(r.title, '<', sizeof(r.title) - 1);
	assert_int_equal(timeline_svg(&r, &svg, NULL), 0);
	assert_well_formed(svg);
	assert_true(strlen(svg) < 2u << 20);
	assert_non_null(strstr(svg, "are not drawn"));
	assert_null(strstr(svg, "<script"));
	assert_int_equal(occurrences(svg, ">vCPU "), 64);
	free(svg);
	timeline_record_clear(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order_and_lanes),
		cmocka_unit_test(test_caps),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_svg),
		cmocka_unit_test(test_odd_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
