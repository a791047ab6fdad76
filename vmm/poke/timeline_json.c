// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A timeline in Chrome's trace event format: one process, one thread per lane,
 * "X" for spans and "i" for moments. Times are microseconds since the first
 * event, as those of the monotonic clock mean nothing elsewhere; addresses are
 * strings, as JSON readers damage integers above 2^53.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>

#include "vmm/poke/timeline.h"

#define PID 1

/* The engine is thread 0, vCPU n is n + 1. */
static json_t *lane_name(int vcpu)
{
	char name[32] = "engine";

	if (vcpu != TIMELINE_ENGINE)
		snprintf(name, sizeof(name), "vCPU %d", vcpu);
	return json_pack("{s:s, s:s, s:i, s:i, s:{s:s}}", "ph", "M", "name", "thread_name", "pid", PID, "tid", vcpu + 1,
			 "args", "name", name);
}

static json_t *lane_order(int vcpu)
{
	return json_pack("{s:s, s:s, s:i, s:i, s:{s:i}}", "ph", "M", "name", "thread_sort_index", "pid", PID, "tid",
			 vcpu + 1, "args", "sort_index", vcpu + 1);
}

static json_t *event(const struct timeline_event *event, uint64_t zero)
{
	const char *kind = timeline_kind_name(event->kind);
	char address[24];
	json_t *o = json_pack("{s:s, s:s, s:i, s:i, s:I}", "name", event->text[0] ? event->text : kind, "cat", kind,
			      "pid", PID, "tid", event->vcpu + 1, "ts", (json_int_t)(event->start_us - zero));

	if (!o)
		return NULL;
	if (event->end_us > event->start_us) {
		json_object_set_new(o, "ph", json_string("X"));
		json_object_set_new(o, "dur", json_integer((json_int_t)(event->end_us - event->start_us)));
	} else {
		json_object_set_new(o, "ph", json_string("i"));
		json_object_set_new(o, "s", json_string("t"));
	}
	if (event->gva) {
		snprintf(address, sizeof(address), "0x%" PRIx64, event->gva);
		json_object_set_new(o, "args", json_pack("{s:s}", "address", address));
	}
	return o;
}

/* json_array_append_new() takes NULL as a failure: one check at the end of each list is enough. */
static int fill(json_t *list, const struct timeline_record *r)
{
	uint64_t zero = r->n ? r->events[0].start_us : 0;
	int failed = 0;

	for (int vcpu = TIMELINE_ENGINE; vcpu < (int)r->vcpus; vcpu++) {
		failed |= json_array_append_new(list, lane_name(vcpu));
		failed |= json_array_append_new(list, lane_order(vcpu));
	}
	for (size_t i = 0; i < r->n; i++)
		failed |= json_array_append_new(list, event(&r->events[i], zero));
	return failed;
}

int timeline_json(const struct timeline_record *r, char **ret, struct err *e)
{
	json_t *list = json_array(), *title = json_string(r->title), *root = NULL;
	int failed = list ? fill(list, r) : -1;
	char *text = NULL;

	/* A title that is not UTF-8 is left out. */
	root = json_pack("{s:o, s:s, s:{s:o, s:I}}", "traceEvents", list, "displayTimeUnit", "ms", "otherData", "title",
			 title ? title : json_string(""), "events lost", (json_int_t)r->lost);
	if (!failed && root)
		text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	if (!text)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	*ret = text;
	return 0;
}
