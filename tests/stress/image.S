/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The SMP test guest as bytes of this program. */
	.section .rodata
	.balign 16
	.globl smp_image, smp_image_end
smp_image:
	.incbin SMP_ELF
smp_image_end:
	.section .note.GNU-stack, "", @progbits
