/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A way to reach a VM. Each backend is one file in vmm/backend/ and one row in
 * backend_table (vmm/backend/table.c). Abilities are probed when the VM is
 * opened, never assumed from a version. Guests and the processes that run them
 * are untrusted: every call is bounded in time and size.
 *
 * Calls return 0 or a negative errno and fill *e. A VM whose monitor or stub is
 * gone answers -ENOTCONN with kind ERR_INACTIVE from every call.
 */
#ifndef VMPOKE_VMM_BACKEND_H
#define VMPOKE_VMM_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "protocol/err.h"
#include "protocol/util.h"
#include "vmm/vcpu.h"

/* What a backend found it can do with this VM. */
enum backend_cap {
	BACKEND_TRAP_INT3  = 1 << 0, /* guest byte + exit to us */
	BACKEND_TRAP_HW	   = 1 << 1, /* debug registers, nothing written to guest memory */
	BACKEND_STEP	   = 1 << 2, /* single-step one vCPU, others frozen, interrupts blocked */
	BACKEND_NONSTOP	   = 1 << 3, /* can write and trap while vCPUs run */
	BACKEND_REMAP	   = 1 << 4, /* can replace guest pages under running vCPUs */
	BACKEND_LIVE_READ  = 1 << 5, /* memory is read without stopping the VM */
	BACKEND_LIVE_REGS  = 1 << 6, /* registers are read without stopping the VM */
};

enum backend_run_state {
	BACKEND_RUNNING,
	BACKEND_PAUSED,	  /* stopped by its operator (or by us, between pause and resume) */
	BACKEND_SHUTDOWN, /* powered off, but the process is there */
	BACKEND_BROKEN,	  /* internal error, guest panic: text may be read, not run */
};

struct backend_target {
	const char *vm;		 /* name, for sentences */
	const char *qmp;	 /* path of QEMU's QMP socket */
	const char *gdb;	 /* path of a gdbstub socket, or NULL: started through the monitor */
	const char *runtime_dir; /* where a stub socket of ours may be made */
	bool has_user;		 /* then only processes of this user count, whatever the paths lead to */
	uid_t user;
};

struct backend_info {
	unsigned caps;		/* enum backend_cap */
	enum vcpu_arch arch;	/* of all vCPUs */
	char accel[16];		/* "kvm", "tcg" */
	char version[64];	/* of the VMM, for display */
	size_t vcpus;
	enum backend_run_state state;
	char state_why[256];	/* why it is shut down or broken; "" when unknown */
	pid_t pid;		/* of the VMM's process; 0 when unknown */
	uint64_t pid_start;	/* its start time (/proc/PID/stat field 22), tells a reused pid apart */
	char live_read_why[128]; /* why BACKEND_LIVE_READ is missing; "" when present */
	uint64_t read_pause_us; /* longest single stop that read() caused since open(); 0 with BACKEND_LIVE_READ */
};

enum backend_event_kind {
	BACKEND_EVENT_NONE,
	BACKEND_EVENT_RESET,	/* the guest was reset or rebooted: its memory is new */
	BACKEND_EVENT_SHUTDOWN,
	BACKEND_EVENT_STOPPED,	/* somebody else paused it */
	BACKEND_EVENT_RESUMED,
	BACKEND_EVENT_PANICKED,
	BACKEND_EVENT_GONE,	/* the monitor closed: process ended or monitor died */
};

struct backend_range {
	uint64_t gpa, len;
};

enum backend_trap {
	BACKEND_TRAP_KIND_INT3,
	BACKEND_TRAP_KIND_HW,
};

struct backend_stop {
	size_t vcpu;	/* which vCPU stopped us */
	bool trap;	/* at a trap of ours; false: stopped for another reason */
	uint64_t rip;
};

/* Embedded in the caller's object; container_of() finds it again. */
struct backend_pause_hook {
	int (*before)(struct backend_pause_hook *hook, bool was_running, struct err *e);
};

struct backend {
	const struct backend_ops *ops;
	/* now_us() around the last pause: just before the stop was asked for, and when the resume was acknowledged. */
	uint64_t stop_asked_us, resumed_us;
};

/*
 * Changing text under running vCPUs: only backends with BACKEND_NONSTOP have
 * these ops (ops->live). Called by one engine thread at a time; hit() is called
 * by vCPU threads, several at once.
 */
struct backend_barrier {
	unsigned kicked;      /* vCPUs taken out of guest mode by it */
	unsigned already_out; /* vCPUs that needed nothing: in the host already, serialised before they re-enter */
	uint64_t waited_us;
	bool by_notifier;     /* MMU-notifier road; false: membarrier's IPIs, or signal + immediate_exit */
	uint64_t kicked_vcpus; /* bit i: vCPU i was one of them, where that is known */
};

/* New bytes for a stretch of RAM that does not cross a page. */
struct backend_flip {
	uint64_t gpa;
	uint32_t len;
	const uint8_t *bytes;
};

enum backend_verdict {
	BACKEND_HIT_FOREIGN, /* not ours: delivered to the guest as its own #BP or #DB, as if we were not there */
	BACKEND_HIT_RESUME,  /* *regs (gpr, rip, rflags) is what the vCPU goes on with */
	BACKEND_HIT_STEP,    /* the instruction at the trap is done by one step at regs->rip, where a copy of it lies */
	BACKEND_HIT_HOLD,    /* stays in the host; hit() is asked again after release() */
	BACKEND_HIT_FAULT,   /* the emulated access faults: deliver #SS/#PF/#GP as in *fault */
};

struct backend_fault {
	uint8_t vector;
	bool has_error_code;
	uint32_t error_code;
	uint64_t cr2; /* vector 14 */
};

/* So many may be armed at once: a transaction, and who borrows a context of the guest (vmm/borrow). */
#define BACKEND_HANDLERS_MAX 2

/*
 * Embedded in the caller's object. pause() and disarm() return with no hit() under
 * way. A trap exit taken before disarm() may be answered after it, by another handler
 * or by none: where the trap byte is gone the vCPU executes what is there. Each handler is
 * asked in the order they came until one does not say FOREIGN. The VM may be
 * paused while vCPUs are held, and their registers changed: hit() is asked again with
 * those then.
 */
struct backend_hit_handler {
	/*
	 * On the vCPU's own thread, vCPU out of guest mode, registers in *regs (rip at the trap byte).
	 * STEP (backends with BACKEND_STEP): interrupts blocked, no breakpoints; counts as part of
	 * hit() for pause() and disarm(). Not stepped when an event or a kick comes first: the vCPU
	 * is at the trap again then, and comes back.
	 * A release() that comes after this call began makes a HOLD ask again: none may be lost between.
	 */
	enum backend_verdict (*hit)(struct backend_hit_handler *h, struct backend *b, size_t vcpu,
				    enum backend_trap kind, struct vcpu_regs *regs, struct backend_fault *fault);
};

struct backend_live_ops {
	/* Before the first trap byte is written, on every vCPU: traps come to h, too. -EBUSY: there are enough already. */
	int (*arm)(struct backend *b, struct backend_hit_handler *h, struct err *e);
	/* h has left no trap in memory: it is asked no more, and its debug registers are free. Fine for one that is not armed. */
	int (*disarm)(struct backend *b, struct backend_hit_handler *h, struct err *e);
	/*
	 * Debug-register traps of an armed handler on every vCPU: its whole set, 0..4 addresses, each of one handler.
	 * Includes the barrier that makes them effective. -ENOSPC: with those of others there would be more than four.
	 */
	int (*trap_hw)(struct backend *b, struct backend_hit_handler *h, const uint64_t *gvas, size_t n,
		       struct backend_barrier *ret, struct err *e);
	/* Stores while vCPUs run; single bytes are atomic, nothing else is. Fetched for sure only after barrier(). */
	int (*write)(struct backend *b, uint64_t gpa, const void *buf, size_t len, struct err *e);
	/* Returns when every vCPU has had a serialising exit since the last write to these pages, or was out. */
	int (*barrier)(struct backend *b, const uint64_t *gpas, size_t n, struct backend_barrier *ret, struct err *e);
	/* All bytes of all flips change at once for every vCPU (needs BACKEND_REMAP). */
	int (*flip)(struct backend *b, const struct backend_flip *flips, size_t n, struct backend_barrier *ret, struct err *e);
	/* Lets held vCPUs ask again. */
	int (*release)(struct backend *b, struct err *e);
	/* Guest-virtual access with that vCPU's own CR3 and CPL 0 rules, from hit(): all or nothing, *fault filled on -EFAULT. */
	int (*read_virtual)(struct backend *b, size_t vcpu, uint64_t gva, void *buf, size_t len, struct backend_fault *fault);
	int (*write_virtual)(struct backend *b, size_t vcpu, uint64_t gva, const void *buf, size_t len, struct backend_fault *fault);
	/*
	 * The same for a u32 at an address divisible by 4, as one locked instruction of that vCPU: from expected to
	 * desired. 1: done; 0: it holds something else; -EFAULT: *fault. NULL: not to be had.
	 */
	int (*exchange_virtual)(struct backend *b, size_t vcpu, uint64_t gva, uint32_t expected, uint32_t desired,
				struct backend_fault *fault);
};

/* Something found out about a host or a VM, for people. */
struct backend_ability {
	char name[32];
	char value[96];
};

struct backend_ops {
	const char *name;
	const struct backend_live_ops *live; /* NULL without BACKEND_NONSTOP */

	/* Connects. *ret is owned by the caller, ended with close(), which never leaves the VM paused. */
	int (*open)(const struct backend_target *target, struct backend **ret, struct err *e);
	void (*close)(struct backend *b);

	/* Fresh run state and what was probed. */
	int (*info)(struct backend *b, struct backend_info *ret, struct err *e);

	/* What stands behind the capabilities: at most cap entries; returns how many. NULL: nothing to say. */
	int (*abilities)(struct backend *b, struct backend_ability *ret, size_t cap, struct err *e);

	/* fd to poll for events; event() never waits, BACKEND_EVENT_NONE when there is none. */
	int (*event_fd)(const struct backend *b);
	int (*event)(struct backend *b, enum backend_event_kind *ret, struct err *e);

	/* RAM as the guest sees it, sorted, at most cap ranges; returns how many. */
	int (*ram)(struct backend *b, struct backend_range *ranges, size_t cap, struct err *e);

	/*
	 * Guest-physical memory. read() works whether the VM runs or not (without
	 * BACKEND_LIVE_READ it stops the VM for at most one short chunk at a time);
	 * -EFAULT with the address when any byte is not RAM. write() needs a paused
	 * VM (-EBUSY) unless BACKEND_NONSTOP and is coherent with execution: each backend says how,
	 * or refuses the VM (qemu_arm64.c on instruction caches).
	 */
	int (*read)(struct backend *b, uint64_t gpa, void *buf, size_t len, struct err *e);
	int (*write)(struct backend *b, uint64_t gpa, const void *buf, size_t len, struct err *e);

	/*
	 * pause(): all vCPUs are out of guest mode when it returns; pausing twice is
	 * -EALREADY. The run state found is told to hook->before() (hook NULL: none)
	 * before the VM is stopped, so that a journal can record it first; when that
	 * fails nothing is stopped and its error is returned. resume() restores
	 * exactly the state found: a VM that was paused stays paused.
	 */
	int (*pause)(struct backend *b, struct backend_pause_hook *hook, bool *ret_was_running, struct err *e);
	int (*resume)(struct backend *b, struct err *e);

	/*
	 * Undoes the pause of a predecessor that died between pause() and resume():
	 * makes the VM run again if it is paused. Only called from recovery.
	 */
	int (*resume_orphan)(struct backend *b, struct err *e);

	/* Registers of a vCPU. Running VM: a snapshot that may be stale; without BACKEND_LIVE_REGS the VM is stopped for it. */
	int (*regs_get)(struct backend *b, size_t vcpu, struct vcpu_regs *ret, struct err *e);
	/* Needs a paused VM. gpr, rip and rflags only. */
	int (*regs_set)(struct backend *b, size_t vcpu, const struct vcpu_regs *regs, struct err *e);

	/*
	 * One instruction of one vCPU of a paused VM, interrupts blocked, the others frozen.
	 * -EBUSY: an event is on its way into the guest and comes first; the VM has to run on.
	 */
	int (*step)(struct backend *b, size_t vcpu, struct err *e);

	/* Traps: set and cleared while paused; run() lets the VM run until one hits or timeout_us passes (-ETIMEDOUT, paused again). */
	int (*trap_set)(struct backend *b, enum backend_trap kind, uint64_t gva, struct err *e);
	int (*trap_clear)(struct backend *b, enum backend_trap kind, uint64_t gva, struct err *e);
	int (*run)(struct backend *b, uint64_t timeout_us, struct backend_stop *ret, struct err *e);
};

/* The row with that name, or NULL. */
const struct backend_ops *backend_find(const char *name);

static inline void backend_close(struct backend *b)
{
	if (b)
		b->ops->close(b);
}
DEFINE_CLEANUP(struct backend, backend_close)

#endif
