// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * list --watch: the table of VMs, kept up to date by events. An event says which VM
 * something happened to; that one is asked for again, and only that one. On a terminal
 * the table is redrawn in place, on a screen of its own that is left as it was found;
 * elsewhere it is printed again. Must never poll.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/list.h"
#include "cli/stream.h"
#include "cli/targets.h"
#include "protocol/client.h"
#include "protocol/util.h"

#define ASKED_MAX 16 /* requests under way at once */
#define SCREEN_BEGIN "\033[?1049h\033[?25l\033[?7l" /* second screen, no cursor, long lines are cut */
#define SCREEN_END   "\033[?7h\033[?25h\033[?1049l"

struct watch {
	struct stream stream;
	struct cli *c;
	json_t *vms;	 /* as query-vms gives them */
	json_t *shown;	 /* what was drawn last; NULL: nothing */
	json_t *to_ask;	 /* names of VMs that something happened to */
	size_t asked;	 /* requests without an answer yet */
	uint64_t dropped; /* events, as the client counts them */
	time_t changed;	 /* when what is shown last changed */
	bool screen;
};

static ssize_t index_of(json_t *vms, const char *name)
{
	for (size_t i = 0; i < json_array_size(vms); i++)
		if (strcmp(target_name(json_array_get(vms, i)), name) == 0)
			return (ssize_t)i;
	return -1;
}

/* In its place: vmpoked sorts by name. */
static void vm_put(struct watch *w, json_t *vm)
{
	const char *name = target_name(vm);
	ssize_t at = index_of(w->vms, name);
	size_t i = 0;

	if (at >= 0) {
		json_array_set(w->vms, (size_t)at, vm);
		return;
	}
	while (i < json_array_size(w->vms) && strcmp(target_name(json_array_get(w->vms, i)), name) < 0)
		i++;
	json_array_insert(w->vms, i, vm);
}

static void vm_drop(struct watch *w, const char *name)
{
	ssize_t at = index_of(w->vms, name);

	if (at >= 0)
		json_array_remove(w->vms, (size_t)at);
}

static void ask_for(struct watch *w, const char *name)
{
	json_t *other;
	size_t i;

	json_array_foreach(w->to_ask, i, other)
		if (strcmp(json_string_value(other), name) == 0)
			return;
	json_array_append_new(w->to_ask, json_string(name));
}

static int lost(int r, struct err *e)
{
	return err_set(e, ERR_UNREACHABLE, -r, "", "vmpoked does not take requests any more: %s", strerror(-r));
}

static int ask_on(struct watch *w, struct err *e)
{
	while (w->asked < ASKED_MAX && json_array_size(w->to_ask) > 0) {
		json_auto_t *args = json_pack("{s:O}", "vm", json_array_get(w->to_ask, 0));
		uint64_t serial;
		int r = qmp_client_send(w->c->client, "query-vm", args, &serial, e);

		if (r < 0)
			return lost(r, e);
		json_array_remove(w->to_ask, 0);
		w->asked++;
	}
	return 0;
}

static void event_take(struct watch *w, const char *event, json_t *data)
{
	const char *vm = json_string_value(json_object_get(data, "vm"));
	const char *status = json_string_value(json_object_get(data, "status"));

	/* Work that begins or goes on has changed nothing yet. */
	if (!vm || strstr(event, "_PROGRESS") || (status && strcmp(status, "concluded") != 0))
		return;
	if (strcmp(event, "VM_REMOVED") == 0)
		vm_drop(w, vm);
	else
		ask_for(w, vm);
}

/* Who is there is known now; what became of each is asked: vmpoked may not have heard yet. */
static void list_take(struct watch *w, json_t *vms)
{
	json_t *vm;
	size_t i;

	json_decref(w->vms);
	w->vms = json_incref(vms);
	json_array_foreach(w->vms, i, vm)
		ask_for(w, target_name(vm));
}

static int on_message(struct stream *s, json_t *message, struct err *e)
{
	struct watch *w = container_of(s, struct watch, stream);
	const char *event = json_string_value(json_object_get(message, "event"));
	json_t *vm = json_object_get(message, "return");

	(void)e;
	if (event) {
		event_take(w, event, json_object_get(message, "data"));
		return 0;
	}
	w->asked--;
	if (json_is_array(vm))
		list_take(w, vm);
	else if (*target_name(vm)) /* else an error: it was removed meanwhile */
		vm_put(w, vm);
	return 0;
}

/* Lines of the terminal left for VMs. */
static size_t screen_rows(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row < 8)
		return 8;
	return size.ws_row - 4u;
}

static int print(struct watch *w, size_t rows, struct err *e)
{
	struct output *o = &w->c->out;
	int r = 0;

	if (w->c->options.json)
		output_json(o, w->vms);
	else
		r = list_print(w->c, w->vms, rows, e);
	if (!w->c->options.json && !o->tty)
		fputc('\n', o->stream);
	output_clear(o); /* a stream has no end: do not keep its strings */
	return r < 0 ? r : output_flush(o, e);
}

/* Each line ends with "clear the rest of it": nothing flickers, nothing old stays. */
static int screen_draw(struct watch *w, struct err *e)
{
	struct output *o = &w->c->out;
	FILE *terminal = o->stream;
	_cleanup_free_ char *text = NULL;
	size_t len;

	o->stream = open_memstream(&text, &len);
	if (!o->stream) {
		o->stream = terminal;
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	}
	size_t n = json_array_size(w->vms);
	fprintf(o->stream, "%zu VM%s, changed %s; Ctrl-C ends\n\n", n, n == 1 ? "" : "s", output_time(o, w->changed));
	int r = list_print(w->c, w->vms, screen_rows(), e);
	fclose(o->stream);
	o->stream = terminal;
	fputs("\033[H", terminal);
	for (const char *line = text; line && *line; line += strcspn(line, "\n") + 1)
		fprintf(terminal, "%.*s\033[K\r\n", (int)strcspn(line, "\n"), line);
	fputs("\033[J", terminal);
	output_clear(o);
	return r < 0 ? r : output_flush(o, e);
}

static int draw(struct watch *w, struct err *e)
{
	return w->screen ? screen_draw(w, e) : print(w, SIZE_MAX, e);
}

static int draw_change(struct watch *w, struct err *e)
{
	if (w->shown && json_equal(w->shown, w->vms))
		return 0;
	json_decref(w->shown);
	w->shown = json_copy(w->vms);
	w->changed = time(NULL);
	return draw(w, e);
}

/* Events were lost: which VMs came and went meanwhile only the whole list says. */
static int all_again(struct watch *w, struct err *e)
{
	json_auto_t *none = json_object();
	uint64_t serial;
	int r = qmp_client_send(w->c->client, "query-vms", none, &serial, e);

	if (r < 0)
		return lost(r, e);
	w->asked++;
	return ask_on(w, e);
}

/* What came at once makes one picture; a VM that is slow to answer does not hold up the others. */
static int on_drained(struct stream *s, struct err *e)
{
	struct watch *w = container_of(s, struct watch, stream);
	uint64_t dropped = qmp_client_dropped(w->c->client);
	bool again = dropped != w->dropped && w->asked < ASKED_MAX;
	int r = again ? all_again(w, e) : ask_on(w, e);

	if (again)
		w->dropped = dropped;
	return r < 0 ? r : draw_change(w, e);
}

static int on_resized(struct stream *s, struct err *e)
{
	return draw(container_of(s, struct watch, stream), e);
}

static void screen_switch(struct watch *w, const char *sequence)
{
	if (w->screen)
		fputs(sequence, w->c->out.stream);
	fflush(w->c->out.stream);
}

static int watch_run(struct watch *w, struct err *e)
{
	int r = cli_call(w->c, "query-vms", json_object(), JSON_ARRAY, &w->vms, e);

	if (r < 0)
		return r;
	screen_switch(w, SCREEN_BEGIN);
	r = stream_run(w->c, &w->stream, e);
	screen_switch(w, SCREEN_END);
	/* What was seen last stays to be read. */
	if (r == 0 && w->screen)
		r = print(w, SIZE_MAX, e);
	return r;
}

int list_watch(struct cli *c)
{
	struct watch w = {
		.stream = { .message = on_message, .drained = on_drained },
		.c = c, .to_ask = json_array(), .screen = c->out.tty && !c->options.json,
	};
	struct err e = { 0 };

	if (w.screen)
		w.stream.resized = on_resized;
	int r = w.to_ask ? watch_run(&w, &e) : err_set(&e, ERR_FAILED, ENOMEM, "", "out of memory");
	json_decref(w.vms);
	json_decref(w.shown);
	json_decref(w.to_ask);
	return r < 0 ? cli_fail(c, &e) : 0;
}
