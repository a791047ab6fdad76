// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory map, host addresses and run states as QEMU's monitor prints them. Must
 * stay free of sockets and of state, so that it can be fuzzed as a whole.
 */
#include "vmm/backend/qemu_parse.h"

#include <errno.h>
#include <string.h>

#include "vmm/backend/qemu_scan.h"

/* "  0000000000100000-000000001fffffff (prio 0, ram): pc.ram @..." -> 1; 0 when the line is no such range. */
static int parse_range_line(const char *line, size_t len, struct qemu_range *ret)
{
	struct qemu_scan s = { line, line + len };
	uint64_t first, last, prio;

	qemu_scan_blanks(&s);
	if (!qemu_scan_hex(&s, &first) || !qemu_scan_text(&s, "-") || !qemu_scan_hex(&s, &last))
		return 0;
	if (!qemu_scan_text(&s, " (prio "))
		return 0;
	qemu_scan_text(&s, "-");
	if (!qemu_scan_hex(&s, &prio) || !qemu_scan_text(&s, ", "))
		return 0;
	bool ram = qemu_scan_text(&s, "ram)");
	if (!ram && !qemu_scan_text(&s, "rom)"))
		return 0;
	if (last < first || last - first == UINT64_MAX)
		return -EBADMSG;
	*ret = (struct qemu_range){ .gpa = first, .len = last - first + 1, .writable = ram };
	return 1;
}

static int add_range(struct qemu_range *ranges, size_t *n, size_t cap, const struct qemu_range *r)
{
	struct qemu_range *prev = *n ? &ranges[*n - 1] : NULL;

	uint64_t prev_last = prev ? prev->gpa + (prev->len - 1) : 0; /* the end itself may be 2^64 */

	if (prev && r->gpa <= prev_last)
		return -EBADMSG; /* QEMU prints a flat view sorted and without overlap */
	if (prev && r->gpa - 1 == prev_last && r->writable == prev->writable) {
		prev->len += r->len;
		return 0;
	}
	if (*n == cap)
		return -E2BIG;
	ranges[(*n)++] = *r;
	return 0;
}

int qemu_parse_mtree(const char *text, struct qemu_range *ranges, size_t cap)
{
	static const char as_memory[] = " AS \"memory\", ";
	bool ours = false;
	size_t n = 0;

	for (const char *line = text; *line;) {
		size_t len = strcspn(line, "\n");
		struct qemu_range range;

		if (!strncmp(line, "FlatView #", 10)) {
			if (ours && n)
				break;
			ours = false;
		} else if (!strncmp(line, as_memory, sizeof(as_memory) - 1)) {
			ours = true;
		} else if (ours) {
			int r = parse_range_line(line, len, &range);
			if (r > 0)
				r = add_range(ranges, &n, cap, &range);
			if (r < 0)
				return r;
		}
		line += len + (line[len] != '\0');
	}
	return n ? (int)n : -EBADMSG;
}

int qemu_parse_hva(const char *text, uint64_t gpa, uint64_t *ret)
{
	struct qemu_scan s = { text, text + strlen(text) };
	uint64_t addr, hva;

	if (!qemu_scan_text(&s, "Host virtual address for 0x"))
		return strstr(text, "not RAM") || strstr(text, "No memory") ? -ENOENT : -EBADMSG;
	if (!qemu_scan_hex(&s, &addr) || addr != gpa || !qemu_scan_text(&s, " ("))
		return -EBADMSG;
	/* A region's name may hold anything, also ") is". */
	const char *last = NULL;
	for (const char *p = s.at; (p = strstr(p, ") is 0x")); p++)
		last = p;
	if (!last)
		return -EBADMSG;
	s.at = last + strlen(") is 0x");
	if (!qemu_scan_hex(&s, &hva) || !hva)
		return -EBADMSG;
	*ret = hva;
	return 0;
}

int qemu_parse_xp(const char *text, uint64_t gpa, uint64_t *words, size_t n)
{
	struct qemu_scan s = { text, text + strlen(text) };
	uint64_t addr;

	for (size_t i = 0; i < n;) {
		if (!qemu_scan_hex(&s, &addr) || addr != gpa + 8 * i || !qemu_scan_text(&s, ":"))
			return -EBADMSG;
		size_t before = i;
		while (i < n && qemu_scan_text(&s, " 0x")) {
			if (!qemu_scan_hex(&s, &words[i++]))
				return -EBADMSG;
		}
		qemu_scan_text(&s, "\r");
		if (i == before || !qemu_scan_text(&s, "\n"))
			return -EBADMSG;
	}
	return 0;
}

struct qemu_run_state qemu_parse_run_state(const char *status)
{
	/* qapi/run-state.json; a state that is not here is treated as paused and not holdable. */
	static const struct {
		const char *status;
		struct qemu_run_state is;
	} states[] = {
		{ "running", { BACKEND_RUNNING, true } },
		{ "paused", { BACKEND_PAUSED, true } },
		{ "debug", { BACKEND_PAUSED, true } },
		{ "io-error", { BACKEND_PAUSED, true } },
		{ "watchdog", { BACKEND_PAUSED, true } },
		{ "postmigrate", { BACKEND_PAUSED, false } }, /* lives on elsewhere */
		{ "shutdown", { BACKEND_SHUTDOWN, false } },
		{ "internal-error", { BACKEND_BROKEN, false } },
		{ "guest-panicked", { BACKEND_BROKEN, false } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (!strcmp(status, states[i].status))
			return states[i].is;
	return (struct qemu_run_state){ BACKEND_PAUSED, false };
}
