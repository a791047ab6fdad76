// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Builders of QMP messages, one line each. What goes in may come from a guest
 * or a peer (error sentences do), so the output is ASCII-only JSON whatever the
 * input was. Must never send data that its reader would refuse for its size.
 */
#include "protocol/qmp.h"

#include <errno.h>
#include <string.h>
#include <sys/time.h>

#define DUMP_FLAGS (JSON_ENSURE_ASCII | JSON_ENCODE_ANY)

/* {"KEY": VALUE[, "id": ID]}; NULL when memory is short or value is NULL. */
static char *line_format(const char *key, json_t *value, const char *id)
{
	_cleanup_free_ char *text = value ? json_dumps(value, DUMP_FLAGS) : NULL;
	char *line;

	if (!text)
		return NULL;
	if (asprintf(&line, "{\"%s\": %s%s%s}\r\n", key, text, id ? ", \"id\": " : "", id ? id : "") < 0)
		return NULL;
	return line;
}

char *qmp_format_greeting(const char *package, int major, int minor, int micro)
{
	json_t *v = json_pack("{s:{s:{s:i, s:i, s:i}, s:s}, s:[]}", "version", "qemu", "micro", micro, "minor",
			      minor, "major", major, "package", package, "capabilities");
	char *line = line_format("QMP", v, NULL);

	json_decref(v);
	return line;
}

char *qmp_format_return(json_t *value, const char *id)
{
	json_t *v = value ? json_incref(value) : json_object();
	char *line = line_format("return", v, id);
	struct err e;

	json_decref(v);
	if (!line || strlen(line) <= QMP_MESSAGE_MAX)
		return line;
	free(line);
	err_set(&e, ERR_FAILED, EMSGSIZE, "reply-size",
		"the reply would exceed the limit of 1 MiB for one message; ask for less at a time");
	return qmp_format_error(&e, id);
}

char *qmp_format_error(const struct err *e, const char *id)
{
	json_t *v = qmp_error_to_json(e);
	char *line = line_format("error", v, id);

	json_decref(v);
	return line;
}

char *qmp_format_event(const char *name, json_t *data)
{
	struct timeval now;

	gettimeofday(&now, NULL);
	json_t *v = json_pack("{s:{s:I, s:I}, s:s, s:O*}", "timestamp", "seconds", (json_int_t)now.tv_sec,
			      "microseconds", (json_int_t)now.tv_usec, "event", name, "data", data);
	char *text = v ? json_dumps(v, DUMP_FLAGS) : NULL;
	char *line = NULL;

	if (text && asprintf(&line, "%s\r\n", text) < 0)
		line = NULL;
	free(text);
	json_decref(v);
	return line;
}

char *qmp_format_command(const char *name, json_t *args, const char *id)
{
	json_t *v = json_pack("{s:s, s:O*}", "execute", name, "arguments", args);
	char *text = v ? json_dumps(v, DUMP_FLAGS) : NULL;
	char *line = NULL;

	/* The text ends with '}': the id goes before it. */
	if (text && asprintf(&line, "%.*s%s%s}\r\n", (int)strlen(text) - 1, text, id ? ", \"id\": " : "",
			     id ? id : "") < 0)
		line = NULL;
	free(text);
	json_decref(v);
	return line;
}
