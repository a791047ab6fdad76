// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * park NONCE NONCE [PAUSE_US]: lends its context to the host, as the agent does: makes the agreed
 * syscall with the nonce in its registers again and again and looks at no answer.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	uint64_t first = strtoull(argv[1], NULL, 16), second = strtoull(argv[2], NULL, 16);
	useconds_t pause = argc > 3 ? (useconds_t)strtoul(argv[3], NULL, 10) : 1000;

	printf("PARKED\n");
	fflush(stdout);
	for (;;) {
		syscall(SYS_sched_get_priority_min, -1, 0, first, second);
		usleep(pause);
	}
}
