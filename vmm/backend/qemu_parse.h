/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Readers for what QEMU's monitor prints for people and for the register block of
 * its gdb stub. Pure functions over text; the text is untrusted, so whatever is
 * not exactly what QEMU prints is -EBADMSG, never a guess.
 */
#ifndef VMPOKE_VMM_BACKEND_QEMU_PARSE_H
#define VMPOKE_VMM_BACKEND_QEMU_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/backend.h"
#include "vmm/vcpu.h"

/* One range of guest-physical memory that is RAM in the host. */
struct qemu_range {
	uint64_t gpa, len;
	uint64_t hva;	/* of gpa in QEMU's process; 0 when unknown */
	bool writable;	/* false: ROM, or RAM the chipset shadows read-only */
};

/*
 * "info mtree -f": the ranges of the address space "memory", sorted, neighbours
 * of the same kind merged. Returns how many; -E2BIG beyond cap, -EBADMSG when there are none.
 */
int qemu_parse_mtree(const char *text, struct qemu_range *ranges, size_t cap);

/* "gpa2hva": -ENOENT when the address is not RAM. */
int qemu_parse_hva(const char *text, uint64_t gpa, uint64_t *ret);

/* "xp /Nxg GPA": exactly n words. */
int qemu_parse_xp(const char *text, uint64_t gpa, uint64_t *words, size_t n);

/* One vCPU of "info registers". */
struct qemu_cpu_regs {
	int index; /* "CPU#3"; -1 when there is no such line */
	struct vcpu_regs regs;
};

/* "info registers [-a]": returns how many vCPUs; -E2BIG beyond cap, -EBADMSG. */
int qemu_parse_registers(const char *text, struct qemu_cpu_regs *cpus, size_t cap);

#define QEMU_G_SIZE 236	    /* up to and including EFER; floating point follows */
#define QEMU_G_WRITE_SIZE 140 /* general registers, RIP, EFLAGS */

/* The stub's 'g' block (gdb-xml/i386-64bit.xml of QEMU 7.2 to 10.0). -EBADMSG when it is too short. */
int qemu_parse_g(const uint8_t *block, size_t len, struct vcpu_regs *ret);
/* Puts gpr, rip, rflags into the front of such a block. */
void qemu_format_g(const struct vcpu_regs *regs, uint8_t block[static QEMU_G_WRITE_SIZE]);

#define QEMU_G_ARM64_SIZE 268 /* x0 to x30, sp, pc; cpsr of 32 bits; vector registers may follow */

/* The same of an arm64 vCPU (gdb-xml/aarch64-core.xml): x, sp, pc, pstate. The rest of *ret is zero. */
int qemu_parse_g_arm64(const uint8_t *block, size_t len, struct vcpu_regs *ret);

/* Number of the register with that name in a gdb target description: -ENOENT, -EBADMSG. */
int qemu_parse_regnum(const char *xml, const char *name, unsigned *ret);

/* How a run state of query-status bears on patching. */
struct qemu_run_state {
	enum backend_run_state state;
	bool holdable; /* the stub may hold it and let it go again as it was */
};
struct qemu_run_state qemu_parse_run_state(const char *status);

#endif
