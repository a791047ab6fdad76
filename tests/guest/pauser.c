// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pauser [WORD]: sleeps in pause() until it is killed, with WORD in a register that the kernel
 * keeps on its stack meanwhile, as it keeps all of user mode's.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>

int main(int argc, char **argv)
{
	register uint64_t word __asm__("r12") = argc > 1 ? strtoull(argv[1], NULL, 16) : 0;

	printf("PAUSES\n");
	fflush(stdout);
	for (;;)
		__asm__ volatile("syscall" : : "a"((long)SYS_pause), "r"(word) : "rcx", "r11", "memory");
}
