// SPDX-License-Identifier: GPL-2.0-or-later
/* What passes through libvirt; see passage.h. Must never let a command through for looking like one of the list. */
#include "vmm/libvirt/passage.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/util.h"

static const char *const commands[] = {
	"query-status", "query-cpus-fast", "query-kvm", "query-chardev", "query-version", "cont",
};

/* Lines of the human monitor; ' ' at the end: arguments follow. */
static const char *const lines[] = {
	"info jit", "info mtree -f", "info registers", "info registers -a", "gpa2hva ", "xp ",
};

static bool line_passes(const char *line)
{
	/* One line is one command: its arguments are addresses and formats. */
	if (strspn(line, "abcdefghijklmnopqrstuvwxyz0123456789 /-") != strlen(line))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		size_t len = strlen(lines[i]);

		if (lines[i][len - 1] == ' ' ? strncmp(line, lines[i], len) == 0 : strcmp(line, lines[i]) == 0)
			return true;
	}
	return false;
}

int passage_check(const struct qmp_request *req, struct err *e)
{
	const char *line = json_string_value(json_object_get(req->args, "command-line"));

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(req->execute, commands[i]) == 0)
			return 0;
	if (strcmp(req->execute, "human-monitor-command") != 0)
		return err_set(e, ERR_NO_COMMAND, EPERM, "passage", "'%.64s' does not pass through libvirt", req->execute);
	if (line && line_passes(line))
		return 0;
	return err_set(e, ERR_NO_COMMAND, EPERM, "passage", "the line '%.64s' does not pass through libvirt", line ? line : "");
}

char *passage_command(const struct qmp_request *req)
{
	json_t *o = json_pack("{s:s}", "execute", req->execute);
	char *text = NULL;

	if (o && (json_object_size(req->args) == 0 || json_object_set(o, "arguments", req->args) == 0))
		text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return text;
}

static char *senseless(const char *id)
{
	struct err e;

	err_set(&e, ERR_FAILED, EPROTO, "", "libvirt gave an answer of QEMU that makes no sense");
	return qmp_format_error(&e, id);
}

/* QEMU's error object goes on as it is: class and desc. */
static char *error_line(json_t *error, const char *id)
{
	_cleanup_free_ char *text = json_dumps(error, JSON_COMPACT);
	char *line = NULL;

	if (text && asprintf(&line, "{\"error\": %s%s%s}\r\n", text, id ? ", \"id\": " : "", id ? id : "") < 0)
		line = NULL;
	return line;
}

char *passage_reply(const char *text, const char *id)
{
	json_error_t je;
	json_t *reply = strlen(text) <= QMP_MESSAGE_MAX ? json_loads(text, JSON_REJECT_DUPLICATES, &je) : NULL;
	json_t *value = json_object_get(reply, "return"), *error = json_object_get(reply, "error");
	char *line = value ? qmp_format_return(value, id) : json_is_object(error) ? error_line(error, id) : senseless(id);

	json_decref(reply);
	return line;
}

char *passage_event(const char *name, long long seconds, unsigned micros, const char *details)
{
	json_error_t je;
	json_t *data = details && strlen(details) <= QMP_MESSAGE_MAX / 4 ? json_loads(details, JSON_REJECT_DUPLICATES, &je) : NULL;
	json_t *o = json_pack("{s:{s:I, s:i}, s:s}", "timestamp", "seconds", (json_int_t)seconds, "microseconds", (int)micros, "event",
			      name);
	char *text = NULL, *line = NULL;

	if (o && data)
		json_object_set(o, "data", data);
	if (o)
		text = json_dumps(o, JSON_COMPACT);
	if (text && asprintf(&line, "%s\r\n", text) < 0)
		line = NULL;
	free(text);
	json_decref(o);
	json_decref(data);
	return line;
}
