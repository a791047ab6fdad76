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
				"SYSLOG_IDENTIFIER=vmpoked", "VMPOKE_VM=%s", vm, NULL);
	else
		sd_journal_send("MESSAGE=%s", text, "PRIORITY=%i", priority,
				"SYSLOG_IDENTIFIER=vmpoked", NULL);
}

static void log_to_stderr(int priority, const char *vm, const char *text)
{
	char line[1200], prefix[8] = "";

	if (log_target == LOG_TARGET_STDERR_PRIORITY)
		snprintf(prefix, sizeof(prefix), "<%d>", priority & LOG_PRIMASK);
	int n = snprintf(line, sizeof(line), "%svmpoked: %s%s%s\n", prefix, vm ? vm : "", vm ? ": " : "", text);
	if (n > 0 && (size_t)n < sizeof(line))
		(void)write_full(STDERR_FILENO, line, (size_t)n); /* one write: lines do not mix */
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
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	if (log_target == LOG_TARGET_JOURNAL)
		log_to_journal(priority, vm, text);
	else
		log_to_stderr(priority, vm, text);
}
