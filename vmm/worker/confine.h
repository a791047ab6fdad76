/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The worker's cage: the system calls it may make (seccomp(2)), as a list for each way it reaches a VM
 * and its agent. Everything else ends the process, so that a guest that breaks a parser has nothing but
 * the parser's rights: no program, no file to run code from, no network, no call that writes another
 * process's memory.
 * Which files are opened is not seen here, those of /proc/PID/mem neither; that is for whoever starts the
 * service (its unit).
 */
#ifndef VMPOKE_VMM_WORKER_CONFINE_H
#define VMPOKE_VMM_WORKER_CONFINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/err.h"

struct control;

/* Allowed when (argument number arg & mask) == value; mask 0: always. */
struct confine_rule {
	int call; /* SCMP_SYS(): negative where this architecture has none */
	unsigned arg;
	uint64_t mask, value;
};

/* What a worker is to do. Each has rules; those of all that are asked for apply. */
enum confine_for {
	CONFINE_ALWAYS,	 /* memory, time, the journal, the control socket */
	CONFINE_QEMU,	 /* QMP, the gdbstub, reading a VMM's memory */
	CONFINE_MACHINE, /* a VMM of our own: KVM, threads, devices */
	CONFINE_VSOCK,	 /* the agent's link, if it is one of these */
	CONFINE_XDP,
	CONFINE_FOR_MAX,
};

struct confine_row {
	const char *name;
	const struct confine_rule *rules; /* ends with a call of CONFINE_END */
};

#define CONFINE_END { .call = INT32_MIN }

extern const struct confine_row confine_table[CONFINE_FOR_MAX];

/*
 * From now on this process, and each thread it will start, makes the calls of CONFINE_ALWAYS and of those in
 * wanted (bit 1 << CONFINE_...), and gains no privilege by any exec. A call that is not allowed is not made:
 * the process says which it was, on stderr and as event WORKER_FORBIDDEN on control (may be NULL; borrowed
 * for good), and is killed by SIGSYS. Call once, while there is one thread. ERR_FAILED when the kernel refuses.
 */
int confine(unsigned wanted, const char *vm, const struct control *control, struct err *e);

/* Is this among what the process may do: wanted was asked for, or it is not confined. */
bool confine_allows(enum confine_for wanted);

#endif
