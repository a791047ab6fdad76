// SPDX-License-Identifier: GPL-2.0-or-later
/* See process.h. Reads /proc only; must never act on a process. */
#include "vmm/backend/process.h"

#include <stdio.h>
#include <string.h>

#include "protocol/util.h"

#define PROC_FILE_MAX 8192

/* The name in field 2 may hold anything, so count from its last ')'. */
uint64_t process_start_time(pid_t pid)
{
	_cleanup_free_ char *text = NULL;
	char path[64];
	size_t len;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (read_file(path, PROC_FILE_MAX, &text, &len) < 0)
		return 0;
	const char *at = strrchr(text, ')');
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at, NULL, 10) : 0;
}
