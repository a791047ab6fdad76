// SPDX-License-Identifier: GPL-2.0-or-later
/* The error object; see err.h. Must never allocate, print or exit. */
#include "protocol/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	const char *qmp_class;
	int exit_code;
} kinds[ERR_KIND_COUNT] = {
	[ERR_NONE]	     = { "none", "GenericError", 0 },
	[ERR_FAILED]	     = { "failed", "GenericError", 1 },
	[ERR_USAGE]	     = { "usage", "GenericError", 2 },
	[ERR_NOT_APPLICABLE] = { "not-applicable", "GenericError", 3 },
	[ERR_NOT_FOUND]	     = { "not-found", "DeviceNotFound", 4 },
	[ERR_REFUSED]	     = { "refused", "GenericError", 5 },
	[ERR_TIMEOUT]	     = { "timeout", "GenericError", 6 },
	[ERR_UNREACHABLE]    = { "unreachable", "GenericError", 7 },
	[ERR_PARTIAL]	     = { "partial", "GenericError", 8 },
	[ERR_ATTENTION]	     = { "attention", "GenericError", 9 },
	[ERR_INACTIVE]	     = { "inactive", "DeviceNotActive", 1 },
	[ERR_NO_COMMAND]     = { "no-command", "CommandNotFound", 2 },
};

__attribute__((format(printf, 5, 0)))
static int err_vset(struct err *e, enum err_kind kind, int error, const char *rule,
		    const char *fmt, va_list ap)
{
	if (e) {
		*e = (struct err){ .kind = kind, .error = error };
		snprintf(e->rule, sizeof(e->rule), "%s", rule ? rule : "");
		vsnprintf(e->text, sizeof(e->text), fmt, ap);
	}
	return -error;
}

int err_set(struct err *e, enum err_kind kind, int error, const char *rule, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int r = err_vset(e, kind, error, rule, fmt, ap);
	va_end(ap);
	return r;
}

int err_set_addr(struct err *e, enum err_kind kind, int error, const char *rule, uint64_t addr,
		 const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int r = err_vset(e, kind, error, rule, fmt, ap);
	va_end(ap);
	if (e) {
		e->has_addr = true;
		e->addr = addr;
	}
	return r;
}

void err_prefix(struct err *e, const char *fmt, ...)
{
	char old[sizeof(e->text)];
	va_list ap;

	if (!e)
		return;
	memcpy(old, e->text, sizeof(old));
	va_start(ap, fmt);
	int n = vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof(e->text))
		snprintf(e->text + n, sizeof(e->text) - (size_t)n, ": %s", old);
}

int err_exit_code(enum err_kind kind)
{
	return (unsigned)kind < ERR_KIND_COUNT ? kinds[kind].exit_code : 1;
}

const char *err_kind_name(enum err_kind kind)
{
	return (unsigned)kind < ERR_KIND_COUNT ? kinds[kind].name : "failed";
}

enum err_kind err_kind_from_name(const char *name)
{
	for (int i = 0; name && i < ERR_KIND_COUNT; i++)
		if (strcmp(kinds[i].name, name) == 0)
			return (enum err_kind)i;
	return ERR_FAILED;
}

const char *err_qmp_class(enum err_kind kind)
{
	return (unsigned)kind < ERR_KIND_COUNT ? kinds[kind].qmp_class : "GenericError";
}
