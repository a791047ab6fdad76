// SPDX-License-Identifier: GPL-2.0-or-later
/* Kill points; see fault.h. Empty in normal builds. */
#include "vmm/fault.h"

#ifdef VMPOKE_FAULT_POINTS
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char armed_name[64];
static unsigned armed_count;
static int armed_parent;

int fault_arm(const char *spec)
{
	char tail[8] = "";

	if (!spec || !*spec)
		return 0;
	int n = sscanf(spec, "%63[^:]:%u:%7s", armed_name, &armed_count, tail);
	if (n < 2 || armed_count == 0 || (n == 3 && strcmp(tail, "parent") != 0)) {
		armed_count = 0;
		return -EINVAL;
	}
	armed_parent = n == 3;
	return 0;
}

void fault_point(const char *name)
{
	if (armed_count == 0 || strcmp(name, armed_name) != 0 || --armed_count > 0)
		return;
	if (armed_parent)
		kill(getppid(), SIGKILL);
	kill(getpid(), SIGKILL);
}
#else
typedef int fault_not_compiled_in; /* ISO C forbids an empty translation unit */
#endif
