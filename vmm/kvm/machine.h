/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Our own virtual machine monitor on /dev/kvm: one machine, one thread per vCPU,
 * guest memory in a memfd of ours (which is what makes a page remap possible).
 * Small on purpose: enough devices to boot a stock Linux kernel and bare test guests.
 */
#ifndef VMPOKE_VMM_KVM_MACHINE_H
#define VMPOKE_VMM_KVM_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/err.h"
#include "protocol/util.h"
#include "vmm/backend.h"

#define MACHINE_VCPUS_MAX 64
#define MACHINE_DISKS_MAX 4

/* I/O port for test guests: a write of 1, 2 or 4 bytes ends the machine with reason "exit N". */
#define MACHINE_PORT_EXIT 0xf4

/* Files somebody else opened, with rights of his own. Borrowed; -1: none. */
struct machine_files {
	int kernel, initrd, console;
};

/* A raw image or block device. fd stays the caller's and need not live longer than machine_create(). */
struct machine_disk {
	int fd; /* open for reading, and for writing unless read_only */
	bool read_only;
};

struct machine_config {
	const char *name;
	const char *kernel;  /* bzImage, vmlinux or bare ELF64; told apart by content */
	const char *initrd;  /* NULL: none */
	const char *append;  /* kernel command line; NULL: "" */
	const char *console; /* file the serial console is written to; NULL: nowhere */
	unsigned vcpus;	     /* 1..MACHINE_VCPUS_MAX */
	uint64_t memory;     /* bytes, multiple of 4096, >= 16 MiB */
	bool no_irqchip;     /* bare guests on a KVM without in-kernel irqchip */
	bool start_all;	     /* bare ELF: every vCPU starts at the entry, RDI = its index */
	/* NULL: the paths above are opened. Else these are used, and the paths are names for sentences. */
	const struct machine_files *files;
	bool reboot;	     /* a guest that resets itself starts anew, when the backend's event() tells it */
	bool hugepages;	     /* memory from the host's pool of 2 MiB pages, a multiple of them; text is never flipped */
	bool agent;	     /* a virtio console with the agent's port */
	struct machine_disk disks[MACHINE_DISKS_MAX]; /* /dev/vda and so on */
	size_t n_disks;
};

struct machine;

/* Creates the VM and loads the kernel; nothing runs yet. Errors: -ENOENT/-EACCES (no /dev/kvm), -ENOEXEC (not a kernel), ... */
int machine_create(const struct machine_config *config, struct machine **ret, struct err *e);
void machine_destroy(struct machine *m); /* stops it first; NULL allowed */
DEFINE_CLEANUP(struct machine, machine_destroy)

int machine_start(struct machine *m, struct err *e);

/* Waits until the guest powered off, reset, or stopped for a reason not understood. 1, or 0 on time-out. */
int machine_wait(struct machine *m, uint64_t timeout_us, char *ret_reason, size_t cap);

/*
 * The calling thread is the one that changes text: from now on it comes before vCPU
 * threads (ten nice levels). Where there are more vCPUs than CPUs it would else stand in
 * line behind vCPUs that wait for it. 0, or -EPERM or -EACCES: nothing has changed, and
 * nothing but speed depends on it. vCPU threads are not affected, whenever they start.
 */
int machine_prefer_thread(void);

/* The file its kernel came from, borrowed; -1 when it was not kept (config.reboot keeps it). */
int machine_kernel_fd(const struct machine *m);

/* The backend of a machine; lives as long as the machine, close() on it does nothing to the machine. */
struct backend *machine_backend(struct machine *m);

/*
 * A new host end of the agent's port: a connected, non-blocking stream socket owned by
 * the caller; the guest is told that the host opened it, and when the caller closes it
 * that it is closed. The previous one sees its end. -ENODEV without config.agent.
 */
int machine_agent_connect(struct machine *m, struct err *e);
/* Does a program of the guest have the port open? *ret_opens (NULL allowed): how often one opened it. */
bool machine_agent_is_open(struct machine *m, uint64_t *ret_opens);

/*
 * Events of the guest's own. From any thread, also while the engine works on the machine.
 * NMI: 0 when the guest will take it; 1 when it merges with those that wait already, as on a CPU.
 */
int machine_inject_nmi(struct machine *m, size_t vcpu, struct err *e);
/* bank 1, uncorrected, in the address given. -EBUSY: another event was on its way in for two seconds, or is and the VM is held. */
int machine_inject_mce(struct machine *m, size_t vcpu, uint64_t status, uint64_t addr, struct err *e);

/* What of a vCPU's own events KVM has in hand, and what keeps the next one out. */
struct machine_events {
	unsigned nmi_pending; /* accepted and not begun: at most 2, or 1 while the guest handles one; KVM drops the rest */
	bool nmi_injected;    /* begun, and cut short by an exit: goes in again */
	bool nmi_masked;      /* the guest is in its handler, up to the next IRET */
	bool exception;	      /* one is queued: a machine check, or a fault that was cut short */
	uint64_t mcg_status;  /* MSR IA32_MCG_STATUS; 0 without machine checks */
};
/* From any thread. */
int machine_events(struct machine *m, size_t vcpu, struct machine_events *ret, struct err *e);

/*
 * For test harnesses: this vCPU does not enter the guest (again), wherever it stands, while
 * the others run; jobs, steps and injections reach it all the same. Returns at once.
 */
void machine_park(struct machine *m, size_t vcpu, bool parked);

/* Host view of guest RAM for test harnesses; NULL when not RAM. Follows remaps: valid until the next flip. */
uint8_t *machine_ram(struct machine *m, uint64_t gpa, size_t len);

/* Found out by running a few guest instructions (vmm/kvm/probe.c), not assumed. */
enum machine_int3 { MACHINE_INT3_DEBUG_EXIT, MACHINE_INT3_EMULATION_ERROR, MACHINE_INT3_NOT_REPORTED };
enum machine_step { MACHINE_STEP_EXACT, MACHINE_STEP_REPEATS, MACHINE_STEP_NONE };
struct machine_abilities {
	enum machine_int3 int3;
	enum machine_step step;
	bool hw_breakpoints, block_irq;
	bool rf; /* RFLAGS.RF lets the instruction under a hardware breakpoint pass */
	bool remap_seen_at_once;
	bool zap_forces_exit; /* a zap is a barrier; see vmm/kvm/probe_live.c for what was shown */
	bool irqchip, sync_regs, stats;
};
int machine_probe(struct machine_abilities *ret, struct err *e);

#endif
