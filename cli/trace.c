// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * history --trace FILE: the timeline of a transaction into a file whose name says
 * the format. The text is vmpoked's and is written as it came. Must never leave
 * half a file under that name.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "protocol/util.h"

static const char *format_of(const char *path, struct err *e)
{
	const char *dot = strrchr(path, '.');

	if (dot && strcmp(dot, ".json") == 0)
		return "json";
	if (dot && strcmp(dot, ".svg") == 0)
		return "svg";
	err_set(e, ERR_USAGE, EINVAL, "", "'%s' must end in .json (for Perfetto) or .svg (a picture)", path);
	return NULL;
}

static int write_new(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);

	return fd < 0 ? -errno : write_full(fd, text, strlen(text));
}

/* Beside it first, under a name of this process, then in its place. */
static int write_whole(const char *path, const char *text, struct err *e)
{
	char temp[4096];
	int n = snprintf(temp, sizeof(temp), "%s.%d.new", path, (int)getpid());
	int r = n < 0 || (size_t)n >= sizeof(temp) ? -ENAMETOOLONG : write_new(temp, text);

	if (r == 0 && rename(temp, path) < 0)
		r = -errno;
	if (r == 0)
		return 0;
	if (r != -ENAMETOOLONG && r != -EEXIST)
		unlink(temp);
	return err_set(e, ERR_FAILED, -r, "", "cannot write '%s': %s", path, strerror(-r));
}

static json_t *trace_args(const struct cli *c, const char *format)
{
	json_t *args = json_pack("{s:s, s:s}", "vm", c->args[0], "format", format);

	if (args && c->options.id)
		json_object_set_new(args, "transaction", json_integer((json_int_t)c->options.id));
	return args;
}

static void trace_print(struct cli *c, json_t *trace)
{
	struct output *o = &c->out;
	json_int_t lost = output_int(trace, "lost");

	fprintf(o->stream, "%s: %s %s (%s), transaction %s, %s events of %s vCPUs", c->options.trace,
		output_field(o, trace, "operation"), output_field(o, trace, "patch"), output_field(o, trace, "mode"),
		output_field(o, trace, "transaction"), output_field(o, trace, "events"), output_field(o, trace, "vcpus"));
	if (lost)
		fprintf(o->stream, ", %s more left out", output_field(o, trace, "lost"));
	fputc('\n', o->stream);
}

int history_trace(struct cli *c)
{
	json_auto_t *trace = NULL;
	struct err e = { 0 };
	const char *format = format_of(c->options.trace, &e), *text;

	if (!format || cli_call(c, "query-trace", trace_args(c, format), JSON_OBJECT, &trace, &e) < 0)
		return cli_fail(c, &e);
	text = json_string_value(json_object_get(trace, "text"));
	if (!text)
		cli_lost(c, "query-trace", -EPROTO, &e);
	if (!text || write_whole(c->options.trace, text, &e) < 0)
		return cli_fail(c, &e);
	json_object_del(trace, "text");
	if (c->options.json)
		output_json(&c->out, trace);
	else
		trace_print(c, trace);
	return 0;
}
