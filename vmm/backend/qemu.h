/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VM run by QEMU, reached over its monitor (QMP) and its gdb stub; shared by the qemu_*.c files only. */
#ifndef VMPOKE_VMM_BACKEND_QEMU_H
#define VMPOKE_VMM_BACKEND_QEMU_H

#include <jansson.h>

#include "protocol/client.h"
#include "vmm/backend.h"
#include "vmm/backend/gdbstub.h"
#include "vmm/backend/qemu_parse.h"

#define QEMU_RANGES_MAX 256
#define QEMU_TRAPS_MAX 4096

DEFINE_CLEANUP(json_t, json_decref)

struct qemu_cpu {
	int index;	       /* QEMU's cpu-index; the stub's thread is one more */
	bool fresh;	       /* regs are those of the held VM */
	struct vcpu_regs regs;
};

struct qemu_trap {
	enum backend_trap kind;
	uint64_t gva;
};

#define QEMU_ARM64_SYSREGS 6

struct qemu_vm {
	struct backend base;
	struct qmp_client *qmp;
	char *gdb_user;	   /* stub socket given by the operator, or NULL */
	char *gdb_own;	   /* where ours is made when none is given */
	bool has_user;	   /* as of backend_target */
	uid_t user;
	char accel[16], version[64];
	enum vcpu_arch arch;
	unsigned arm64_regnum[QEMU_ARM64_SYSREGS]; /* the stub's numbers, when known */
	bool arm64_known, arm64_ready; /* ready: on this connection */

	/* QEMU's process; pidfd tells whether it still lives. */
	pid_t pid, first_thread;
	uint64_t pid_start;
	int pidfd;
	int mem_fd; /* has_user: /proc/PID/mem, of what the process was when it was looked at; or -errno */
	bool live_read;
	char live_read_why[128];
	uint64_t read_pause_us; /* longest stop for a read */

	struct qemu_range ranges[QEMU_RANGES_MAX];
	size_t n_ranges;
	bool map_stale;

	struct qemu_cpu *cpus;
	size_t n_cpus;
	struct qemu_cpu_regs *snapshot; /* n_cpus of them, by the monitor (arm64: by the stub) */
	uint64_t snapshot_us;		/* 0: none */

	unsigned pending; /* bits by enum backend_event_kind, seen but not yet told */
	bool resume_seen, stop_after_resume; /* run events since qemu_events_mark() */

	/* Between pause() and resume(). */
	bool held, found_running, step_ready;
	bool stub_open;		/* our stub listens */
	struct gdbstub *stub;	/* connected: the VM does not run */
	struct qemu_trap *traps;
	size_t n_traps;
};

static inline struct qemu_vm *qemu_vm(struct backend *b)
{
	return container_of(b, struct qemu_vm, base);
}

extern const struct backend_ops backend_qemu;

/* --- qemu_monitor.c --- */

/* One command; steals args. *ret (NULL allowed) is a new reference. */
int qemu_qmp(struct qemu_vm *vm, const char *command, json_t *args, json_t **ret, struct err *e);
/* One line of the human monitor; *ret is malloc'ed text. cpu -1: QEMU's default. */
int qemu_hmp(struct qemu_vm *vm, const char *line, int cpu, char **ret, struct err *e);
/* Run state now. */
int qemu_status(struct qemu_vm *vm, struct qemu_run_state *ret, char name[static 32], struct err *e);
int qemu_cpus(struct qemu_vm *vm, struct err *e);
int qemu_accel(struct qemu_vm *vm, struct err *e);
/* Registers of all vCPUs as the monitor shows them, at most max_age_us old. */
int qemu_snapshot(struct qemu_vm *vm, uint64_t max_age_us, struct err *e);
/* Drops run events (they are ours), keeps the others as pending. */
void qemu_events_drop(struct qemu_vm *vm);
/* Keeps all of them. */
void qemu_events_keep(struct qemu_vm *vm);
int qemu_event_next(struct qemu_vm *vm, enum backend_event_kind *ret);

/* --- qemu_stub.c --- */

/* Makes the stub reachable without touching the VM; refuses when somebody else uses it. */
int qemu_stub_open(struct qemu_vm *vm, struct err *e);
void qemu_stub_close(struct qemu_vm *vm);
/* Connects, which stops the VM; and lets go, which makes it run when asked to. */
int qemu_stub_attach(struct qemu_vm *vm, struct err *e);
int qemu_stub_detach(struct qemu_vm *vm, bool run, struct err *e);
/* Makes sure the VM runs (or not) as it was found. */
int qemu_settle(struct qemu_vm *vm, bool run, bool detached, struct err *e);
/* The stub of a held VM; connects again after a broken exchange. */
int qemu_stub_held(struct qemu_vm *vm, struct gdbstub **ret, struct err *e);

/* Something short done with the stub while the VM is stopped for it. Embedded in the caller's object. */
struct qemu_look {
	int (*look)(struct qemu_look *l, struct qemu_vm *vm, struct err *e);
};
/* Stops a VM that is not held, looks, lets it go as found. The stub is open; it is closed when it fails. */
int qemu_look_stopped(struct qemu_vm *vm, bool running, struct qemu_look *l, struct err *e);
/* The same from beginning to end. */
int qemu_look_once(struct qemu_vm *vm, struct qemu_look *l, struct err *e);

/* --- qemu_arm64.c --- */

/* -EOPNOTSUPP: text written by us would not be what this VM executes. */
int qemu_arm64_check(const struct qemu_vm *vm, struct err *e);
/* Registers of one vCPU of a VM that the stub s holds. */
int qemu_arm64_fetch(struct qemu_vm *vm, struct gdbstub *s, size_t vcpu, struct vcpu_regs *ret, struct err *e);
/* Of all vCPUs of a VM that is not held, into vm->snapshot: stops it when they are older than max_age_us. */
int qemu_arm64_snapshot(struct qemu_vm *vm, uint64_t max_age_us, struct err *e);

/* --- qemu_run.c --- */
int qemu_pause(struct backend *b, struct backend_pause_hook *hook, bool *ret_was_running, struct err *e);
int qemu_resume(struct backend *b, struct err *e);
int qemu_resume_orphan(struct backend *b, struct err *e);
int qemu_step(struct backend *b, size_t vcpu, struct err *e);
int qemu_trap_set(struct backend *b, enum backend_trap kind, uint64_t gva, struct err *e);
int qemu_trap_clear(struct backend *b, enum backend_trap kind, uint64_t gva, struct err *e);
int qemu_run(struct backend *b, uint64_t timeout_us, struct backend_stop *ret, struct err *e);

/* --- qemu_regs.c --- */
int qemu_regs_get(struct backend *b, size_t vcpu, struct vcpu_regs *ret, struct err *e);
int qemu_regs_set(struct backend *b, size_t vcpu, const struct vcpu_regs *regs, struct err *e);

/* --- qemu_memory.c --- */
int qemu_ram(struct backend *b, struct backend_range *ranges, size_t cap, struct err *e);
int qemu_read(struct backend *b, uint64_t gpa, void *buf, size_t len, struct err *e);
int qemu_write(struct backend *b, uint64_t gpa, const void *buf, size_t len, struct err *e);
/* Asks the monitor where RAM is. */
int qemu_map(struct qemu_vm *vm, struct err *e);

/* --- qemu_process.c --- */

/*
 * Finds QEMU's process (pid stays 0 when it cannot be told), and tries whether its
 * memory may be read and whether what is read is the guest's.
 */
void qemu_process_probe(struct qemu_vm *vm);
/* The process of the first vCPU's thread, as the monitor numbers it and this pid namespace sees it; 0: none. */
pid_t qemu_process_owner(const struct qemu_vm *vm);
/* Reads at a host address of QEMU. -ENOTCONN when the process is gone. */
int qemu_process_read(struct qemu_vm *vm, uint64_t hva, void *buf, size_t len, struct err *e);

#endif
