// SPDX-License-Identifier: GPL-2.0-or-later
/* Prints what getpgrp() answers now, then what it should ("VALUE of OWN"); in a group of its own. */
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_getpgrp /* arm64 has the general one only */
#define SYS_getpgrp SYS_getpgid, 0
#endif

int main(void)
{
	setpgid(0, 0);
	printf("%ld of %ld\n", syscall(SYS_getpgrp), (long)getpid());
	return 0;
}
