/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside of our VMM. Threads: one per vCPU, one engine thread at a time that calls
 * the backend ops and machine_*(), and any others that only inject events.
 *
 * Locking, all of it:
 * - machine.lock guards every field marked (L). `go` wakes vCPU threads, `done`
 *   wakes the engine.
 * - A vCPU's ioctls are called by its own thread, by the engine while that thread
 *   waits in cpu_attend() (KVM holds vcpu->mutex through all of KVM_RUN: any other
 *   caller would block until it returns), or by anyone before the thread exists.
 * - To get a vCPU out of guest mode: set `attention`, then send SIGNAL_KICK if it is
 *   in KVM_RUN. The handler sets immediate_exit, the thread clears it before it
 *   looks at `attention`: whichever order they run in, KVM_RUN is left or not entered.
 * - Devices have locks and threads of their own, see vmm/kvm/virtio.h.
 * - Order: machine.lock is never held while memory.lock is taken, nor over an ioctl
 *   that can sleep in the guest.
 */
#ifndef VMPOKE_VMM_KVM_MACHINE_PRIVATE_H
#define VMPOKE_VMM_KVM_MACHINE_PRIVATE_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/guest/guest.h"
#include "vmm/guest/walk.h"
#include "vmm/kvm/devices.h"
#include "vmm/kvm/machine.h"
#include "vmm/kvm/memory.h"
#include "vmm/kvm/serial.h"
#include "vmm/vcpu.h"

#define CPU_ALL SIZE_MAX
#define CPU_DEBUG_REGISTERS 4u

struct cpu;

/* Something to be done to a vCPU while it is out of guest mode. Embedded in the caller's object. */
struct cpu_job {
	int (*run)(struct cpu_job *job, struct cpu *c);
};

/*
 * The same from any thread and beside the engine's jobs. -EAGAIN of run(): not now, once
 * more after the vCPU was in the guest. Lives on the caller's stack.
 */
struct cpu_request {
	struct cpu_job job;
	struct cpu_request *next; /* (L) */
	bool done;		  /* (L) */
	int result;		  /* (L) */
};

enum cpu_state {
	CPU_NEW,     /* no thread yet */
	CPU_RUNNING, /* in KVM_RUN, or handling an exit and about to come round */
	CPU_WAITING, /* in cpu_attend(): paused, held or halted */
	CPU_ENDED,
};

struct cpu {
	struct machine *m;
	size_t index;
	int fd, stats_fd;
	off_t exits_offset; /* of the exit counter in stats_fd */
	struct kvm_run *run;
	pthread_t thread;
	bool has_thread;       /* engine thread */
	atomic_bool attention; /* someone wants the thread: job, pause, end */
	atomic_bool in_run;    /* between entering and leaving KVM_RUN */
	enum cpu_state state;  /* (L) */
	struct cpu_job *job;   /* (L) */
	struct cpu_request *requests; /* (L) of other threads than the engine's, oldest first */
	bool serving;		      /* (L) one of them is being run, out of the queue */
	bool job_busy;	       /* (L) the thread is running it */
	int job_result;	       /* (L) */
	bool held;	       /* (L) verdict HOLD, until machine.releases changes */
	bool in_hit;	       /* (L) asking the handlers of machine.armed ... */
	uint64_t asked_at;     /* (L) ... that were there at this machine.releases */
	bool sw_applied;       /* (L) KVM has been told to report int3 to us */
	bool sw_off;	       /* (L) ... and that it need not: the guest uses int3 itself */
	unsigned foreign;      /* (L) int3 of the guest since the last arm() */
	uint64_t held_since;   /* (L) machine.releases when hit() was asked */
	bool parked;	       /* (L) by machine_park() */
	bool halted;	       /* (L) HLT without an in-kernel irqchip */
	bool io_pending;       /* registers are whole only after KVM_RUN is entered again */
	bool synced;	       /* run->s.regs are the registers */
	unsigned faults;       /* KVM_RUN -EFAULT in a row without a flip in between */
	unsigned retries;      /* failed emulations of retry_rip in a row */
	uint64_t retry_rip;
	struct walk walk;      /* for read_virtual, made on first use */
};

/* Somebody who is asked about traps, and his debug registers. */
struct armed {
	struct backend_hit_handler *handler;
	uint64_t hw[CPU_DEBUG_REGISTERS];
	size_t n_hw;
};

struct machine {
	struct backend base;
	struct guest_memory guest_memory; /* for page walks */
	char name[64];
	int kvm_fd, vm_fd, event_fd;
	uint64_t pid_start; /* of this process, for the backend's info(): it is asked for each change */
	bool irqchip, has_mce;
	int nice; /* of vCPU threads */
	bool interprets; /* this KVM has neither VMX nor SVM under it */
	bool membarrier; /* barriers are made by membarrier(): SVM, see barrier.c */
	atomic_uchar clock_reg;	 /* of the CMOS clock */
	atomic_ushort pm1_enable;
	struct machine_abilities abilities;
	struct memory memory;
	struct serial serial;
	struct devices devices;
	struct machine_config config; /* what a reboot needs of it, with strings and files of our own */
	struct machine_files files;
	struct cpu *cpus;
	size_t n_cpus;
	pthread_mutex_t lock;
	pthread_cond_t go, done;
	bool started;			     /* (L) */
	bool stop;			     /* (L) paused by us */
	atomic_bool ended;		     /* written under (L) */
	enum backend_run_state end_state;    /* (L) SHUTDOWN or BROKEN */
	enum backend_event_kind end_event;   /* (L) not yet fetched */
	char end_reason[256];		     /* (L) */
	struct armed armed[BACKEND_HANDLERS_MAX]; /* (L) in the order they came */
	size_t n_armed;			     /* (L) 0: nobody is asked */
	unsigned disarming;		     /* (L) somebody waits for answers to end */
	uint64_t releases;		     /* (L) */
	bool sw_traps;			     /* (L) int3 comes to us, armed or not; see debug.c */
};

/* machine.c: a descriptor of our own for a file of the configuration, or -errno. fd: -1 when there is none. */
int config_open(const char *path, const int *fd, int flags);

/* vm.c: /dev/kvm, the VM, its irqchip and memory slots. */
int vm_create(struct machine *m, const struct machine_config *config, struct err *e);

/* machine.c: without a kernel, and without asking what this KVM can do. */
int machine_create_empty(const struct machine_config *config, const struct machine_abilities *abilities,
			 struct machine **ret, struct err *e);

/* machine.c: VM, memory, vCPUs; tear_down() takes half-built ones. join(): waits for the threads of an ended machine. */
int machine_set_up(struct machine *m, const struct machine_config *config, struct err *e);
void machine_join(struct machine *m);
void machine_tear_down(struct machine *m);

/* reboot.c */
int config_keep(struct machine *m, const struct machine_config *c, struct err *e);
void config_drop(struct machine *m);
/* After the machine ended with a reset, on the engine's thread. When it fails the machine has ended as BROKEN. */
int machine_reboot(struct machine *m, struct err *e);

/* cpu.c */
int cpu_create(struct machine *m, size_t index, struct err *e);
void cpu_destroy(struct cpu *c);
int cpu_start(struct cpu *c, struct err *e); /* makes the thread */
int cpu_enter(struct cpu *c);		     /* one KVM_RUN; 0 or -errno */
void cpu_attend(struct cpu *c);		     /* serves requests, waits while the vCPU may not run */

/* call.c: the engine's side */
bool cpu_kick(struct cpu *c); /* caller holds lock; true: it was in KVM_RUN */
/* Runs job on one vCPU or on all (CPU_ALL), each out of guest mode; the first failure is returned. ret may be NULL. */
int cpus_call(struct machine *m, size_t which, struct cpu_job *job, uint64_t timeout_us, struct backend_barrier *ret,
	      struct err *e);
/* request.c: any thread. -EBUSY when run() said -EAGAIN all the time, or says so while the VM is held. */
int cpu_request(struct machine *m, size_t vcpu, struct cpu_request *r, uint64_t timeout_us, struct err *e);
void cpu_serve(struct cpu *c); /* caller holds lock; given up while a request runs */
void machine_end(struct machine *m, enum backend_run_state state, enum backend_event_kind event, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
bool machine_ended(struct machine *m);

/* exits.c: what KVM_RUN returned with. */
void cpu_exit(struct cpu *c);
void cpu_run_failed(struct cpu *c, int error);

/* trap.c */
void trap_debug_exit(struct cpu *c);
bool trap_emulation_error(struct cpu *c); /* false: not a 0xCC at RIP */

/*
 * pause.c: one instruction, on the vCPU's own thread or while it waits. -ETIMEDOUT when it
 * is kicked meanwhile; -EBUSY when it has to run on first, to take an event.
 */
int step_here(struct cpu *c);

/* inject.c: on the vCPU's thread or while it waits. */
int cpu_inject(struct cpu *c, const struct backend_fault *fault);
/* 1: an event is queued that the guest takes before its next instruction; 0: none; or -errno. */
int cpu_event_queued(struct cpu *c);

/* regs.c */
int cpu_regs_get(struct cpu *c, struct vcpu_regs *ret);	     /* everything */
int cpu_regs_at_exit(struct cpu *c, struct vcpu_regs *ret);  /* gpr, rip, rflags, cs, ss, control registers; cheap */
int cpu_regs_set(struct cpu *c, const struct vcpu_regs *regs); /* gpr, rip, rflags */

/* cpuid.c */
int cpu_set_cpuid(struct cpu *c, struct err *e);

/* longmode.c: a vCPU at rip in 64-bit mode over identity page tables of the first 4 GiB. */
int longmode_tables(struct machine *m, struct err *e);
int longmode_enter(struct cpu *c, uint64_t rip, uint64_t rdi, uint64_t rsi, struct err *e);

/* boot.c: loads the kernel and points the vCPUs at it. */
int boot_load(struct machine *m, const struct machine_config *config, struct err *e);

/* ports.c */
void ports_access(struct machine *m, uint16_t port, bool out, uint8_t *data, size_t len);

/* prefer.c: nice level of the calling thread without machine_prefer_thread(); a thread goes back to one it was told. */
int prefer_ordinary(void);
void prefer_take(int nice);

/* stats.c */
int stats_find(struct cpu *c); /* fills stats_fd, exits_offset; -errno when KVM has none */
int stats_counter(int fd, const char *name, off_t *ret);
bool stats_exits(const struct cpu *c, uint64_t *ret);

/* debug.c: what KVM_SET_GUEST_DEBUG is told. All take the lock. */
int debug_apply(struct machine *m, struct cpu *c, uint32_t extra);
bool debug_traps_at(struct machine *m, uint64_t gva); /* a debug register is to watch this address */
int debug_start(struct machine *m); /* before the first vCPU runs: int3 comes to us from then on */
int debug_foreign(struct cpu *c);   /* an int3 of the guest's own was reported while nobody was armed */

static inline struct machine *machine_of(struct backend *b)
{
	return container_of(b, struct machine, base);
}

#endif
