/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entry of every vCPU (64-bit mode, identity page tables, RDI = its index) and
 * the first and last instructions of its exception handlers. Uses no stack and
 * no segment but its own, so that the host need not set up more than long mode.
 */
#define __ASSEMBLER__ 1
#include "smp.h"

	.section .text.entry, "ax"
	.globl _start
_start:
	cli
	cld
	cmp	$SMP_VCPUS_MAX, %rdi
	jae	1f
	mov	%rdi, %rax
	inc	%rax
	imul	$SMP_STACK_SIZE, %rax, %rax
	lea	SMP_STACKS(%rax), %rsp
	lgdt	gdt_pointer
	pushq	$0x08
	pushq	$0f
	lretq
0:	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	xor	%ebp, %ebp
	call	guest_main
1:	hlt
	jmp	1b

	/* The accessed bits are set: the CPU has no reason to write here. */
	.section .rodata
	.balign 16
gdt:	.quad	0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
	.word	. - gdt - 1
	.quad	gdt

	/* Vectors that come with an error code: 8, 10..14, 17, 21, 29, 30. */
#define HAS_ERROR_CODE 0x60227d00

	.text
	.balign 16
	.globl trap_stubs
trap_stubs:
	.set	vector, 0
	.rept	32
	.balign	16
	.if	((HAS_ERROR_CODE >> vector) & 1) == 0
	pushq	$0
	.endif
	pushq	$vector
	jmp	trap_common
	.set	vector, vector + 1
	.endr
	.balign 16
	.globl trap_stub_timer
trap_stub_timer:
	pushq	$0
	pushq	$0x40
	jmp	trap_common

trap_common:
	push	%rax
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	mov	%rsp, %rdi
	call	trap_handle
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	pop	%rax
	add	$16, %rsp
	iretq

	.section .note.GNU-stack, "", @progbits
