/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon's log: one line per happening, to stderr or the journal, never to stdout. */
#ifndef VMPOKE_CONTROL_LOG_H
#define VMPOKE_CONTROL_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <syslog.h> /* LOG_ERR ... */

enum log_target {
	LOG_TARGET_STDERR,	    /* plain text */
	LOG_TARGET_STDERR_PRIORITY, /* "<6>text": stderr is connected to the journal */
	LOG_TARGET_JOURNAL,	    /* sd-journal, with VMPOKE_VM= */
};

/* Called once by main(). A journal that does not run falls back to stderr. */
void log_setup(enum log_target target, int max_priority);

/* "error", "warning", "notice", "info", "debug" to a syslog priority, or -EINVAL. */
int log_level_parse(const char *name);

/* vm may be NULL. The text may hold what guests and peers sent: control bytes become '?'. */
void log_msg(int priority, const char *vm, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* A field of the systemd journal; empty values are left out. */
struct log_field {
	const char *name, *value;
};

/* The same with fields of its own, where there is a journal. vm may be "". */
void log_fields(int priority, const char *vm, const char *text, const struct log_field *fields, size_t n);

#endif
