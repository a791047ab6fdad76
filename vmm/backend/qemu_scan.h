/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A cursor over untrusted text that never leaves it; for the monitor readers only. */
#ifndef VMPOKE_VMM_BACKEND_QEMU_SCAN_H
#define VMPOKE_VMM_BACKEND_QEMU_SCAN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct qemu_scan {
	const char *at, *end;
};

static inline void qemu_scan_blanks(struct qemu_scan *s)
{
	while (s->at < s->end && *s->at == ' ')
		s->at++;
}

/* Steps over text when it comes next. */
static inline bool qemu_scan_text(struct qemu_scan *s, const char *text)
{
	size_t len = strlen(text);

	if ((size_t)(s->end - s->at) < len || memcmp(s->at, text, len))
		return false;
	s->at += len;
	return true;
}

/* 1 to 16 hex digits, lower case as QEMU prints them; false when there are none or too many. */
static inline bool qemu_scan_hex(struct qemu_scan *s, uint64_t *ret)
{
	const char *start = s->at;
	uint64_t value = 0;

	for (; s->at < s->end; s->at++) {
		char c = *s->at;

		if (c >= '0' && c <= '9')
			value = value << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value << 4 | (uint64_t)(c - 'a' + 10);
		else
			break;
		if (s->at - start >= 16)
			return false;
	}
	*ret = value;
	return s->at > start;
}

#endif
