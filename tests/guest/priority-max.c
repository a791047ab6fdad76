// SPDX-License-Identifier: GPL-2.0-or-later
/* What the kernel says is the highest real-time priority: a constant in the text of one system call. */
#include <sched.h>
#include <stdio.h>

int main(void)
{
	printf("%d\n", sched_get_priority_max(SCHED_FIFO));
	return 0;
}
