// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * events: prints what vmpoked announces until a signal, --timeout, or the end
 * of the connection. One line per event, flushed at once: a pipe reads it live.
 */
#include <string.h>

#include "cli/cli.h"
#include "cli/stream.h"
#include "protocol/util.h"

static void data_print(struct cli *c, json_t *data)
{
	const char *key;
	json_t *value;

	json_object_foreach(data, key, value) {
		const char *shown = output_field(&c->out, data, key);

		fprintf(c->out.stream, strchr(shown, ' ') ? " %s=\"%s\"" : " %s=%s", output_safe(&c->out, key), shown);
	}
}

static int event_print(struct cli *c, json_t *event, struct err *e)
{
	struct output *o = &c->out;

	if (c->options.json) {
		output_json(o, event);
	} else {
		fprintf(o->stream, "%s %s%s%s", output_time(o, output_int(json_object_get(event, "timestamp"), "seconds")),
			output_on(o, OUTPUT_LABEL), output_field(o, event, "event"), output_off(o));
		data_print(c, json_object_get(event, "data"));
		fputc('\n', o->stream);
		output_clear(o); /* a stream has no end: do not keep its strings */
	}
	return output_flush(o, e);
}

struct events {
	struct stream stream;
	struct cli *c;
};

static int on_message(struct stream *s, json_t *message, struct err *e)
{
	return json_object_get(message, "event") ? event_print(container_of(s, struct events, stream)->c, message, e) : 0;
}

int cmd_events(struct cli *c)
{
	struct events events = { .stream.message = on_message, .c = c };
	struct err e = { 0 };

	return stream_run(c, &events.stream, &e) < 0 ? cli_fail(c, &e) : 0;
}
