// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * query-trace: when what happened on which vCPU in the last transaction. Kept in
 * memory only, it is for people who look at one change, not for the record. Must
 * never grow beyond one reply: what is cut off is counted in the text itself.
 */
#include "vmm/worker/trace.h"

#include <errno.h>
#include <string.h>

#include "vmm/worker/commands.h"

#define TRACE_EVENTS	 4096
#define TRACE_TEXT_BYTES (900u << 10) /* as it is quoted in the reply; the rest of QMP_MESSAGE_MAX is for what is around it */
#define TRACE_CUTS_MAX	 16

struct timeline *trace_begin(const struct session *s)
{
	(void)s;
	return timeline_new(TRACE_EVENTS);
}

void trace_clear(struct trace *t)
{
	timeline_record_clear(&t->record);
	*t = (struct trace){ 0 };
}

void trace_end(struct session *s, const struct transaction *t, struct timeline *line, int r)
{
	struct trace *keep = &s->trace;
	struct err ignored;

	trace_clear(keep);
	if (!line || timeline_read(line, &keep->record, &ignored) < 0) {
		timeline_free(line);
		return;
	}
	timeline_free(line);
	keep->transaction = t->number;
	keep->operation = t->operation;
	keep->mode = t->plan->mode;
	snprintf(keep->patch, sizeof(keep->patch), "%s", t->patch);
	if (keep->record.vcpus < s->info.vcpus)
		keep->record.vcpus = s->info.vcpus;
	snprintf(keep->record.title, sizeof(keep->record.title), "%s: %s %s, %s, transaction %llu%s", s->target.vm,
		 operation_name(t->operation), t->patch, poke_mode_name(t->plan->mode), (unsigned long long)t->number,
		 r < 0 ? ", given up" : "");
}

/* Bytes of the text once it is a JSON string of a reply, or more. */
static size_t quoted_length(const char *text)
{
	size_t n = 2;

	for (const unsigned char *p = (const unsigned char *)text; *p; p++)
		n += *p == '"' || *p == '\\' || *p == '\n' ? 2 : *p < ' ' || *p > '~' ? 6 : 1;
	return n;
}

static size_t vcpu_events(const struct timeline_record *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n; i++)
		n += r->events[i].vcpu != TIMELINE_ENGINE;
	return n;
}

/* All of the engine's and the first keep of the vCPUs' events, in place. */
static void cut(struct timeline_record *r, size_t keep)
{
	size_t n = 0, kept = 0;

	for (size_t i = 0; i < r->n; i++) {
		if (r->events[i].vcpu != TIMELINE_ENGINE && kept++ >= keep)
			continue;
		r->events[n++] = r->events[i];
	}
	r->lost += r->n - n;
	r->n = n;
}

static int copy_record(const struct timeline_record *from, struct timeline_record *ret, struct err *e)
{
	*ret = *from;
	ret->events = calloc(from->n ? from->n : 1, sizeof(*ret->events));
	if (!ret->events)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	memcpy(ret->events, from->events, from->n * sizeof(*ret->events));
	return 0;
}

typedef int render_fn(const struct timeline_record *r, char **ret, struct err *e);

/* Cuts r until its text fits a reply. */
static int render(render_fn *format, struct timeline_record *r, char **ret, struct err *e)
{
	for (int i = 0; i < TRACE_CUTS_MAX; i++) {
		_cleanup_free_ char *text = NULL;
		int done = format(r, &text, e);

		if (done < 0)
			return done;
		size_t length = quoted_length(text);
		if (length <= TRACE_TEXT_BYTES) {
			*ret = TAKE_PTR(text);
			return 0;
		}
		size_t keep = vcpu_events(r) * (size_t)TRACE_TEXT_BYTES / length;
		cut(r, keep - keep / 20);
	}
	return err_set(e, ERR_FAILED, EMSGSIZE, NULL, "the timeline does not fit a reply");
}

static int find(const struct session *s, json_t *args, struct err *e)
{
	json_t *wanted = json_object_get(args, "transaction");

	if (!s->trace.record.events)
		return err_set(e, ERR_NOT_FOUND, ENOENT, NULL,
			       "no timeline: nothing was changed since this worker began, and only the last change's is kept");
	if (wanted && json_integer_value(wanted) != (json_int_t)s->trace.transaction)
		return err_set(e, ERR_NOT_FOUND, ENOENT, NULL,
			       "the timeline of transaction %lld is not kept; that of the last one, %llu, is",
			       (long long)json_integer_value(wanted), (unsigned long long)s->trace.transaction);
	return 0;
}

static render_fn *format_find(const char *name)
{
	if (name && strcmp(name, "json") == 0)
		return timeline_json;
	return name && strcmp(name, "svg") == 0 ? timeline_svg : NULL;
}

int command_query_trace(struct session *s, json_t *args, json_t **ret, struct err *e)
{
	const char *name = json_string_value(json_object_get(args, "format"));
	render_fn *format = format_find(name);
	struct timeline_record r = { 0 };
	_cleanup_free_ char *text = NULL;
	int found = format ? find(s, args, e) : err_set(e, ERR_USAGE, EINVAL, NULL, "format must be json or svg");

	if (found == 0)
		found = copy_record(&s->trace.record, &r, e);
	if (found == 0)
		found = render(format, &r, &text, e);
	if (found == 0)
		*ret = json_pack("{s:s, s:I, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:s}", "vm", s->target.vm, "transaction",
				 (json_int_t)s->trace.transaction, "operation", operation_name(s->trace.operation),
				 "patch", s->trace.patch, "mode", poke_mode_name(s->trace.mode), "format", name, "vcpus",
				 (json_int_t)r.vcpus, "events", (json_int_t)r.n, "lost", (json_int_t)r.lost, "text", text);
	timeline_record_clear(&r);
	return found;
}
