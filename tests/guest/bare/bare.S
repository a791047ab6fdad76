/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The smallest guest that shows it is alive: "UP", then "beat" again and again on the
 * serial port. With BEATS it ends after so many, through the exit port with 0. Every
 * vCPU starts here, RDI = its index; only the first one speaks. Needs no stack.
 */
#define SERIAL	  0x3f8
#define PORT_EXIT 0xf4
#define PAUSE	  50000 /* rounds between beats: tens of ms where KVM interprets */

	.section .text.entry, "ax"
	.globl _start
_start:
	cli
	mov	$SERIAL, %edx
	test	%rdi, %rdi
	jnz	spin
#ifdef BEATS
	mov	$BEATS, %ebx
#endif
	lea	up(%rip), %rsi
	lea	1f(%rip), %r8
	jmp	print
1:	lea	beat(%rip), %rsi
	lea	2f(%rip), %r8
	jmp	print
2:	mov	$PAUSE, %ecx
3:	dec	%ecx
	jnz	3b
#ifdef BEATS
	dec	%ebx
	jnz	1b
	xor	%eax, %eax
	out	%eax, $PORT_EXIT
#else
	jmp	1b
#endif
spin:
	pause
	jmp	spin

	/* The text at RSI, then on to R8. */
print:
	mov	(%rsi), %al
	test	%al, %al
	jz	4f
	out	%al, %dx
	inc	%rsi
	jmp	print
4:	jmp	*%r8

	.section .rodata
up:	.asciz	"UP\n"
beat:	.asciz	"beat\n"

	.section .note.GNU-stack, "", @progbits
