// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The daemon's log; see log.h. Text in it may come from a client, a worker or a
 * guest, so it is stripped of control bytes and cut to one line. Must never
 * write to stdout and never fail: a log that cannot be written is not an error.
 */
#include "vmm/control/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "protocol/util.h"

static enum log_target log_target = LOG_TARGET_STDERR;
static int log_max = LOG_INFO;

void log_setup(enum log_target target, int max_priority)
{
	/* sd_journal_send() reports success when nobody listens, so look first. */
	if (target == LOG_TARGET_JOURNAL && access("/run/systemd/journal/socket", W_OK) < 0)
		target = LOG_TARGET_STDERR;
	log_target = target;
	log_max = max_priority;
}

int log_level_parse(const char *name)
{
	static const struct {
		const char *name;
		int priority;
	} levels[] = {
		{ "error", LOG_ERR },	{ "warning", LOG_WARNING }, { "notice", LOG_NOTICE },
		{ "info", LOG_INFO },	{ "debug", LOG_DEBUG },
	};

	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		if (strcmp(levels[i].name, name) == 0)
			return levels[i].priority;
	return -EINVAL;
}

static void log_to_journal(int priority, const char *vm, const char *text)
{
	if (vm)
		sd_journal_send("MESSAGE=%s: %s", vm, text, "PRIORITY=%i", priority,
				"SYSLOG_IDENTIFIER=%s", program_invocation_short_name, "VMPOKE_VM=%s", vm, NULL);
	else
		sd_journal_send("MESSAGE=%s", text, "PRIORITY=%i", priority,
				"SYSLOG_IDENTIFIER=%s", program_invocation_short_name, NULL);
}

static void log_to_stderr(int priority, const char *vm, const char *text)
{
	char line[1200], prefix[8] = "";

	if (log_target == LOG_TARGET_STDERR_PRIORITY)
		snprintf(prefix, sizeof(prefix), "<%d>", priority & LOG_PRIMASK);
	int n = snprintf(line, sizeof(line), "%s%s: %s%s%s\n", prefix, program_invocation_short_name, vm ? vm : "", vm ? ": " : "", text);
	if (n > 0 && (size_t)n < sizeof(line))
		(void)write_full(STDERR_FILENO, line, (size_t)n); /* one write: lines do not mix */
}

static void make_printable(char *text)
{
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
}

void log_msg(int priority, const char *vm, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	if (priority > log_max)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	make_printable(text);
	if (log_target == LOG_TARGET_JOURNAL)
		log_to_journal(priority, vm, text);
	else
		log_to_stderr(priority, vm, text);
}

#define FIELDS_MAX   24
#define FIELD_MAX    1024 /* bytes of one, name included */

/* "NAME=value", cut, without control bytes: one field must not look like two. */
static void field_format(char *buf, size_t cap, const char *name, const char *value)
{
	int n = snprintf(buf, cap, "%s=", name);

	snprintf(buf + n, cap - (size_t)n, "%s", value);
	make_printable(buf);
}

static void send_fields(int priority, const char *vm, const char *text, const struct log_field *fields, size_t n)
{
	_cleanup_free_ char (*buf)[FIELD_MAX] = calloc(FIELDS_MAX, FIELD_MAX);
	struct iovec iov[FIELDS_MAX];
	char number[8], message[FIELD_MAX];
	int used = 0;

	if (!buf)
		return;
	snprintf(number, sizeof(number), "%d", priority);
	snprintf(message, sizeof(message), "%s%s%s", vm, vm[0] ? ": " : "", text);
	field_format(buf[used++], FIELD_MAX, "MESSAGE", message);
	field_format(buf[used++], FIELD_MAX, "PRIORITY", number);
	field_format(buf[used++], FIELD_MAX, "SYSLOG_IDENTIFIER", "vmpoked");
	for (size_t i = 0; i < n && used < FIELDS_MAX; i++)
		if (fields[i].value[0])
			field_format(buf[used++], FIELD_MAX, fields[i].name, fields[i].value);
	for (int i = 0; i < used; i++)
		iov[i] = (struct iovec){ .iov_base = buf[i], .iov_len = strlen(buf[i]) };
	sd_journal_sendv(iov, used);
}

void log_fields(int priority, const char *vm, const char *text, const struct log_field *fields, size_t n)
{
	if (priority > log_max)
		return;
	if (log_target == LOG_TARGET_JOURNAL)
		send_fields(priority, vm, text, fields, n);
	else
		log_msg(priority, vm[0] ? vm : NULL, "%s", text);
}
