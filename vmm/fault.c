// SPDX-License-Identifier: GPL-2.0-or-later
/* Kill points; see fault.h. Empty in normal builds. */
#include "vmm/fault.h"

#ifdef VMPOKE_FAULT_POINTS
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "protocol/util.h"

static char armed_name[64];
static unsigned armed_count;
static bool armed_parent;
static pid_t armed_pid; /* 0: this process */
static const char *armed_file;

static bool is_pid(const char *text)
{
	return *text && strspn(text, "0123456789") == strlen(text) && strtol(text, NULL, 10) > 1;
}

static int arm(const char *spec)
{
	char tail[16] = "";
	int n = sscanf(spec, "%63[^:]:%u:%15s", armed_name, &armed_count, tail);

	armed_parent = strcmp(tail, "parent") == 0;
	armed_pid = is_pid(tail) ? (pid_t)strtol(tail, NULL, 10) : 0;
	if (n >= 2 && armed_count > 0 && (n == 2 || armed_parent || armed_pid))
		return 0;
	armed_count = 0;
	return -EINVAL;
}

int fault_arm(const char *spec)
{
	if (!spec || !*spec)
		return 0;
	if (spec[0] != '@')
		return arm(spec);
	armed_file = spec + 1;
	return *armed_file ? 0 : -EINVAL;
}

static void arm_from_file(void)
{
	_cleanup_free_ char *spec = NULL;
	size_t len;

	if (read_file(armed_file, 256, &spec, &len) == 0 && unlink(armed_file) == 0)
		arm(spec);
}

void fault_point(const char *name)
{
	if (armed_count == 0 && armed_file)
		arm_from_file();
	if (armed_count == 0 || strcmp(name, armed_name) != 0 || --armed_count > 0)
		return;
	if (strcmp(name, "forbidden-call") == 0) {
		syscall(SYS_acct, NULL);
		return;
	}
	if (armed_parent)
		kill(getppid(), SIGKILL);
	kill(armed_pid ? armed_pid : getpid(), SIGKILL);
}
#else
typedef int fault_not_compiled_in; /* ISO C forbids an empty translation unit */
#endif
